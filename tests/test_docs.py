"""The code in docs/python.md runs as it stands, from top to bottom."""

import re
from pathlib import Path

import pytest
from PIL import Image

from tests.builders import drawn_picture
from tests.processes import ROOT

PAGE = ROOT / "docs" / "python.md"


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def test_the_code_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("timm")
    for number in range(6):
        file = tmp_path / "photos" / ("red" if number % 2 else "blue") / f"{['one', 'two', 'three'][number // 2]}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawn_picture(number, size=64)).save(file)
    monkeypatch.chdir(tmp_path)
    found = blocks(PAGE)
    assert len(found) >= 8
    names: dict[str, object] = {}
    for block in found:
        exec(compile(block, str(PAGE), "exec"), names)
    assert (tmp_path / "my-gallery" / "config.json").exists()
