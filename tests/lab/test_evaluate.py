"""`python -m lab.evaluate` on small repos of drawn pictures: what it writes it checks, and what moved it names."""

import json
import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from lab.evaluate import command_for, main
from lab.evaluation.baselines import general_baselines
from lab.evaluation.evaluated_repo import DataFolder, EvaluatedRepo
from tests.builders import edit_json, files_of, tiny_repo
from tests.processes import ROOT, run_module
from visim_models.repo_folder import RepoFolder
from visim_models.repo_folder.metrics import Metrics


@pytest.fixture(scope="module")
def measured_repo(car_repo: Path, drawn_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A measured repo, without a sibling beside it."""
    folder = Path(shutil.copytree(car_repo, tmp_path_factory.mktemp("cars") / "visim-car-extractor"))
    assert run(folder, drawn_data, "--write") == 0
    return folder


@pytest.fixture
def own_repo(autoencoder_repo: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(autoencoder_repo, tmp_path / "my-things"))


def run(repo: Path, data: Path, *options: str) -> int:
    return main([str(repo), "--data", str(data), "--limit", "9", *options])


def stated(repo: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((repo / "metrics.json").read_text(encoding="utf-8"))
    return values


def test_writing_adds_one_file_and_checking_changes_none(drawn_data: Path, own_repo: Path) -> None:
    (own_repo / "README.md").write_text("edited by hand", encoding="utf-8")
    before = files_of(own_repo)
    assert run(own_repo, drawn_data, "--write") == 0
    after = files_of(own_repo)
    assert after.keys() - before.keys() == {"metrics.json"}
    assert {name: after[name] for name in before} == before
    assert run(own_repo, drawn_data, "--check") == 0
    assert files_of(own_repo) == after


def test_the_figures_of_cars(measured_repo: Path) -> None:
    values = stated(measured_repo)
    own = {each["name"]: each for each in values["figures"]}
    assert {"accuracy", "retrieval_top_4", "decoration_loss", "ood_auroc_animals", "ood_found_at_1_text"} <= set(own)
    assert own["accuracy"]["n"] == 8
    assert own["accuracy"]["target"] == {"at_least": 95.0}
    assert own["accuracy"]["tolerance"] == 25
    assert own["accuracy"]["interval"][0] <= own["accuracy"]["value"] <= own["accuracy"]["interval"][1]
    methods = {each["method"] for each in values["baselines"] if each["name"] == "ood_auroc_noise"}
    assert methods == {"top score under 0.50", "distance to neighbour 50"}
    assert {"wild_accuracy", "wild_false_alarms_at_5", "false_alarms_tilted", "match_calibration_error"} <= set(own)
    same_model = {each["method"] for each in values["baselines"] if each["name"] == "same_model_top_4"}
    assert same_model == {"chance"}
    assert sum(map(sum, values["tables"]["confusion"]["counts"])) == 8
    assert {sum(counts) for counts in values["tables"]["strangeness"]["counts"].values()} <= {4, 8, 9}
    assert values["data"] == {
        "cars/photos.zip": 40, "cars/wild.zip": 30, "cifar10/test.zip": 40, "not_cars/imagenet.zip": 16,
        "not_cars/caltech101.zip": 2, "not_cifar10/tiny_imagenet.zip": 2,
    }  # fmt: skip


def test_another_network_sees_the_same_pictures(
    drawn_data: Path, car_repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The general extractor is a baseline of the whole measurement; here a small network stands for it."""
    small = tiny_repo(tmp_path / "small")
    monkeypatch.setattr("lab.evaluation.baselines._GENERAL", str(small))
    repo = EvaluatedRepo.load(car_repo, DataFolder(drawn_data, limit=9))
    figures = {figure.name: figure for figure in general_baselines(repo)}
    assert {"retrieval_top_4", "wild_retrieval_top_4", "same_model_top_4", "ood_auroc_noise"} <= set(figures)
    assert "wild_accuracy" not in figures
    assert figures["retrieval_top_4"].n == 8
    assert all(figure.target is None for figure in figures.values())
    seen = repo.seen_by(str(small))
    assert seen.known.file_names == repo.known.file_names
    assert seen.part("test").file_names == repo.part("test").file_names
    assert seen.part("test")["pixels"].shape[-1] == seen.similarity.processor.size


def test_the_figures_of_an_autoencoder(drawn_data: Path, own_repo: Path) -> None:
    assert run(own_repo, drawn_data, "--write") == 0
    found = Metrics.read(RepoFolder(own_repo))
    own = {each.name: each for each in found.figures}
    assert {"reconstruction_mse", "reconstruction_psnr", "retrieval_top_1", "retrieval_top_10"} <= set(own)
    baselines = {(each.name, each.method): each for each in found.baselines}
    raw = baselines["retrieval_top_1", "raw pixels, Euclidean"]
    assert own["retrieval_top_1"].target == {"at_least": raw.value}
    assert ("reconstruction_psnr", "PCA, 8 components") in baselines
    assert found.data["cifar10/train.zip"] == 80


@pytest.mark.parametrize("kind", ["figures", "baselines"])
def test_a_figure_or_baseline_that_is_not_what_is_measured_fails(
    drawn_data: Path, measured_repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    copy = Path(shutil.copytree(measured_repo, tmp_path / measured_repo.name))
    values = stated(copy)
    edited = next(each for each in values[kind] if each["name"] == "retrieval_top_4")
    edited["value"] += 2 * edited["tolerance"]
    edited["tolerance"] *= 10
    (copy / "metrics.json").write_text(json.dumps(values), encoding="utf-8")
    assert run(copy, drawn_data, "--check") == 1
    failed = [line for line in capsys.readouterr().err.splitlines() if line.startswith("FAILED")]
    assert len(failed) == 1
    assert "retrieval_top_4" in failed[0]
    assert "moved" in failed[0]


def test_the_command_in_the_file_measures_every_figure_and_baseline_of_it(
    drawn_data: Path, measured_repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run as printed, from the folder that it was written in."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    copy = Path(shutil.copytree(measured_repo, folder / measured_repo.name))
    monkeypatch.chdir(folder)
    assert run(copy, drawn_data, "--write") == 0
    program, module, command, *arguments = shlex.split(stated(copy)["command"])
    assert (program, module) == ("python", "-m")
    assert arguments == [copy.name, "--data", os.path.relpath(drawn_data, folder), "--limit", "9"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = run_module(command, *arguments, "--check", cwd=folder, environment=environment)
    assert process.returncode == 0, process.stderr
    count = len(stated(copy)["figures"]), len(stated(copy)["baselines"])
    assert f"checked: {count[0]} figures and {count[1]} baselines" in process.stdout


def test_a_sibling_beside_the_repo_is_a_baseline(drawn_data: Path, measured_repo: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(measured_repo, tmp_path / "visim-car-extractor"))
    shutil.copytree(measured_repo, tmp_path / "visim-car-autoencoder")
    assert run(copy, drawn_data, "--write") == 0
    beside = [each for each in stated(copy)["baselines"] if each["method"] == "car-autoencoder"]
    assert {each["name"] for each in beside} == {"accuracy", "retrieval_top_4"}
    assert all(each["target"] is None for each in beside)
    shutil.rmtree(tmp_path / "visim-car-autoencoder")
    assert run(copy, drawn_data, "--check") == 1  # a baseline that cannot be measured is not silently left out


@pytest.mark.parametrize("repo", ["car-extractor", "runs/mine", "someone/cars"])
def test_the_command_names_repo_and_data_as_given(repo: str) -> None:
    assert command_for(repo, Path("../shared/data")) == f"python -m lab.evaluate {repo} --data ../shared/data"
    assert command_for(repo, Path("mine"), limit=3) == f"python -m lab.evaluate {repo} --data mine --limit 3"


def test_the_command_has_no_path_of_one_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    command = command_for(str(ROOT / "runs"), ROOT.parent / "shared" / "data")
    assert command == "python -m lab.evaluate runs --data ../shared/data"


def test_what_cannot_be_measured_is_an_error(
    drawn_data: Path, measured_repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(measured_repo, tmp_path / "copy"))
    assert main([str(copy), "--data", str(tmp_path / "nowhere")]) == 2
    assert "photos.zip" in capsys.readouterr().err
    edit_json(copy / "metrics.json", limit=3)
    assert run(copy, drawn_data, "--check") == 2
    assert "limit of 3, not 9" in capsys.readouterr().err
    (copy / "metrics.json").unlink()
    assert run(copy, drawn_data, "--check") == 2
    assert "metrics.json" in capsys.readouterr().err
    assert main(["no-such-repo", "--data", str(drawn_data)]) == 2
    assert "no-such-repo" in capsys.readouterr().err


def test_a_repo_of_the_hub_is_not_written_into(drawn_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["someone/their-repo", "--data", str(drawn_data), "--write"]) == 2
    assert "download the repo first" in capsys.readouterr().err


def test_the_makefile_asks_for_nothing_that_the_command_does_not_know(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    commands = re.findall(r"^\t\$\(MEASURE\) (.+)$", makefile, re.MULTILINE)
    assert len(commands) >= 3
    for command in commands:
        assert main(shlex.split(command.replace("$(DATA)", str(tmp_path / "nowhere")))) == 2  # no unknown option
        assert capsys.readouterr().err.startswith("error: ")


def test_the_help_says_what_the_options_do(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "split.csv" in text
    assert "95 % sampling interval" in text
    assert "tolerance of arithmetic alone" in text
