"""metrics.json is read strictly and written additively, and a figure may move by its tolerance, not by its interval."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.builders import edit_json, files_of, tiny_autoencoder
from visim_models.errors import ConfigurationError, OutputError
from visim_models.repo_folder import RepoFolder
from visim_models.repo_folder.metrics import Figure, Metrics, differences, is_met


def figure(**changes: Any) -> Figure:
    values = {"name": "share", "value": 90.0, "unit": "%", "n": 100, "what": "A share.", "tolerance": 1.0}
    return Figure(**{**values, **changes})


def metrics(*figures: Figure, **changes: Any) -> Metrics:
    values = {"command": "x", "limit": None, "weights_sha256": "abc", "data": {"a.zip": 3}, "figures": list(figures)}
    return Metrics(**{**values, **changes})


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    tiny_autoencoder().save_pretrained(tmp_path / "repo")
    (tmp_path / "repo" / "notes.txt").write_text("mine", encoding="utf-8")
    return tmp_path / "repo"


# --- what a figure says


def test_targets() -> None:
    assert is_met(figure()) is None
    assert is_met(figure(target={"at_least": 90.0})) is True
    assert is_met(figure(target={"at_most": 89.0})) is False
    assert is_met(figure(target={"at_least": 80.0, "at_most": 91.0})) is True


@pytest.mark.parametrize(
    ("changes", "formatted"),
    [
        ({"value": 93.82, "interval": (91.94, 95.31)}, ("93.8 %", "91.9 to 95.3")),
        ({"value": 0.43, "unit": "points", "interval": (-0.14, 1.0)}, ("0.4 points", "-0.1 to 1.0")),
        ({"value": 30.156, "unit": "dB", "interval": (30.1, 30.2)}, ("30.16 dB", "30.10 to 30.20")),
        ({"value": 0.99928, "unit": "", "interval": (0.9812, 1.0)}, ("0.9993", "0.9812 to 1.0000")),
        ({"value": 0.003817, "unit": "", "interval": (0.003801, 0.003899)}, ("0.00382", "0.0038 to 0.0039")),
        ({"value": 50.0}, ("50.0 %", "")),
    ],
)
def test_values_and_intervals_are_formatted(changes: dict[str, Any], formatted: tuple[str, str]) -> None:
    found = figure(**changes)
    assert (found.formatted(), found.formatted_interval()) == formatted


def test_targets_are_formatted() -> None:
    assert figure(target={"at_least": 3.0, "at_most": 7.0}).formatted_target() == ">= 3 %, <= 7 %"
    assert figure(unit="", target={"at_least": 0.995}).formatted_target() == ">= 0.995"
    assert figure().formatted_target() == ""


# --- what has moved


def test_a_figure_may_move_by_its_tolerance_and_not_by_its_interval() -> None:
    stated = metrics(figure(tolerance=0.1, interval=(82.6, 94.5)), figure(name="other"))
    assert differences(stated, metrics(figure(value=90.1, tolerance=0.1), figure(name="other", value=89.1))) == []
    (fault,) = differences(stated, metrics(figure(value=90.2, tolerance=0.1), figure(name="other")))
    assert "share moved from 90 to 90.2 %, beyond the tolerance of 0.1" in fault


def test_a_tolerance_that_was_edited_allows_nothing() -> None:
    stated = metrics(figure(value=95.0, tolerance=50.0))
    (fault,) = differences(stated, metrics(figure(value=90.0, tolerance=0.1)))
    assert "beyond the tolerance of 0.1" in fault


def test_a_baseline_is_checked_as_a_figure_is() -> None:
    stated = metrics(figure(), baselines=[figure(method="raw")])
    (lost,) = differences(stated, metrics(figure()))
    assert lost == "share (raw) is stated, but is not measured any more."
    (moved,) = differences(stated, metrics(figure(), baselines=[figure(method="raw", value=1.0)]))
    assert moved.startswith("share (raw) moved")
    (new,) = differences(metrics(figure()), stated)
    assert new == "share (raw) is measured, but not stated."


@pytest.mark.parametrize(
    ("now", "fault"),
    [
        (metrics(figure(n=99)), "stated for 100 pictures, but was measured on 99"),
        (metrics(figure(), weights_sha256="def"), "on other weights"),
        (metrics(figure(), data={"a.zip": 2}), "on other data"),
        (metrics(figure(target={"at_least": 95.0})), "with the target None"),
        (metrics(), "share is stated, but is not measured"),
    ],
)
def test_anything_else_that_differs_is_a_fault(now: Metrics, fault: str) -> None:
    (found,) = differences(metrics(figure()), now)
    assert fault in found


def test_a_target_that_is_a_baseline_may_move_with_it() -> None:
    stated = metrics(figure(target={"at_least": 45.0}))
    assert differences(stated, metrics(figure(target={"at_least": 45.5}))) == []
    assert len(differences(stated, metrics(figure(target={"at_least": 46.5})))) == 1


# --- the file


def test_metrics_are_read_as_they_were_written(repo: Path) -> None:
    before = files_of(repo)
    written = metrics(
        figure(target={"at_least": 95.0}, interval=(80.0, 95.0)),
        figure(name="other", unit="dB"),
        baselines=[figure(method="raw")],
        tables={"t": {"x": [1, None]}},
        limit=7,
    )
    written.write(repo)
    after = files_of(repo)
    assert after.keys() - before.keys() == {"metrics.json"}
    assert {name: after[name] for name in before} == before
    assert Metrics.read(RepoFolder(repo)) == written


def test_numbers_have_six_digits(repo: Path) -> None:
    metrics(figure(value=2 / 3, tolerance=1 / 3, interval=(1 / 3, 2 / 3))).write(repo)
    (stated,) = json.loads((repo / "metrics.json").read_text(encoding="utf-8"))["figures"]
    assert (stated["value"], stated["tolerance"], stated["interval"]) == (0.666667, 0.333333, [0.333333, 0.666667])
    assert differences(Metrics.read(RepoFolder(repo)), metrics(figure(value=2 / 3, tolerance=0.0))) == []


def test_a_folder_that_is_no_repo_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError):
        metrics(figure()).write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def edit_figure(**changes: Any) -> Callable[[Path], None]:
    """Return what sets keys of the first figure of a metrics.json; a value of `...` takes the key out."""

    def edit(path: Path) -> None:
        values = json.loads(path.read_text(encoding="utf-8"))
        values["figures"][0].update(changes)
        values["figures"][0] = {key: value for key, value in values["figures"][0].items() if value is not ...}
        path.write_text(json.dumps(values), encoding="utf-8")

    return edit


@pytest.mark.parametrize(
    "edit",
    [
        *(edit_figure(**{key: ...}) for key in ("name", "value", "unit", "n", "what", "tolerance", "interval")),
        edit_figure(noise=1.0),
        edit_figure(value="90"),
        edit_figure(value=True),
        edit_figure(value=10**400),
        edit_figure(tolerance=-1.0),
        edit_figure(n=0),
        edit_figure(n=1.5),
        edit_figure(unit="percent"),
        edit_figure(interval=3),
        edit_figure(interval=[1.0]),
        edit_figure(interval=[2.0, 1.0]),
        edit_figure(interval=["a", "b"]),
        edit_figure(target={"at_best": 1.0}),
        edit_figure(target={"at_least": None}),
        edit_figure(target=[]),
        edit_figure(name=3),
        lambda path: edit_json(path, limit=...),
        lambda path: edit_json(path, limit=0),
        lambda path: edit_json(path, more=1),
        lambda path: edit_json(path, command=None),
        lambda path: edit_json(path, data={"a.zip": "many"}),
        lambda path: edit_json(path, data=[]),
        lambda path: edit_json(path, figures=3),
        lambda path: edit_json(path, figures=[3]),
        lambda path: edit_json(path, baselines={}),
        lambda path: edit_json(path, tables=[]),
        lambda path: path.write_text("[", encoding="utf-8"),
        lambda path: path.write_text("[1]", encoding="utf-8"),
        Path.unlink,
    ],
)
def test_files_of_another_form(repo: Path, edit: Callable[[Path], None]) -> None:
    metrics(figure()).write(repo)
    edit(repo / "metrics.json")
    with pytest.raises(ConfigurationError, match=r"metrics\.json") as caught:
        Metrics.read(RepoFolder(repo))
    assert caught.value.path == repo / "metrics.json"


def test_a_figure_that_is_stated_twice_is_refused(repo: Path) -> None:
    dataclasses.replace(metrics(figure(), figure(value=95.0))).write(repo)
    with pytest.raises(ConfigurationError, match="stated twice"):
        Metrics.read(RepoFolder(repo))
