"""A card states what the files of its repo say, and nothing else; one that was edited by hand is kept."""

import dataclasses
import json
import os
import re
import shutil
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import ModelCard
from PIL import Image

from hub.__main__ import main
from hub.card import figures_section, write_card
from lab.evaluation import evaluate
from tests.builders import drawn_picture, edit_json, files_of, tiny_similarity, write_part
from tests.processes import ROOT, run_program
from visim_models import OutOfDistributionDetector
from visim_models.errors import ConfigurationError
from visim_models.galleries.built_gallery import card_text
from visim_models.ood import Weighting
from visim_models.repo_folder import RepoFolder
from visim_models.repo_folder.card import LIBRARY_NAME
from visim_models.repo_folder.metrics import Figure, Metrics

ONE_NEIGHBOUR = {"top_distance": Weighting(1, 0, 1)}
ABOUT = json.loads((ROOT / "lab" / "about" / "car-extractor.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def measured_repo(car_repo: Path, drawn_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repo with everything that a card can show."""
    folder = Path(shutil.copytree(car_repo, tmp_path_factory.mktemp("cars") / "visim-car-extractor"))
    edit_json(folder / "training.json", about=ABOUT)
    (folder / "losses.csv").write_text(
        "epoch,part,batch,loss\n1,training,1,2.0\n1,validation,1,1.5\n", encoding="utf-8"
    )
    evaluate(folder, drawn_data, command="python -m lab.evaluate it --data ../shared/data", limit=6).write(folder)
    assert write_card(folder)
    return folder


@pytest.fixture
def own_repo(autoencoder_repo: Path, tmp_path: Path) -> Path:
    """An autoencoder of somebody's own, trained on "drawn.zip", without texts and figures."""
    return Path(shutil.copytree(autoencoder_repo, tmp_path / "my-things"))


def card_of(folder: Path) -> str:
    return (folder / "README.md").read_text(encoding="utf-8")


# --- what is stated


def test_the_metadata_is_as_the_hub_reads_it(measured_repo: Path) -> None:
    card = ModelCard.load(measured_repo / "README.md")
    assert card.data.license == "apache-2.0"
    assert card.data.library_name == LIBRARY_NAME
    assert card.data.pipeline_tag == "image-feature-extraction"
    assert {"visim", "cars"} <= set(card.data.tags)
    assert {"accuracy", "roc_auc"} <= set(card.data.metrics)
    assert card.data.model_name == "visim-car-extractor"
    stated = {each.metric_name: each.metric_value for each in card.data.eval_results}
    measured = {each.name: each.value for each in Metrics.read(RepoFolder(measured_repo)).figures}
    assert stated["accuracy (%)"] == measured["accuracy"]
    assert stated["ood_auroc_noise"] == measured["ood_auroc_noise"]


def test_figures_are_stated_with_their_intervals_baselines_and_the_command(measured_repo: Path) -> None:
    card = card_of(measured_repo)
    accuracy = next(each for each in Metrics.read(RepoFolder(measured_repo)).figures if each.name == "accuracy")
    assert f"| **{accuracy.formatted()}** ({accuracy.formatted_interval()}) | 6 | >= 95 % |" in card
    assert "raw pixels, Euclidean: " in card
    assert "| distance to neighbour 50 |" in card
    assert "`python -m lab.evaluate it --data ../shared/data --check` measures them again" in card
    assert "A trial on at most 6 pictures" in card


def test_hand_written_texts_are_stated(measured_repo: Path) -> None:
    card = card_of(measured_repo)
    assert "# Car feature extractor\n" in card
    assert "\nLicence of the weights: apache-2.0.\n" in card
    for key in ("summary", "purpose", "misuse", "limits", "origin"):
        for text in [ABOUT[key]] if isinstance(ABOUT[key], str) else ABOUT[key]:
            assert text in card


def test_a_model_of_ones_own_is_described_by_its_own_files(own_repo: Path) -> None:
    edit_json(
        own_repo / "training.json",
        command="python -m lab.train autoencoder --data chairs.zip --out runs/chairs",
        recipe="mine",
        epochs=41,
        sources=[
            {"source": "chairs.zip", "pictures": 1234, "classes": {"oak": 1000, "ash": 234}, "parts": {"train": 1100}}
        ],
        outliers=[{"source": "tables.zip", "part": "fit", "pictures": 56}],
    )
    edit_json(own_repo / "ood.json", false_alarm_rate=0.1)
    assert write_card(own_repo)
    card = card_of(own_repo)
    assert "# my-things\n" in card
    assert "network of the type `convolutional-autoencoder`" in card
    assert "resized to 16 x 16 pixels, into an embedding of 24 numbers" in card
    assert "| chairs.zip | 1,234 | oak 1,000, ash 234 | train 1,100 |" in card
    assert "| tables.zip | fit | 56 |" in card
    assert "python -m lab.train autoencoder --data chairs.zip --out runs/chairs" in card
    assert "Recipe `mine`, task drawn, 41 epochs, seed 3." in card
    assert "Settings: batch size 4, learning rate 0.002, cosine yes, augmentation flip no." in card
    assert "The gallery has 40 pictures with 10 labels: airplane (4), automobile (4)" in card
    assert "set for 10 % false alarms, by 16 calibration pictures" in card


@pytest.mark.parametrize("record", [True, False])
def test_nothing_is_claimed_that_the_files_do_not_say(own_repo: Path, record: bool) -> None:
    if not record:
        (own_repo / "training.json").unlink()
    assert write_card(own_repo)
    card, text = ModelCard.load(own_repo / "README.md"), card_of(own_repo)
    assert (card.data.license, card.data.datasets, card.data.metrics, card.data.eval_results) == (None,) * 4
    claims = ("CIFAR", "cifar", "apache", "Apache", "dealer", "7,600", "10,000", "50,000", "Krizhevsky", "Oreolorun")
    assert [claim for claim in claims if claim in text] == []
    for heading in ("## Figures", "Licence", "Origin", "It is for", "It is not for", "below"):
        assert heading not in text
    assert ("does not say how its weights were trained" in text) is not record


def test_names_that_somebody_chose_are_no_markup(own_repo: Path) -> None:
    source = {"source": "a|b\n# no `heading` <b>", "pictures": 1, "classes": {"<i>|": 1}, "parts": {}}
    edit_json(own_repo / "training.json", sources=[source])
    assert write_card(own_repo)
    assert "| a\\|b # no 'heading' &lt;b> | 1 | &lt;i>\\| 1 | - |" in card_of(own_repo)


def test_each_detector_states_what_its_verdict_rests_on(own_repo: Path) -> None:
    about = {"title": "Chairs of Vienna", "description": "Chairs that were made before 1900."}
    (own_repo / "gallery" / "about.json").write_text(json.dumps(about), encoding="utf-8")
    detectors = {
        "a fixed threshold: its rate of false alarms is unknown": OutOfDistributionDetector.top_score_rule(),
        "There is no verdict: 18 calibration pictures are too few for it.": OutOfDistributionDetector(
            ONE_NEIGHBOUR, calibration_scores=np.zeros(18, np.float32)
        ),
        "There is no verdict: its check found less than half": OutOfDistributionDetector(
            ONE_NEIGHBOUR, calibration_scores=np.arange(99, dtype=np.float32), check={"noise": 0.1}
        ),
    }
    for stated, detector in detectors.items():
        write_part(detector, own_repo)
        assert write_card(own_repo)
        assert stated in card_of(own_repo)
        assert "# Chairs of Vienna\n" in card_of(own_repo)
        assert "Chairs that were made before 1900." in card_of(own_repo)


# --- the code in it


def test_the_code_in_the_card_runs_with_the_library_alone(own_repo: Path, tmp_path: Path) -> None:
    """In a folder that has nothing but `visim_models`: an import of another package of the checkout would fail."""
    assert write_card(own_repo)
    (code,) = re.findall(r"```python\n(.*?)```", card_of(own_repo), re.DOTALL)
    assert "hub" not in code
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "visim_models").symlink_to(ROOT / "visim_models")
    Image.fromarray(drawn_picture(3)).save(elsewhere / "photo.jpg")
    program = code.replace("namespace/my-things", str(own_repo))
    environment = {**os.environ, "PYTHONPATH": str(elsewhere)}
    process = run_program(program, cwd=elsewhere, environment=environment)
    assert process.returncode == 0, process.stderr
    assert "Match(" in process.stdout
    assert "OODVerdict(" in process.stdout


def test_the_library_has_one_name() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    similarity = tiny_similarity()
    of_a_gallery = ModelCard(card_text(similarity.gallery, similarity.ood, similarity.network))
    assert project["name"] == of_a_gallery.data.library_name == LIBRARY_NAME


def test_the_install_line_has_the_address_that_is_given(own_repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["card", str(own_repo), "--address", "https://example.org/visim"]) == 0
    assert "pip install git+https://example.org/visim\n" in card_of(own_repo)
    assert f"written: {own_repo / 'README.md'}" in capsys.readouterr().out


# --- plots


def test_every_plot_is_shown_and_every_picture_is_there(measured_repo: Path) -> None:
    drawn = sorted(path.name for path in (measured_repo / "plots").iterdir())
    tables = ["match_probability.png", "match_scores.png", "reliability.png", "strangeness.png"]
    assert drawn == ["confusion.png", "failures.png", "losses.png", *tables]
    for name in drawn:
        assert f"](plots/{name})" in card_of(measured_repo)
        with Image.open(measured_repo / "plots" / name) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 100


def test_an_autoencoder_draws_its_tiles_without_figures(own_repo: Path) -> None:
    assert write_card(own_repo)
    assert sorted(path.name for path in (own_repo / "plots").iterdir()) == ["decoded.png", "reconstructions.png"]


def test_a_plot_that_has_no_numbers_any_more_goes(measured_repo: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(measured_repo, tmp_path / "copy"))
    (copy / "metrics.json").unlink()
    assert write_card(copy)
    assert [path.name for path in (copy / "plots").iterdir()] == ["losses.png"]
    assert "plots/confusion.png" not in card_of(copy)


def test_without_matplotlib_the_card_of_a_measured_repo_says_what_to_install(
    measured_repo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files_of(measured_repo)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["card", str(measured_repo)]) == 2
    assert "needs matplotlib: pip install 'visim-models[train]'" in capsys.readouterr().err
    assert files_of(measured_repo) == before


# --- what is kept, and what is refused


def test_the_same_repo_gives_the_same_bytes_and_no_other_file_changes(measured_repo: Path) -> None:
    before = files_of(measured_repo)
    assert write_card(measured_repo)
    assert files_of(measured_repo) == before


def test_a_card_that_was_edited_is_kept_and_said_to_be(own_repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["card", str(own_repo)]) == 0
    edited = card_of(own_repo).replace("# my-things", "# My own words")
    (own_repo / "README.md").write_text(edited, encoding="utf-8")
    (own_repo / "plots" / "mine.png").write_bytes((own_repo / "plots" / "decoded.png").read_bytes())
    before = files_of(own_repo)
    capsys.readouterr()
    assert main(["card", str(own_repo)]) == 0
    assert files_of(own_repo) == before
    assert f"kept: {own_repo / 'README.md'} was written or edited by hand" in capsys.readouterr().out


def test_figures_of_other_weights_are_refused(own_repo: Path) -> None:
    before = files_of(own_repo)
    Metrics(command="measure", limit=None, weights_sha256="0" * 64, data={}, figures=[]).write(own_repo)
    with pytest.raises(ConfigurationError, match="other weights"):
        write_card(own_repo)
    assert files_of(own_repo).keys() - before.keys() == {"metrics.json"}


@pytest.mark.parametrize(
    "changes",
    [
        {"sources": "drawn.zip"},
        {"sources": [{"pictures": 3}]},
        {"sources": [{"source": "drawn.zip", "classes": ["a"]}]},
        {"epochs": "many"},
        {"settings": []},
        {"about": "a model"},
        {"about": {"title": 3}},
        {"about": {"purpose": "one text"}},
        {"about": {"licence": "apache-2.0"}},
    ],
    ids=str,
)
def test_a_record_of_another_form_is_refused(own_repo: Path, changes: Mapping[str, Any]) -> None:
    edit_json(own_repo / "training.json", **changes)
    with pytest.raises(ConfigurationError, match=r"training\.json"):
        write_card(own_repo)


def damage_losses(folder: Path) -> None:
    (folder / "losses.csv").write_text("epoch,part,loss\n1,lunch,2.0\n", encoding="utf-8")


def damage_table(folder: Path) -> None:
    values = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    values["tables"]["reliability"]["matches"] = 3
    (folder / "metrics.json").write_text(json.dumps(values), encoding="utf-8")


@pytest.mark.parametrize(("damage", "file"), [(damage_losses, "losses.csv"), (damage_table, "metrics.json")])
def test_numbers_that_cannot_be_drawn_are_named(
    measured_repo: Path, tmp_path: Path, damage: Callable[[Path], None], file: str
) -> None:
    copy = Path(shutil.copytree(measured_repo, tmp_path / "copy"))
    damage(copy)
    before = files_of(copy)
    with pytest.raises(ConfigurationError, match=file):
        write_card(copy)
    assert files_of(copy) == before


def test_a_repo_of_the_hub_is_not_written_into(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["card", "someone/their-repo"]) == 2
    assert "download the repo first" in capsys.readouterr().err


def test_missed_targets_and_blind_spots_are_stated() -> None:
    accuracy = Figure(
        name="accuracy", value=93.5, unit="%", n=10, what="Right | wrong.", tolerance=1, target={"at_least": 95.0}
    )
    area = dataclasses.replace(accuracy, name="ood_auroc_text", value=0.6, unit="", target=None)
    found = dataclasses.replace(accuracy, name="ood_found_at_5_text", value=20.0, target=None, interval=(10.0, 30.0))
    labels = {"suspected_labels": [{"file_name": "suv/1.jpg", "label": "suv", "predicted": "truck", "probability": 1}]}
    section = figures_section(
        Metrics(command="x", limit=None, weights_sha256="", data={}, figures=[accuracy, area, found], tables=labels)
    )
    assert "`accuracy`: 93.5 % misses >= 95 % by 1.5 points" in section
    assert "Right \\| wrong." in section
    assert "Kinds that it cannot tell: text (20.0 % found)." in section
    assert "| text | this repo | **0.6000** | **20.0 %** (10.0 to 30.0) | - | 10 | - |" in section
    assert "`suv/1.jpg` (truck?)" in section
