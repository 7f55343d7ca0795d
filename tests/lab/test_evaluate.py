"""The measures solved by hand, and the command on small repos of drawn pictures."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch

from lab.data import ImageSet
from lab.evaluate import main
from lab.evaluation.baselines import PrincipalComponents, nearest, raw_pixels
from lab.evaluation.classification import accuracy, classification_tables
from lab.evaluation.measures import (
    auroc,
    auroc_error,
    histogram,
    label_share,
    mean_and_error,
    psnr,
    squared_errors,
)
from lab.evaluation.pictures import Pictures
from lab.evaluation.reconstruction import reconstruction_errors
from lab.evaluation.retrieval import match_tables, paint_around
from lab.evaluation.subject import Subject, find_repo
from tests.drawn_data import write_autoencoder_repo, write_car_repo, write_data
from visim_models import Gallery, ImageProcessor
from visim_models.errors import ConfigurationError, DataError
from visim_models.metrics import Figure, Metrics, is_met, moved, unmeasured
from visim_models.models.autoencoder import ConvolutionalAutoencoder


def figure(**changes: object) -> Figure:
    values = {"name": "share", "value": 90.0, "noise": 1.0, "unit": "%", "n": 100, "what": "A share."}
    return Figure(**{**values, **changes})  # type: ignore[arg-type]


def metrics(*figures: Figure, **changes: object) -> Metrics:
    values = {"command": "x", "limit": None, "weights_sha256": "abc", "data": {}, "figures": figures}
    return Metrics(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("outside", "area"),
    [([3.0, 4.0], 1.0), ([-1.0], 0.0), ([1.0], 0.5), ([0.5, 2.5], 2 / 3), ([1.0, 3.0], 0.75)],
)
def test_auroc_counts_pairs(outside: list[float], area: float) -> None:
    assert auroc(torch.tensor([2.0, 0.0, 1.0]), torch.tensor(outside)) == pytest.approx(area)


def test_auroc_error_is_hanley_and_mcneils() -> None:
    # A = 0.5, one picture each: A (1 - A) = 0.25.
    assert auroc_error(0.5, 1, 1) == pytest.approx(0.5)
    assert auroc_error(1.0, 60, 40) == pytest.approx(0.01)


def test_mean_and_error() -> None:
    mean, error = mean_and_error(torch.tensor([1.0, 1.0, 0.0, 0.0]))
    assert (mean, error) == (0.5, pytest.approx(math.sqrt(1 / 3) / 2))
    assert mean_and_error(torch.ones(50)) == (1.0, 1 / 50)
    assert mean_and_error(torch.ones(1)) == (1.0, 1.0)


def test_psnr_is_for_a_range_of_two() -> None:
    assert psnr(4.0) == 0
    assert psnr(0.04) == pytest.approx(20)


def test_squared_errors_and_label_share() -> None:
    pixels = torch.zeros(2, 3, 2, 2)
    assert squared_errors(pixels, torch.full_like(pixels, 2.0)).tolist() == [4.0, 4.0]
    assert label_share(["a", "b"], [["a", "b"], ["a", "a"]]).tolist() == [0.5, 0.0]


def test_histogram_keeps_what_lies_beyond_in_the_end_bins() -> None:
    assert histogram(torch.tensor([-9.0, 0.0, 1.0, 1.5, 2.0, 9.0]), [0.0, 1.0, 2.0, 3.0]) == [2, 2, 2]


def test_nearest_is_euclidean() -> None:
    rows = torch.tensor([[10.0, 0.0], [1.0, 1.0], [0.0, 2.0]])
    # The cosine would put the first row first.
    assert nearest(torch.tensor([[2.0, 0.0]]), rows, top_k=3).tolist() == [[1, 2, 0]]


def test_raw_pixels_average_over_areas() -> None:
    image = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    image[:, :, ::2] = 100
    assert raw_pixels(image).shape == (1, 3072)
    assert raw_pixels(image).unique().tolist() == [50.0]


@pytest.mark.parametrize("size", [2, 8])
def test_components_rebuild_the_plane_that_they_were_fitted_to(size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randint(0, 60, (2, 3, size, size), generator=generator)
    weights = torch.randint(0, 3, (20, 2), generator=generator)
    images = (weights[:, :1, None, None] * first + weights[:, 1:, None, None] * second).to(torch.uint8)
    components = PrincipalComponents.fit(images)
    gram = components.basis.T @ components.basis
    assert torch.allclose(gram, torch.eye(len(gram)), atol=1e-4)
    assert components.encode(images).shape == (20, min(3 * size * size, 19))
    assert components.errors(images).max() < 1e-6
    if size == 8:
        assert components.errors(255 - images[:1]).item() > 1e-3


def test_components_leave_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    first, second = (PrincipalComponents.fit(paint_around(torch.zeros(6, 3, 8, 8))) for _ in range(2))
    assert torch.equal(first.basis, second.basis)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_reconstruction_errors_do_not_depend_on_the_networks_own_scale() -> None:
    class Black(ConvolutionalAutoencoder):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return processor.normalize(torch.zeros_like(pixels))

    for mean, std in ((0.5, 0.5), (0.0, 1.0), (0.4, 0.2)):
        processor = ImageProcessor(size=32, image_mean=(mean,) * 3, image_std=(std,) * 3)
        errors = reconstruction_errors(Black(), processor, torch.full((2, 3, 32, 32), 255, dtype=torch.uint8))
        assert errors.tolist() == pytest.approx([4.0, 4.0])


def test_accuracy_confusion_and_suspected_labels() -> None:
    probabilities = torch.tensor([[0.95, 0.05, 0, 0], [0.95, 0.05, 0, 0], [0.2, 0.6, 0.2, 0], [0, 0, 0.1, 0.9]])
    targets = torch.tensor([0, 2, 0, 3])
    labels = ["sedan", "suv", "sedan", "truck"]
    images = ImageSet(["a.png", "b.png", "c.png", "d.png"], labels, torch.zeros(4, 3, 1, 1, dtype=torch.uint8))
    assert accuracy(probabilities, targets).value == pytest.approx(50)
    tables = classification_tables(images, probabilities, targets)
    assert tables["confusion"]["counts"] == [[1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
    assert tables["suspected_labels"] == [
        {"file_name": "b.png", "label": "suv", "predicted": "sedan", "probability": 0.95}
    ]


def test_match_tables_count_true_and_false_matches() -> None:
    gallery = Gallery(["a", "b", "c"], ["x", "x", "y"], torch.eye(3))
    scores = torch.tensor([[0.99, 0.5], [1.0, 0.504]])
    tables = match_tables(["x", "y"], scores, torch.tensor([[0, 2], [2, 1]]), gallery)
    counts = tables["match_scores"]
    assert {place for place, count in enumerate(counts["true"]) if count} == {99, 100}
    assert counts["false"][50] == 2
    reliability = dict(zip(tables["reliability"]["percent_from"], tables["reliability"]["true_share"], strict=True))
    assert reliability[95] == 1
    assert reliability[50] == 0
    assert reliability[0] is None


def test_targets() -> None:
    assert is_met(figure()) is None
    assert is_met(figure(target={"at_least": 90.0})) is True
    assert is_met(figure(target={"at_most": 89.0})) is False
    assert is_met(figure(target={"at_least": 80.0, "at_most": 91.0})) is True


def test_moved_names_what_moved_and_nothing_else() -> None:
    stated = metrics(figure(), figure(name="other"))
    assert moved(stated, metrics(figure(value=90.9), figure(name="other", value=89.1))) == []
    (fault,) = moved(stated, metrics(figure(value=91.5), figure(name="other")))
    assert "share moved from 90 to 91.5 %" in fault
    (lost,) = moved(stated, metrics(figure()))
    assert lost.startswith("other is stated")
    (new,) = moved(stated, metrics(figure(), figure(name="other"), figure(name="third")))
    assert new.startswith("third is measured")
    (fewer,) = moved(stated, metrics(figure(n=99), figure(name="other")))
    assert "stated for 100 pictures, but was measured on 99" in fewer
    (weights,) = moved(stated, metrics(figure(), figure(name="other"), weights_sha256="def"))
    assert "other weights" in weights


def test_a_baseline_that_cannot_be_measured_is_no_fault() -> None:
    stated = metrics(figure(), baselines=[figure(method="raw")])
    assert moved(stated, metrics(figure())) == []
    assert unmeasured(stated, metrics(figure())) == ["share (raw)"]
    (fault,) = moved(stated, metrics(figure(), baselines=[figure(method="raw", value=1.0)]))
    assert fault.startswith("share (raw) moved")


def test_metrics_are_read_as_they_were_written(tmp_path: Path) -> None:
    written = metrics(
        figure(target={"at_least": 95.0}), data={"a.zip": 3}, baselines=[figure(method="raw")], tables={"t": {"x": [1]}}
    )
    written.write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]
    read = Metrics.read(tmp_path)
    assert dataclasses.replace(read, figures=tuple(read.figures)) == written


@pytest.mark.parametrize(
    "text", ["{}", '{"figures": 3, "baselines": []}', '{"figures": [{"name": "x"}], "baselines": []}', "[", "[1]"]
)
def test_other_json_is_no_metrics(tmp_path: Path, text: str) -> None:
    (tmp_path / "metrics.json").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"metrics\.json"):
        Metrics.read(tmp_path)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def car_repo(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_car_repo(tmp_path_factory.mktemp("cars") / "visim-car-extractor", data)


@pytest.fixture(scope="module")
def autoencoder_repo(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_autoencoder_repo(tmp_path_factory.mktemp("cifar10") / "visim-cifar10-autoencoder", data)


def test_queries_are_held_out_and_not_in_the_gallery(data: Path, car_repo: Path) -> None:
    subject, pictures = Subject.load(car_repo), Pictures(data)
    calibration, test = (set(pictures.held_out(subject, part).file_names) for part in ("calibration", "test"))
    known = set(subject.known.file_names)
    assert len(calibration) == len(test) == 10
    assert not calibration & test
    assert not known & (calibration | test)
    assert set(pictures.learnt(subject).file_names) == known
    assert pictures.known(subject).file_names == subject.known.file_names


def test_outliers_are_of_the_reporting_half(data: Path, car_repo: Path, autoencoder_repo: Path) -> None:
    pictures = Pictures(data)
    kinds = dict(pictures.outliers(Subject.load(car_repo)))
    every = pictures.read("not_cars/imagenet.zip", ImageProcessor(size=100))
    assert torch.equal(kinds["photographs"], every.pixels[8:])
    assert len(kinds["animals"]) == 24
    assert list(kinds) == ["photographs", "animals", "noise", "plain", "gradient", "stripes", "text", "plot"]
    assert "animals" not in dict(Pictures(data, limit=2).outliers(Subject.load(autoencoder_repo)))


def run(repo: Path, data: Path, *options: str) -> int:
    return main([str(repo), "--data", str(data), "--limit", "9", *options])


def test_cars_are_written_checked_and_an_edited_figure_is_found(
    data: Path, car_repo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in car_repo.rglob("*") if path.is_file()}
    assert run(car_repo, data, "--write") == 0
    path = car_repo / "metrics.json"
    after = {each: each.read_bytes() for each in car_repo.rglob("*") if each.is_file()}
    assert set(after) - set(before) == {path}
    assert all(after[each] == content for each, content in before.items())
    assert run(car_repo, data, "--check") == 0
    assert path.read_bytes() == after[path]

    values = json.loads(path.read_text(encoding="utf-8"))
    own = {each["name"]: each for each in values["figures"]}
    assert {"accuracy", "retrieval_top_4", "decoration_loss", "ood_auroc_animals", "ood_found_at_1_text"} <= set(own)
    assert own["accuracy"]["n"] == 9
    assert own["accuracy"]["target"] == {"at_least": 95.0}
    methods = {each["method"] for each in values["baselines"] if each["name"] == "ood_auroc_noise"}
    assert methods == {"top score under 0.50", "distance to neighbour 50"}
    assert sum(map(sum, values["tables"]["confusion"]["counts"])) == 9
    strangeness = values["tables"]["strangeness"]
    assert {sum(counts) for counts in strangeness["counts"].values()} <= {8, 9}
    assert len(strangeness["edges"]) == len(strangeness["counts"]["held-out"]) + 1

    own["accuracy"]["value"] += 2 * own["accuracy"]["noise"]
    path.write_text(json.dumps(values), encoding="utf-8")
    capsys.readouterr()
    assert run(car_repo, data, "--check") == 1
    failed = [line for line in capsys.readouterr().err.splitlines() if line.startswith("FAILED")]
    assert len(failed) == 1
    assert "accuracy moved" in failed[0]


def test_an_autoencoder_has_its_figures(data: Path, autoencoder_repo: Path, car_repo: Path) -> None:
    assert run(autoencoder_repo, data, "--write", "--compare", str(autoencoder_repo)) == 0
    found = Metrics.read(autoencoder_repo)
    own = {each.name: each for each in found.figures}
    assert {"reconstruction_mse", "reconstruction_psnr", "retrieval_top_1", "retrieval_top_10"} <= set(own)
    assert own["reconstruction_psnr"].value == pytest.approx(psnr(own["reconstruction_mse"].value), abs=1e-4)
    baselines = {(each.name, each.method): each for each in found.baselines}
    raw = baselines["retrieval_top_1", "raw pixels, Euclidean"]
    assert own["retrieval_top_1"].target == {"at_least": raw.value}
    assert ("reconstruction_psnr", "PCA, 8 components") in baselines
    compared = baselines["reconstruction_mse", "cifar10-autoencoder"]
    assert compared.value == own["reconstruction_mse"].value
    assert compared.target is None
    assert found.data["cifar10/train.zip"] == 80
    # Without the compared repo its baselines are left out, and the check still holds.
    assert run(autoencoder_repo, data, "--check") == 0


def test_what_cannot_be_measured_is_said(
    data: Path, autoencoder_repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = write_autoencoder_repo(tmp_path / "copy", data)
    assert run(copy, data, "--check") == 2
    assert "metrics.json" in capsys.readouterr().err
    assert main([str(copy), "--data", str(tmp_path / "nowhere")]) == 2
    assert "train.zip" in capsys.readouterr().err
    metrics(limit=3).write(copy)
    assert run(copy, data, "--check") == 2
    assert "limit of 3, not 9" in capsys.readouterr().err
    (copy / "held_out.csv").unlink()
    with pytest.raises(DataError, match=r"held_out\.csv"):
        Subject.load(copy)


def test_a_folder_is_found_as_it_is(tmp_path: Path) -> None:
    assert find_repo(str(tmp_path)) == tmp_path
