"""The Space: what its repository holds, and the check that starts the app as a Space would."""

import sys
import types
from pathlib import Path

import pytest

from demo.app import mark_for_zero_gpu
from hub.space import check_space, read_front_matter, space_files, stage_space
from hub.space_check import ENDPOINTS, Probe, check, find_python, probe_app
from visim_models import ConfigurationError, DataError

ROOT = Path(__file__).resolve().parents[2]

# A whole, if small, Gradio app with the two endpoints: it answers what its one argument in the environment says.
APP = """
import os
import gradio as gr

def answer(image, top_k):
    assert os.environ["SPACE_ID"] and os.path.getsize(image)
    matches = [{"file_name": "a", "label": "b", "score": 1.0, "percent": 100}] * int(top_k)
    return {"matches": matches, "ood": {"is_ood": False, "score": 0.0, "p_value": 1.0, "false_alarm_rate": 0.05}}

with gr.Blocks() as demo:
    image, top_k, result = gr.Image(type="filepath"), gr.Number(4), gr.JSON()
    for name in ("search_cifar10", "search_cars"):
        gr.Button().click(answer, [image, top_k], result, api_name=name)
address = {"server_name": os.environ["VISIM_HOST"], "server_port": int(os.environ["VISIM_PORT"])}
assert os.environ["GRADIO_SSR_MODE"] == "True"  # as the Hub sets it
"""
LAUNCH = "demo.launch(**address, ssr_mode=False)"


def test_an_app_is_started_asked_measured_and_stopped(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP + LAUNCH, encoding="utf-8")
    probe = probe_app(Path(sys.executable), tmp_path, "app.py", timeout=240)
    assert probe.start_seconds > 0
    assert set(probe.query_seconds) == set(ENDPOINTS)
    if sys.platform == "linux":
        assert probe.peak_memory is not None
        assert 20e6 < probe.peak_memory < 8e9
        assert str(tmp_path) not in "".join(_working_folders())


def _working_folders() -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*/cwd"):
        try:
            found.append(str(process.readlink()))
        except OSError:
            continue
    return found


HEALTH = """
from starlette.responses import HTMLResponse
from starlette.routing import Route
routes = [Route("/healthz", lambda _: HTMLResponse("<p>the page</p>"))]
demo.launch(**address, ssr_mode=False, app_kwargs={"routes": routes})
"""


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise SystemExit('no model here')", "stopped with status 1.*no model here"),
        ("import time; time.sleep(60)", "no page"),
        (APP.replace('* int(top_k)', '') + LAUNCH, "something else"),
        (APP + HEALTH, "ssr_mode=False"),
    ],
)  # fmt: skip
def test_an_app_that_does_not_work_is_reported(tmp_path: Path, source: str, message: str) -> None:
    (tmp_path / "app.py").write_text(source, encoding="utf-8")
    timeout = 3 if "sleep" in source else 240
    with pytest.raises(DataError, match=f"(?s){message}"):
        probe_app(Path(sys.executable), tmp_path, "app.py", timeout=timeout)


def test_the_projects_front_matter_is_that_of_a_space() -> None:
    check_space(ROOT)
    front = read_front_matter(ROOT)
    assert front["app_file"] == "demo/app.py"
    assert {"emoji", "colorFrom", "colorTo", "models", "tags", "short_description", "thumbnail", "license"} <= set(
        front
    )
    colours = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert {front["colorFrom"], front["colorTo"]} <= colours


def test_the_staged_space_is_the_listed_files(tmp_path: Path) -> None:
    stage_space(ROOT, tmp_path, namespace="someone")
    assert space_files(tmp_path) == space_files(ROOT)
    front = read_front_matter(tmp_path)
    assert all(model.startswith("someone/visim-") for model in front["models"])
    body = (ROOT / "README.md").read_text(encoding="utf-8").split("---\n", 2)[2]
    assert (tmp_path / "README.md").read_text(encoding="utf-8").split("---\n", 2)[2] == body


def test_a_project_without_front_matter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"README\.md"):
        check(tmp_path)
    (tmp_path / "README.md").write_text("# visim\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="front matter"):
        check(tmp_path)


def test_requirements_that_cannot_be_installed_are_reported(tmp_path: Path) -> None:
    stage_space(ROOT, tmp_path)
    (tmp_path / "requirements.txt").write_text("--no-index\nvisim-has-no-such-package\n", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be installed"):
        check(tmp_path, python=Path(sys.executable))


def test_pythons_are_found_by_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def install(path: Path, script: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)
        return path

    shims, managed = tmp_path / "shims", tmp_path / ".pyenv" / "versions"
    monkeypatch.setenv("PATH", f"{shims}:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_python("3.77") is None
    install(shims / "python3.77", "exit 127")  # as a shim of pyenv answers for a version that is not switched on
    install(managed / "3.7.7" / "bin" / "python", "echo 3.7.7")
    assert find_python("3.77") is None
    there = install(managed / "3.77.1" / "bin" / "python", "echo 3.77.1")
    assert find_python("3.77") == find_python("3.77.12") == there
    on_path = install(shims / "python3.77", "echo 3.77.0")
    assert find_python("3.77") == on_path


def test_the_report_names_each_figure() -> None:
    lines = "\n".join(Probe(4.2, {"/search_cars": 0.5, "/search_cifar10": 0.25}, 900_000_000).lines())
    for figure in ("4.2 s", "0.50 s", "0.25 s", "900 MB"):
        assert figure in lines


def test_one_function_is_marked_for_zero_gpu_and_nothing_happens_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spaces", None)  # as where it is not installed
    mark_for_zero_gpu()
    marked: list[object] = []
    there = types.ModuleType("spaces")
    there.GPU = marked.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "spaces", there)
    mark_for_zero_gpu()
    assert len(marked) == 1
