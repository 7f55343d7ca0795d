"""A network answers alike by torch and by ONNX Runtime, and an ONNX file that is not its own is refused."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from hub.__main__ import main as main_of_hub
from hub.export import add_missing_onnx, add_onnx
from tests.builders import drawn_pictures, files_of, tiny_autoencoder, tiny_car_repo, tiny_repo, write_pictures
from visim_models import ConfigurationError, MissingExtraError, QueryError, VisualSimilarity, WeightsError
from visim_models.cli.__main__ import main
from visim_models.models.loading import load_network
from visim_models.models.network import Network
from visim_models.repo_folder import RepoFolder
from visim_models.repo_folder.manifest import ONNX_DECODER, ONNX_MODEL, ONNX_WEIGHTS_KEY

PICTURES = drawn_pictures(9, seed=5)
BACKENDS = ("torch", "onnx")


@pytest.fixture(scope="module")
def repos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An autoencoder and a classifier, each with a gallery and its ONNX files; tests leave them as they are."""
    folder = tmp_path_factory.mktemp("onnx")
    made = {"autoencoder": tiny_repo(folder / "drawn"), "classifier": tiny_car_repo(folder / "cars")}
    for repo in made.values():
        add_onnx(repo)
    return made


@pytest.fixture
def repo(repos: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the autoencoder's repo, to change."""
    return Path(shutil.copytree(repos["autoencoder"], tmp_path / "repo"))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("kind", ["autoencoder", "classifier"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_contract_of_a_network(backend: str, kind: str, repos: dict[str, Path]) -> None:
    network = load_network(RepoFolder(repos[kind]), backend=backend)
    assert isinstance(network, Network)
    assert network.device == "cpu"
    side, width = network.image_size, network.embedding_dim
    pixels = np.random.default_rng(0).normal(size=(5, 3, side, side)).astype(np.float32)
    rows = network.embed(pixels)
    assert (rows.shape, rows.dtype) == ((5, width), np.float32)
    assert network.embed(pixels[:0]).shape == (0, width)
    np.testing.assert_allclose(network.embed(pixels[::2]), rows[::2], atol=1e-4)  # a view, and another count
    at_once = list(network.map_batches(network.embed, [pixels[number : number + 1] for number in range(5)]))
    np.testing.assert_allclose(np.concatenate(at_once), rows, atol=1e-4)
    if kind == "classifier":
        assert network.class_names == ["sedan", "coupe", "suv", "truck"]
        assert np.exp(network.log_probabilities(rows)).sum(axis=1) == pytest.approx(np.ones(5), abs=1e-5)
        with pytest.raises(QueryError, match="no decoder"):
            network.decode(rows)
    else:
        assert network.class_names == []
        assert network.decode(rows).shape == pixels.shape
        with pytest.raises(QueryError, match="no classes"):
            network.log_probabilities(rows)
    with pytest.raises(ConfigurationError, match="nowhere"):
        network.to("nowhere")


@pytest.mark.parametrize("kind", ["autoencoder", "classifier"])
def test_both_backends_answer_alike(kind: str, repos: dict[str, Path]) -> None:
    by_torch, by_onnx = (VisualSimilarity.from_pretrained(repos[kind], backend=backend) for backend in BACKENDS)
    np.testing.assert_allclose(by_onnx.embed_batch(PICTURES), by_torch.embed_batch(PICTURES), atol=1e-4)
    for one, other in zip(by_torch.search_batch(PICTURES), by_onnx.search_batch(PICTURES), strict=True):
        assert [match.file_name for match in one.matches] == [match.file_name for match in other.matches]
        assert [match.score for match in one.matches] == pytest.approx(
            [match.score for match in other.matches], abs=0.002
        )
        assert one.ood.word == other.ood.word
        assert one.ood.p_value == pytest.approx(other.ood.p_value, abs=0.01)
    if kind == "classifier":
        assert by_onnx.classify(PICTURES[0]) == pytest.approx(by_torch.classify(PICTURES[0]), abs=1e-4)
    else:
        assert np.abs(by_onnx.reconstruct(PICTURES[0]).astype(int) - by_torch.reconstruct(PICTURES[0])).max() <= 1


def test_what_is_loaded_by_onnx_is_saved_whole(repos: dict[str, Path], tmp_path: Path) -> None:
    VisualSimilarity.from_pretrained(repos["autoencoder"], backend="onnx").save_pretrained(tmp_path / "copy")
    saved, old = files_of(tmp_path / "copy"), files_of(repos["autoencoder"])
    same = ["config.json", "model.safetensors", ONNX_MODEL, ONNX_DECODER]
    assert [saved[name] for name in same] == [old[name] for name in same]
    assert "onnx/classifier.onnx" not in saved


def test_the_same_weights_give_the_same_bytes_with_no_path_of_this_machine(repo: Path) -> None:
    before = files_of(repo)
    add_onnx(repo)
    assert files_of(repo) == before
    assert not [name for name, content in before.items() if name.endswith(".onnx") and b"site-packages" in content]
    assert len(before[ONNX_MODEL]) + len(before[ONNX_DECODER]) < 1.2 * len(before["model.safetensors"]) + 20_000


def test_other_weights_take_the_onnx_files_with_them(repo: Path) -> None:
    shutil.rmtree(repo / "gallery")
    tiny_autoencoder(seed=8).save_pretrained(repo)
    assert not (repo / ONNX_MODEL).exists()


def _stamp(path: Path, *, opset: int | None = None, sha256: str | None = None) -> None:
    file = onnx.load(path)
    if opset is not None:
        file.opset_import[0].version = opset
    if sha256 is not None:
        onnx.helper.set_model_props(file, {ONNX_WEIGHTS_KEY: sha256})
    path.write_bytes(file.SerializeToString())


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "cut off"),
        (lambda path: path.write_bytes(b""), "cut off"),
        (lambda path: path.write_bytes(b"no network" * 100), "cut off"),
        (lambda path: _stamp(path, opset=99), "newer version"),
        (lambda path: _stamp(path, sha256="0" * 64), "other weights"),
        (lambda path: shutil.copyfile(path.parent / "decoder.onnx", path), "not the network"),
        (lambda path: (path.parent / "decoder.onnx").unlink(), "cannot be read"),
    ],
)
def test_a_bad_onnx_file_is_refused_and_nothing_is_lost(harm, said: str, repo: Path) -> None:  # type: ignore[no-untyped-def]
    harm(repo / ONNX_MODEL)
    before = files_of(repo)
    with pytest.raises(WeightsError, match=said) as caught:
        VisualSimilarity.from_pretrained(repo, backend="onnx")
    assert "hub export --onnx" in str(caught.value)
    assert caught.value.path is not None
    assert files_of(repo) == before


