"""The whole query on tiny real parts: what is found, in which forms, saved and loaded whole."""

import gc
import io
import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.builders import (
    TINY_SIZE,
    drawn_picture,
    drawn_pictures,
    edit_json,
    files_of,
    tiny_autoencoder,
    tiny_car_repo,
    tiny_repo,
    tiny_similarity,
    write_part,
)
from tests.loopback import FileServer, running
from tests.processes import ROOT
from visim_models import (
    CarFeatureExtractor,
    ConfigurationError,
    ConvolutionalAutoencoder,
    Gallery,
    GalleryError,
    GalleryMismatchError,
    ImageDecodeError,
    ImageProcessor,
    Match,
    OutOfDistributionDetector,
    QueryError,
    RepositoryError,
    SimilarityResult,
    VisimError,
    VisualSimilarity,
)
from visim_models.ood import Weighting
from visim_models.repo_folder import RepoFolder, formats

COUNT = 12
REPO_FILES = {
    "config.json", "model.safetensors", "preprocessor_config.json", "gallery/metadata.csv",
    "gallery/embeddings.safetensors", "ood.json", "ood.safetensors",
}  # fmt: skip


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed."""
    return tiny_repo(tmp_path_factory.mktemp("repos") / "tiny", count=COUNT)


@pytest.fixture(scope="module")
def tiny(repo: Path) -> VisualSimilarity:
    return VisualSimilarity.from_pretrained(repo)


@pytest.fixture
def own(repo: Path, tmp_path: Path) -> Path:
    """A copy to be spoilt."""
    return Path(shutil.copytree(repo, tmp_path / "repo"))


def edit_header(path: Path) -> Callable[..., None]:
    """A function that changes text pairs in the header of a safetensors file."""

    def edit(**changes: str) -> None:
        header = formats.read_header(path)
        formats.write_tensors(path, formats.read_tensors(path), metadata={**header, **changes})

    return edit


# --- searching


def test_a_gallery_picture_finds_itself_first(tiny: VisualSimilarity) -> None:
    for place, picture in enumerate(drawn_pictures(COUNT)):
        match = tiny.search(picture, top_k=1).matches[0]
        assert match.file_name == tiny.gallery.file_names[place]
        assert match.label == tiny.gallery.labels[place]
        assert match.percent == 100


@pytest.mark.parametrize("seed", [901, 902, 903])
def test_search_is_brute_force_cosine(tiny: VisualSimilarity, seed: int) -> None:
    picture = drawn_picture(seed)
    query, rows = tiny.embed(picture).astype(np.float64), tiny.gallery.embeddings.astype(np.float64)
    cosines = rows @ query / np.linalg.norm(rows, axis=1) / np.linalg.norm(query)
    matches = tiny.search(picture, top_k=COUNT).matches
    assert [match.file_name for match in matches] == [tiny.gallery.file_names[place] for place in np.argsort(-cosines)]
    np.testing.assert_allclose([match.score for match in matches], -np.sort(-cosines), atol=1e-5)


def test_a_batch_is_its_single_searches(tiny: VisualSimilarity) -> None:
    pictures = [*drawn_pictures(70, seed=5), drawn_picture(3, size=9)]  # more than go through the network at once
    together = tiny.search_batch(pictures, top_k=3)
    assert len(together) == len(pictures)
    for picture, result in zip(pictures, together, strict=True):
        single = tiny.search(picture, top_k=3)
        assert [match.file_name for match in result.matches] == [match.file_name for match in single.matches]
        np.testing.assert_allclose(
            [match.score for match in result.matches], [match.score for match in single.matches], atol=1e-5
        )
        np.testing.assert_allclose(result.embedding, single.embedding, atol=1e-5)
        assert result.ood.score == pytest.approx(single.ood.score, rel=1e-4, abs=1e-4)
        assert result.ood.p_value == pytest.approx(single.ood.p_value, abs=0.04)  # a tie may fall either way


def test_a_fault_in_a_batch_says_which_picture_it_is(tiny: VisualSimilarity, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    pictures: list[Any] = [*drawn_pictures(70, seed=5), tmp_path / "bad.jpg"]
    with pytest.raises(ImageDecodeError) as caught:
        tiny.search_batch(pictures)
    assert caught.value.path == tmp_path / "bad.jpg"
    assert caught.value.__notes__ == ["It is picture 70, counted from 0."]
    with pytest.raises(QueryError, match="a list of pictures"):
        tiny.search_batch(str(tmp_path / "bad.jpg"))


def test_the_forms_of_an_image_agree(tiny: VisualSimilarity, tmp_path: Path) -> None:
    picture, file = drawn_picture(77), io.BytesIO()
    Image.fromarray(picture).save(file, format="PNG")
    (tmp_path / "a.png").write_bytes(file.getvalue())
    expected = tiny.search(picture)
    for form in (tmp_path / "a.png", str(tmp_path / "a.png"), file.getvalue(), Image.fromarray(picture)):
        found = tiny.search(form)
        assert (found.matches, found.ood) == (expected.matches, expected.ood)
        assert np.array_equal(found.embedding, expected.embedding)
        assert np.array_equal(tiny.embed(form), tiny.embed(picture))


def test_the_types_of_a_result(tiny: VisualSimilarity) -> None:
    result = tiny.search(drawn_picture(1))
    assert isinstance(result, SimilarityResult)
    assert len(result.matches) == 4
    match = result.matches[0]
    assert (type(match.file_name), type(match.label), type(match.score), type(match.percent)) == (str, str, float, int)
    assert (type(result.ood.is_ood), type(result.ood.p_value), type(result.ood.score)) == (bool, float, float)
    assert result.ood.false_alarm_rate == 0.05
    assert result.ood.calibration_size == 30
    assert (result.embedding.shape, result.embedding.dtype) == ((32,), np.float32)
    assert tiny.processor(drawn_picture(1)).shape == (3, TINY_SIZE, TINY_SIZE)


@pytest.mark.parametrize(("score", "percent"), [(1.0, 100), (0.849, 85), (0.0, 0), (-0.5, -50), (0.996, 100)])
def test_percent(score: float, percent: int) -> None:
    assert Match("a.jpg", "x", score).percent == percent


def test_nearest_of_a_known_embedding(tiny: VisualSimilarity) -> None:
    result = tiny.search(drawn_picture(4), top_k=6)
    again = tiny.nearest(result.embedding, top_k=6)
    assert [match.file_name for match in again] == [match.file_name for match in result.matches]
    with pytest.raises(QueryError):
        tiny.nearest(np.ones(31, np.float32))


def test_the_measurements_by_hand(tiny: VisualSimilarity) -> None:
    pixels = tiny.processor(drawn_picture(8))[None]
    seen = tiny._measure(pixels, tiny.gallery, 1)[0]
    scores = [match.score for match in tiny.search(drawn_picture(8), top_k=10).matches]
    assert seen["top_distance"].item() == pytest.approx(1 - scores[0], abs=1e-5)
    assert seen["neighbour_distance"].item() == pytest.approx(1 - np.mean(scores), abs=1e-5)
    norm = float(np.linalg.norm(tiny.embed(drawn_picture(8))))
    assert seen["embedding_norm"].item() == pytest.approx(-np.log(norm), abs=1e-4)
    assert seen["reconstruction_error"].item() > 0
    part = tiny.gallery.subset([0, 1])
    assert tiny._measure(pixels, part, 1)[0]["top_distance"] >= seen["top_distance"] - 1e-6


def test_decoded_pictures(tiny: VisualSimilarity) -> None:
    name = tiny.gallery.file_names[2]
    decoded, rebuilt = tiny.decode_gallery(name), tiny.reconstruct(drawn_pictures(COUNT)[2])
    assert (decoded.shape, decoded.dtype) == ((TINY_SIZE, TINY_SIZE, 3), np.uint8)
    assert np.abs(decoded.astype(int) - rebuilt.astype(int)).max() <= 2  # float16 in the gallery
    with pytest.raises(QueryError, match="no picture"):
        tiny.decode_gallery("nobody.png")


@pytest.mark.parametrize("bad", [b"", b"not a picture", "no/such/file.jpg", np.zeros((3, 3), np.uint8), None])
def test_what_is_no_picture(tiny: VisualSimilarity, bad: Any) -> None:
    for call in (tiny.search, tiny.embed, tiny.reconstruct):
        with pytest.raises(ImageDecodeError):
            call(bad)
    with pytest.raises(ImageDecodeError):
        tiny.search_batch([drawn_picture(1), bad])


def test_a_search_asks_for_no_more_than_the_gallery_has(tiny: VisualSimilarity) -> None:
    few = VisualSimilarity(tiny.model, tiny.processor, tiny.gallery.subset([0, 1, 2]), tiny.ood)
    assert len(few.search(drawn_picture(1)).matches) == len(few.nearest(few.gallery.embeddings[0])) == 3
    assert len(tiny.search(drawn_picture(1), top_k=10**9).matches) == COUNT


@pytest.mark.parametrize(
    "one", ["q.jpg", b"\xff\xd8", Path("q.jpg"), drawn_picture(1), Image.fromarray(drawn_picture(1))]
)
def test_one_picture_is_not_a_batch(tiny: VisualSimilarity, one: Any) -> None:
    with pytest.raises(QueryError, match="a list of pictures: use search or embed for one"):
        tiny.search_batch(one)
    with pytest.raises(QueryError, match="a list of pictures: use search or embed for one"):
        tiny.embed_batch(one)


def test_optional_arguments_are_keyword_only(tiny: VisualSimilarity) -> None:
    with pytest.raises(TypeError):
        tiny.search(drawn_picture(1), 4)  # type: ignore[misc]


# --- files


def test_the_files_of_a_repo(repo: Path) -> None:
    assert set(files_of(repo)) == REPO_FILES
    assert [path.name for path in repo.parent.iterdir()] == ["tiny"]


@pytest.mark.parametrize("build", [tiny_repo, tiny_car_repo], ids=["autoencoder", "car extractor"])
def test_save_and_load_twice_gives_the_same_bytes(build: Any, tmp_path: Path) -> None:
    build(tmp_path / "first")
    for before, after in (("first", "second"), ("second", "third")):
        VisualSimilarity.from_pretrained(tmp_path / before).save_pretrained(tmp_path / after)
        assert files_of(tmp_path / after) == files_of(tmp_path / before)
    one, other = (VisualSimilarity.from_pretrained(str(tmp_path / name)) for name in ("first", "third"))
    assert one.search(drawn_picture(9)).matches == other.search(drawn_picture(9)).matches


def test_saving_over_itself(own: Path) -> None:
    before = files_of(own)
    VisualSimilarity.from_pretrained(own).save_pretrained(own)
    assert files_of(own) == before
    assert [path.name for path in own.parent.iterdir()] == [own.name]


def test_saved_answers_like_the_unsaved(repo: Path) -> None:
    unsaved, saved = tiny_similarity(COUNT), VisualSimilarity.from_pretrained(repo)
    first, second = unsaved.search(drawn_picture(6)), saved.search(drawn_picture(6))
    assert first.matches[0].file_name == second.matches[0].file_name
    scores = [[match.score for match in result.matches] for result in (first, second)]
    np.testing.assert_allclose(*scores, atol=1e-3)
    np.testing.assert_allclose(first.embedding, second.embedding, rtol=1e-2, atol=1e-3)


def test_an_error_while_saving_leaves_the_old_repo(own: Path) -> None:
    before, similarity = files_of(own), VisualSimilarity.from_pretrained(own)
    similarity.gallery = Gallery(["a"], ["x"], np.full((1, 32), 1e6))
    with pytest.raises(GalleryError, match="float16"):
        similarity.save_pretrained(own)
    assert files_of(own) == before
    assert [path.name for path in own.parent.iterdir()] == [own.name]


def test_other_weights_under_the_gallery(own: Path) -> None:
    write_part(tiny_autoencoder(seed=9), own)
    with pytest.raises(GalleryMismatchError, match="weights"):
        VisualSimilarity.from_pretrained(own)


def test_another_processor_under_the_gallery(own: Path) -> None:
    write_part(ImageProcessor(size=TINY_SIZE, resample=3), own)
    with pytest.raises(GalleryMismatchError, match="processor"):
        VisualSimilarity.from_pretrained(own)


@pytest.mark.parametrize("file", sorted(REPO_FILES))
@pytest.mark.parametrize("content", [b"", b"{}"], ids=repr)
def test_a_replaced_file_is_a_clear_error(file: str, content: bytes, own: Path) -> None:
    (own / file).write_bytes(content)
    with pytest.raises(VisimError) as caught:
        VisualSimilarity.from_pretrained(own)
    assert not isinstance(caught.value, RepositoryError)
    assert len(str(caught.value)) > 30


@pytest.mark.parametrize("model_type", [None, 3, "resnet", ["car-classifier"], ...])
def test_an_unknown_network(model_type: Any, own: Path) -> None:
    edit_json(own / "config.json", model_type=model_type)
    with pytest.raises(ConfigurationError, match="model_type"):
        VisualSimilarity.from_pretrained(own)


def test_a_gallery_of_another_width() -> None:
    gallery = Gallery(["a"], ["x"], np.ones((1, 31)))
    with pytest.raises(GalleryMismatchError, match="31"):
        VisualSimilarity(
            tiny_autoencoder(), ImageProcessor(size=8), gallery, OutOfDistributionDetector.top_score_rule()
        )


def test_a_processor_of_another_size_than_the_network() -> None:
    gallery = Gallery(["a"], ["x"], np.ones((1, 32)))
    with pytest.raises(VisimError):
        VisualSimilarity(
            tiny_autoencoder(), ImageProcessor(size=16), gallery, OutOfDistributionDetector.top_score_rule()
        )


@pytest.mark.parametrize(
    "detector",
    [
        OutOfDistributionDetector({"uncertainty": Weighting(1, 0, 1)}, threshold=0.0),
        OutOfDistributionDetector({"probe": Weighting(1, 0, 1)}, threshold=0.0, probe_weight=np.ones(33)),
    ],
    ids=["a measurement that the network lacks", "a probe of another width"],
)
def test_a_detector_of_another_network(detector: OutOfDistributionDetector, own: Path) -> None:
    write_part(detector, own)
    with pytest.raises(VisimError):
        VisualSimilarity.from_pretrained(own)


def test_the_car_extractor_has_no_decoder(tmp_path: Path) -> None:
    cars = VisualSimilarity.from_pretrained(tiny_car_repo(tmp_path / "cars"))
    assert isinstance(cars.model, CarFeatureExtractor)
    assert cars.embed(drawn_picture(1)).shape == (514,)
    assert cars.search(drawn_pictures(3)[2], top_k=1).matches[0].file_name == cars.gallery.file_names[2]
    for call in (lambda: cars.reconstruct(drawn_picture(1)), lambda: cars.decode_gallery(cars.gallery.file_names[0])):
        with pytest.raises(QueryError, match="decoder"):
            call()


# --- the parts answer themselves


def test_the_model_that_is_changed_is_the_one_that_answers(own: Path) -> None:
    similarity = VisualSimilarity.from_pretrained(own)
    before = similarity.embed(drawn_picture(1))
    with torch.no_grad():
        for parameter in similarity.model.parameters():
            parameter.zero_()
    assert before.any()
    assert not similarity.embed(drawn_picture(1)).any()
    similarity.model.train()
    assert not similarity.embed(drawn_picture(1)).any()
    assert not similarity.model.training


def test_the_weights_are_in_memory_once(own: Path) -> None:
    gc.collect()
    networks = [id(item) for item in gc.get_objects() if type(item) is ConvolutionalAutoencoder]
    similarity = VisualSimilarity.from_pretrained(own)
    similarity.search(drawn_picture(1))
    new = [item for item in gc.get_objects() if type(item) is ConvolutionalAutoencoder and id(item) not in networks]
    assert new == [similarity.model]


def test_the_device_is_that_of_the_model(own: Path) -> None:
    similarity = VisualSimilarity.from_pretrained(own, device="cpu")
    assert similarity.device == "cpu"
    assert similarity.to("meta") is similarity
    assert similarity.device == "meta"
    assert {parameter.device.type for parameter in similarity.model.parameters()} == {"meta"}


@pytest.mark.parametrize("device", ["warp", "cuda:9", ""])
def test_a_device_that_is_not_there(own: Path, device: str) -> None:
    with pytest.raises(ConfigurationError, match=f"cannot compute on device '{device}'"):
        VisualSimilarity.from_pretrained(own, device=device)


def test_each_part_loads_alone(own: Path) -> None:
    whole = VisualSimilarity.from_pretrained(own)
    assert ImageProcessor.from_pretrained(own) == whole.processor
    assert Gallery.from_pretrained(own).file_names == whole.gallery.file_names
    assert OutOfDistributionDetector.from_pretrained(own).weightings == whole.ood.weightings


def test_torch_comes_with_the_network_alone(own: Path) -> None:
    program = """
