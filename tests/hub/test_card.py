"""The card of small repos with figures, without, and with figures that are not theirs."""

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from PIL import Image

from hub.card import write_card
from hub.card_figures import figures_section
from lab.evaluation import Figure, Metrics, evaluate
from tests.drawn_data import write_autoencoder_repo, write_car_repo, write_data
from visim_models import VisualSimilarity
from visim_models.errors import ConfigurationError


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def car_repo(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_car_repo(tmp_path_factory.mktemp("cars") / "visim-car-extractor", data)
    record = {"task": "car-classifier", "recipe": "car-extractor", "epochs": 7, "seed": 3}
    (folder / "training.json").write_text(json.dumps(record), encoding="utf-8")
    (folder / "losses.csv").write_text(
        "epoch,part,batch,loss\n1,training,1,2.0\n1,validation,1,1.5\n", encoding="utf-8"
    )
    evaluate(folder, data, limit=6).write(folder)
    write_card(folder)
    return folder


@pytest.fixture(scope="module")
def plain_repo(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_autoencoder_repo(tmp_path_factory.mktemp("cifar10") / "visim-cifar10-autoencoder", data)
    write_card(folder)
    return folder


def test_the_metadata_is_as_the_hub_reads_it(car_repo: Path) -> None:
    card = ModelCard.load(car_repo / "README.md")
    assert card.data.license == "apache-2.0"
    assert card.data.library_name == "visim"
    assert card.data.pipeline_tag == "image-feature-extraction"
    assert {"visim", "cars"} <= set(card.data.tags)
    assert {"accuracy", "roc_auc"} <= set(card.data.metrics)
    assert card.data.model_name == "visim-car-extractor"
    stated = {each.metric_name: each.metric_value for each in card.data.eval_results}
    measured = {each.name: each.value for each in Metrics.read(car_repo).figures}
    assert stated["accuracy (%)"] == measured["accuracy"]
    assert stated["ood_auroc_noise"] == measured["ood_auroc_noise"]


def test_the_card_says_what_it_should(car_repo: Path) -> None:
    card = (car_repo / "README.md").read_text(encoding="utf-8")
    figures = {each.name: each for each in Metrics.read(car_repo).figures}
    accuracy = figures["accuracy"]
    assert f"| **{accuracy.value:.1f} ± {accuracy.noise:.1f} %** | 6 | >= 95 % |" in card
    assert 'hub.load("car-extractor")' in card
    assert "--recipe car-extractor --data" in card
    assert "7 epochs, seed 3" in card
    assert "label smoothing 0.05" in card
    assert "raw pixels, Euclidean" in card
    assert "distance to neighbour 50" in card
    assert "A trial on at most 6 pictures" in card
    assert "Oreolorun Olu-Ipinlaye" in card
    assert "python -m lab.evaluate car-extractor --data ../shared/data --limit 6 --check" in card


def test_every_plot_is_shown_and_every_picture_is_there(car_repo: Path) -> None:
    card = (car_repo / "README.md").read_text(encoding="utf-8")
    drawn = sorted(path.name for path in (car_repo / "plots").iterdir())
    assert drawn == ["confusion.png", "losses.png", "match_scores.png", "reliability.png", "strangeness.png"]
    for name in drawn:
        assert f"](plots/{name})" in card
        with Image.open(car_repo / "plots" / name) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 100


def test_the_same_repo_gives_the_same_bytes(car_repo: Path) -> None:
    def digests() -> dict[str, str]:
        files = [car_repo / "README.md", *(car_repo / "plots").iterdir()]
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    before = digests()
    write_card(car_repo)
    assert digests() == before
    VisualSimilarity.from_pretrained(car_repo)


def test_without_metrics_no_figure_is_stated(plain_repo: Path) -> None:
    card = ModelCard.load(plain_repo / "README.md")
    assert card.data.eval_results is None
    assert card.data.datasets == ["uoft-cs/cifar10"]
    assert "have not been measured" in card.text
    assert "**" not in card.text
    assert sorted(path.name for path in (plain_repo / "plots").iterdir()) == ["decoded.png", "reconstructions.png"]


def test_figures_of_other_weights_are_refused(plain_repo: Path) -> None:
    before = (plain_repo / "README.md").read_bytes()
    Metrics(command="measure", limit=None, weights_sha256="0" * 64, data={}, figures=[]).write(plain_repo)
    try:
        with pytest.raises(ConfigurationError, match="other weights"):
            write_card(plain_repo)
    finally:
        (plain_repo / "metrics.json").unlink()
    assert (plain_repo / "README.md").read_bytes() == before


def test_missed_targets_and_blind_spots_are_said() -> None:
    accuracy = Figure(
        name="accuracy", value=93.5, noise=1, unit="%", n=10, what="Right | wrong.", target={"at_least": 95.0}
    )
    area = dataclasses.replace(accuracy, name="ood_auroc_text", value=0.6, unit="", target=None)
    found = dataclasses.replace(accuracy, name="ood_found_at_5_text", value=20.0, target=None)
    labels = {"suspected_labels": [{"file_name": "suv/1.jpg", "label": "suv", "predicted": "truck", "probability": 1}]}
    section = figures_section(
        Metrics(command="x", limit=None, weights_sha256="", data={}, figures=[accuracy, area, found], tables=labels)
    )
    assert "`accuracy`: 93.5 ± 1.0 % misses >= 95 % by 1.5 %" in section
    assert "Right \\| wrong." in section
    assert "What it cannot tell: text (20.0 ± 1.0 % found)." in section
    assert "`suv/1.jpg` (truck?)" in section