def test_a_file_that_names_another_file_to_read_is_refused(repo: Path) -> None:
    file = onnx.load(repo / ONNX_MODEL)
    onnx.save_model(file, repo / ONNX_MODEL, save_as_external_data=True, location="outside.bin", size_threshold=0)
    with pytest.raises(WeightsError, match="cannot be read"):
        VisualSimilarity.from_pretrained(repo, backend="onnx")


def test_without_files_torch_writes_them_into_the_cache_once(
    repo: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(repo / "onnx")
    before = files_of(repo)
    first = VisualSimilarity.from_pretrained(repo, backend="onnx").embed(PICTURES[0])
    assert files_of(repo) == before
    assert len(list(cache.rglob("*.onnx"))) == 2
    monkeypatch.setitem(sys.modules, "visim_models.models.onnx_export", None)  # so that exporting again would fail
    assert np.array_equal(VisualSimilarity.from_pretrained(repo, backend="onnx").embed(PICTURES[0]), first)


def test_a_cache_that_cannot_be_written_only_means_that_nothing_is_kept(repo: Path, cache: Path) -> None:
    shutil.rmtree(repo / "onnx")
    cache.write_text("a file where the folder would be")
    assert VisualSimilarity.from_pretrained(repo, backend="onnx").network.can_decode


def test_without_files_and_without_torch_the_error_says_what_to_install(
    repo: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(repo / "onnx")
    monkeypatch.setitem(sys.modules, "visim_models.models.onnx_export", None)
    with pytest.raises(MissingExtraError, match=r"has no onnx/model\.onnx.*visim-models\[onnx-export\]"):
        VisualSimilarity.from_pretrained(repo, backend="onnx")


def test_without_onnxruntime_the_error_names_the_extra(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"needs onnxruntime: pip install 'visim-models\[onnx\]'"):
        VisualSimilarity.from_pretrained(repo, backend="onnx")


def test_an_unknown_backend_or_another_device_is_refused(repo: Path) -> None:
    with pytest.raises(ConfigurationError, match="'torch', 'onnx'"):
        VisualSimilarity.from_pretrained(repo, backend="tensorflow")
    with pytest.raises(ConfigurationError, match="cuda"):
        VisualSimilarity.from_pretrained(repo, backend="onnx", device="cuda")


def test_a_gallery_is_built_changed_and_searched_by_onnx_as_by_torch(
    repos: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures, more = write_pictures(tmp_path / "pictures", 10), write_pictures(tmp_path / "more", 1, seed=9)
    network = tmp_path / "network"
    shutil.copytree(repos["autoencoder"], network, ignore=shutil.ignore_patterns("gallery", "ood*"))
    built = {}
    for backend in BACKENDS:
        out = tmp_path / backend
        assert main(["build", str(pictures), "--out", str(out), "--model", str(network), "--backend", backend]) == 0
        assert main(["build", "--out", str(out), "--add", str(more), "--backend", backend]) == 0
        capsys.readouterr()
        assert main(["search", str(out), str(pictures / "suv/0003.png"), "--json", "--backend", backend]) == 0
        built[backend] = json.loads(capsys.readouterr().out)
        assert (out / ONNX_MODEL).is_file()
    assert [match["file_name"] for match in built["onnx"]["matches"]] == [
        match["file_name"] for match in built["torch"]["matches"]
    ]
    assert built["onnx"]["ood"]["word"] == built["torch"]["ood"]["word"]
    assert built["onnx"]["ood"]["p_value"] == pytest.approx(built["torch"]["ood"]["p_value"], abs=0.01)
    mine = VisualSimilarity.from_pictures(pictures, model=network, backend="onnx", progress=False)
    assert mine.search(pictures / "suv/0003.png").matches[0].file_name == "suv/0003.png"


def test_what_is_published_gets_its_onnx_files_where_they_can_be_written(
    repo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(repo / "onnx")
    add_missing_onnx(repo, dry_run=True)
    assert "written before the files are sent" in capsys.readouterr().out
    assert not (repo / "onnx").exists()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "onnxscript", None)
        add_missing_onnx(repo)
    assert "without ONNX files" in capsys.readouterr().out
    assert main_of_hub(["export", "--onnx", str(repo)]) == 0
    written = (repo / ONNX_MODEL).stat()
    add_missing_onnx(repo)
    assert (repo / ONNX_MODEL).stat().st_mtime_ns == written.st_mtime_ns