import sys
import visim_models, visim_models.galleries, visim_models.search.feedback
from visim_models import Gallery, ImageProcessor, OutOfDistributionDetector, VisualSimilarity
repo = sys.argv[1]
gallery = Gallery.from_pretrained(repo)
gallery.search(gallery.embeddings[:2], top_k=3)
ImageProcessor.from_pretrained(repo), OutOfDistributionDetector.from_pretrained(repo)
assert not {"torch", "torchvision", "scipy", "gradio", "timm"} & sys.modules.keys()
VisualSimilarity.from_pretrained(repo)
assert "torch" in sys.modules
assert all(getattr(visim_models, name) is not None for name in visim_models.__all__)
"""
    command = [sys.executable, "-W", "error", "-c", program, own]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_is_bigger_than_the_network_takes_is_refused_before_anything_runs(own: Path) -> None:
    header = edit_header(own / "gallery" / "embeddings.safetensors")
    edit_json(own / "preprocessor_config.json", size={"height": 4096, "width": 4096})
    header(processor_sha256=RepoFolder(own).sha256("preprocessor_config.json"))
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(ConfigurationError, match=r"4096 x 4096 .* takes 8 x 8"):
        VisualSimilarity.from_pretrained(own)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024
    assert time.process_time() - start < 1


# --- many pictures


def test_any_iterable_of_pictures(tiny: VisualSimilarity) -> None:
    pictures = drawn_pictures(5, seed=3)
    assert tiny.search_batch(iter(pictures)) == tiny.search_batch(pictures)
    np.testing.assert_array_equal(tiny.embed_batch(picture for picture in pictures), tiny.embed_batch(pictures))
    assert tiny.embed_batch([]).shape == (0, 32)


def test_a_bad_picture_is_skipped_in_its_index(tiny: VisualSimilarity) -> None:
    pictures: list[Any] = drawn_pictures(5, seed=3)
    results = tiny.search_batch([pictures[0], b"no picture", *pictures[1:]], on_error="skip")
    assert [index for index, result in enumerate(results) if isinstance(result, ImageDecodeError)] == [1]
    assert [result for result in results if isinstance(result, SimilarityResult)] == tiny.search_batch(pictures)
    with pytest.raises(QueryError, match="on_error"):
        tiny.search_batch(pictures, on_error="ignore")  # type: ignore[call-overload]


def test_progress_is_shown_on_request(tiny: VisualSimilarity, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.search_batch(drawn_pictures(3))
    assert capsys.readouterr().err == ""
    tiny.search_batch(drawn_pictures(3), progress=True)
    assert "3/3" in capsys.readouterr().err


# --- results


def test_further_columns_come_with_the_matches(own: Path) -> None:
    similarity = VisualSimilarity.from_pretrained(own)
    gallery = similarity.gallery
    prices = [str(number) for number in range(COUNT)]
    similarity.gallery = Gallery(gallery.file_names, gallery.labels, gallery.embeddings, columns={"price": prices})
    similarity.save_pretrained(own)
    again = VisualSimilarity.from_pretrained(own)
    assert again.gallery.columns == {"price": prices}
    assert again.search(drawn_pictures(COUNT)[3], top_k=1).matches[0].columns == {"price": "3"}


def test_a_result_is_plain_json_and_short(tiny: VisualSimilarity) -> None:
    result = tiny.search(drawn_picture(1), top_k=2)
    values = json.loads(json.dumps(result.to_dict()))
    assert values["matches"][0]["file_name"] == result.matches[0].file_name
    assert values["matches"][0]["percent"] == result.matches[0].percent
    assert values["ood"]["p_value"] == result.ood.p_value
    assert repr(result).count(result.matches[1].file_name) == 1
    assert "array" not in repr(result)
    assert values["ood"] == {
        "is_ood": result.ood.is_ood, "can_tell": True, "score": result.ood.score, "p_value": result.ood.p_value,
        "false_alarm_rate": 0.05, "calibration_size": 30, "word": result.ood.word,
    }  # fmt: skip
    assert result == tiny.search(drawn_picture(1), top_k=2)
    assert result != tiny.search(drawn_picture(2), top_k=2)


def test_a_result_in_a_notebook_shows_pictures_of_this_machine_alone(own: Path, tmp_path: Path) -> None:
    """A root on the web is not asked: its pictures are frames with their names."""
    similarity = VisualSimilarity.from_pretrained(own)
    first = similarity.gallery.file_names[3]
    (tmp_path / "photos" / first).parent.mkdir(parents=True)
    Image.fromarray(drawn_pictures(COUNT)[3]).save(tmp_path / "photos" / first)
    similarity.gallery.image_root = str(tmp_path / "photos")
    shown = similarity.search(drawn_pictures(COUNT)[3], top_k=2)._repr_html_()
    assert (shown.count("data:image/png;base64,"), shown.count("border:1px")) == (1, 1)
    assert similarity.search(drawn_picture(1)).ood.word in shown or "cannot tell" in shown
    with running(FileServer()) as server:
        similarity.gallery.image_root = server.address
        assert "data:image" not in similarity.search(drawn_pictures(COUNT)[3], top_k=2)._repr_html_()
        assert not server.asked


def test_probabilities_of_the_classes(tmp_path: Path) -> None:
    cars = VisualSimilarity.from_pretrained(tiny_car_repo(tmp_path / "cars"))
    found = cars.classify(drawn_picture(1))
    assert set(found) == {"sedan", "coupe", "suv", "truck"}
    assert sum(found.values()) == pytest.approx(1, abs=1e-5)
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_an_autoencoder_has_no_classes(tiny: VisualSimilarity) -> None:
    with pytest.raises(QueryError, match="no classes"):
        tiny.classify(drawn_picture(1))
