"""The commands of docs/cleaning.md are commands of `visim`, and its Python runs as it stands."""

import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from tests.builders import drawn_picture, write_pictures
from tests.processes import ROOT
from visim_models.cli.__main__ import _parser, main
from visim_models.galleries import build

PAGE = (ROOT / "docs" / "cleaning.md").read_text(encoding="utf-8")


def test_the_commands_parse() -> None:
    commands = re.findall(r"^    visim (.*)$", PAGE, re.MULTILINE)
    assert len(commands) >= 6
    for command in commands:
        _parser().parse_args(shlex.split(command))


def test_the_python_runs(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    photos = write_pictures(tmp_path / "photos", 5)
    Image.fromarray(drawn_picture(3)).save("soon.jpg")
    Image.fromarray(drawn_picture(4)).save("car.jpg")
    for name in ("my-gallery", "other-gallery"):
        build(photos, name, model=model, progress=False)
    assert main(["clean", "photos", "--model", str(model), "--out", "clean"]) == 0
    exec(compile(code, "cleaning.md", "exec"), {})
