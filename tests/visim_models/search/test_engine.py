"""gallery/index.json is strict and names no address; an engine's address is the host's."""

import json
from pathlib import Path

import pytest

from tests.builders import edit_json, tiny_repo
from visim_models import ConfigurationError, EngineError, GalleryMismatchError, MissingExtraError, VisualSimilarity
from visim_models.repo_folder import RepoFolder
from visim_models.repo_folder.manifest import EMBEDDINGS, INDEX
from visim_models.search.engine import EngineAddress, IndexSettings, collection_name, is_name_of


def settings(**changes: object) -> IndexSettings:
    values = {"collection": collection_name("Oak & Sons", "a", "b"), "pictures": 12, "width": 32}
    return IndexSettings(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repo folder whose index.json names a collection of its weights."""
    folder = tiny_repo(tmp_path / "repo")
    header = RepoFolder(folder).header(EMBEDDINGS)
    name = collection_name("tiny", header["weights_sha256"], header["processor_sha256"])
    values = {
        "engine": "milvus", "collection": name, "kind": "FLAT", "parameters": {}, "pictures": 12, "width": 32,
    }  # fmt: skip
    (folder / INDEX).write_text(json.dumps(values), encoding="utf-8")
    return folder


def test_a_collection_is_named_by_the_gallery_and_the_hash_and_never_twice() -> None:
    first, second = (collection_name("Oak & Sons, Zürich", "weights", "processor") for _ in range(2))
    assert first != second
    assert first.startswith("visim_oak_sons_z_rich_")
    assert first.rpartition("_")[0] == second.rpartition("_")[0]
    assert collection_name("猫", "weights", "processor").startswith("visim_gallery_")
    assert collection_name("x", "other", "processor").split("_")[2] != first.split("_")[5]
    for name in (first, collection_name("猫" * 300, "w", "p"), collection_name("a" * 300, "w", "p")):
        assert settings(collection=name).collection == name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"engine": "sqlite"}, "engine is 'sqlite'"),
        ({"collection": "customers"}, "visim made no such name"),
        ({"collection": "visim_x_2b6f0c9d1e42"}, "visim made no such name"),
        ({"kind": "IVF"}, "kind is 'IVF'"),
        ({"kind": "HNSW", "parameters": {"M": 10**6}}, "M must be a whole number from 2 to 128"),
        ({"kind": "HNSW", "parameters": {"M": True}}, "M must be"),
        ({"parameters": {"path": "/etc"}}, "parameters of FLAT"),
        ({"parameters": [1]}, "parameters of FLAT"),
        ({"pictures": 0}, "pictures must be"),
        ({"pictures": 1.5}, "pictures must be"),
        ({"width": "32"}, "width must be"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        settings(**changes)


def test_usual_parameters_are_filled_in() -> None:
    assert settings(kind="HNSW", parameters={"M": 8}).parameters == {"M": 8, "efConstruction": 200, "ef": 128}
    assert settings(kind="DISKANN").parameters == {"search_list": 128}


@pytest.mark.parametrize("key", ["uri", "token", "index_uri"])
def test_a_repo_cannot_bring_an_address_of_its_own(repo: Path, key: str) -> None:
    edit_json(repo / INDEX, **{key: "http://10.0.0.1:19530"})
    with pytest.raises(ConfigurationError, match="must have the keys"):
        VisualSimilarity.from_pretrained(repo, index_uri="http://127.0.0.1:1")


def test_a_missing_key_is_refused(repo: Path) -> None:
    edit_json(repo / INDEX, width=...)
    with pytest.raises(ConfigurationError, match="must have the keys"):
        VisualSimilarity.from_pretrained(repo, index_uri="http://127.0.0.1:1")


def test_without_an_address_the_error_says_how_to_give_one(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VISIM_INDEX_URI", raising=False)
    with pytest.raises(
        EngineError, match=r"--index-uri URI, VISIM_INDEX_URI or from_pretrained\(\.\.\., index_uri=URI"
    ):
        VisualSimilarity.from_pretrained(repo)


def test_an_index_of_other_weights_or_width_is_refused(repo: Path) -> None:
    name = json.loads((repo / INDEX).read_text(encoding="utf-8"))["collection"]
    edit_json(repo / INDEX, width=33)
    with pytest.raises(GalleryMismatchError, match="33 numbers"):
        VisualSimilarity.from_pretrained(repo, index_uri="http://127.0.0.1:1")
    edit_json(repo / INDEX, width=32, collection=collection_name("tiny", "other", "other"))
    with pytest.raises(GalleryMismatchError, match="other weights or another processor"):
        VisualSimilarity.from_pretrained(repo, index_uri="http://127.0.0.1:1")
    assert name.startswith("visim_tiny_")


def test_a_missing_client_is_an_error_that_names_the_extra(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pymilvus", None)
    with pytest.raises(
        MissingExtraError, match=r"An index in Milvus needs pymilvus: pip install 'visim-models\[milvus\]'"
    ):
        VisualSimilarity.from_pretrained(repo, index_uri="http://127.0.0.1:1")


@pytest.mark.parametrize(
    "uri", ["index", "no/such/folder/index.db", "tcp://127.0.0.1:1", "http://", "https:///x", "file:///x.db"]
)
def test_an_address_that_is_none_is_refused(uri: str) -> None:
    with pytest.raises(EngineError, match="index URI"):
        EngineAddress(uri)


def test_an_address_shows_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    address = EngineAddress("http://name:secret@host:19530", "also-secret")
    assert str(address) == "http://host:19530"
    assert "secret" not in f"{address}"
    monkeypatch.setenv("VISIM_INDEX_URI", "http://host:1")
    monkeypatch.setenv("VISIM_INDEX_TOKEN", "name:word")
    assert EngineAddress.given(None) == EngineAddress("http://host:1", "name:word")
    assert EngineAddress.given("http://other:1", "x") == EngineAddress("http://other:1", "x")
    monkeypatch.delenv("VISIM_INDEX_URI")
    assert EngineAddress.given(None) is None


def test_saving_a_gallery_in_memory_drops_the_index(repo: Path) -> None:
    (repo / INDEX).rename(repo / "kept.json")
    similarity = VisualSimilarity.from_pretrained(repo)
    (repo / "kept.json").rename(repo / INDEX)
    similarity.save_pretrained(repo)
    assert not (repo / INDEX).exists()


@pytest.mark.parametrize(
    "uri",
    [
        "root:s3cretpw@127.0.0.1:19530",
        "https:/root:s3cretpw@127.0.0.1:19530",
        "http://root:s3cret#pw@127.0.0.1:19530",
        "http://root:s3cret/pw@127.0.0.1:19530",
        "http://root:s3cret[pw@127.0.0.1:19530",
    ],
)
def test_a_password_in_a_wrong_address_is_not_repeated(uri: str) -> None:
    with pytest.raises(EngineError, match="VISIM_INDEX_TOKEN") as raised:
        EngineAddress(uri)
    assert "s3cret" not in str(raised.value)


def test_a_copy_of_a_gallery_has_another_name() -> None:
    name = collection_name("cars", "1", "2")
    assert is_name_of(name, "cars", "1", "2")
    assert not is_name_of(name, "cars-2", "1", "2")
    assert not is_name_of(name, "cars", "1", "3")
