"""Loading from a Hub over HTTP: versions, caching, no network, and repos that mean harm or are not whole."""

import json
import os
import pickle
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import hub
from tests.builders import edit_json, raw_safetensors, tiny_car_repo, tiny_repo
from tests.hub.olah_server import commit, flaky_network, serving_checkouts
from tests.hub.recording_hub import RecordingHub, serving
from tests.processes import ROOT, run_program
from visim_models import GalleryError, ImageSourceError, RepositoryError, VisualSimilarity
from visim_models.repo_folder.hub_repo import without_tokens
from visim_models.sources.download import download, hub_dataset, origin

# In a process of its own: the client reads its address and its switches when it is imported.
PROGRAM = """
import json, resource, sys, traceback
import hub, visim_models, visim_models.repo_folder.hub_repo
largest_file, requests = int(sys.argv[1]), json.loads(sys.argv[2])
visim_models.repo_folder.hub_repo._LOOKUP_SECONDS = 2
if largest_file:
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
answers = []
for request in requests:
    of_class = request.pop("of_class", None)
    load = getattr(visim_models, of_class).from_pretrained if of_class else hub.load
    source = request.pop("source")
    try:
        found = load(source, **request)
        answers.append(len(found.gallery) if hasattr(found, "gallery") else type(found).__name__)
    except visim_models.VisimError as error:
        answers.append([type(error).__name__, str(error)])
        assert "hf_Sec" not in "".join(traceback.format_exception(error)), "a traceback shows the token"
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def mirrors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkouts of namespace "someone": a good repo with two versions, and one of each bad kind."""
    folder = tmp_path_factory.mktemp("mirrors")
    models = folder / "models" / "someone"
    good = tiny_repo(models / "visim-car-extractor", count=8)
    shutil.copytree(good, models / "many" / "sizes" / "[small]")
    commit(models / "many")
    commit(good, tag="v1")
    commit(tiny_car_repo(models / "cars"))
    spare = tiny_repo(folder / "spare")
    for name in BAD_REPOS:
        shutil.copytree(spare, models / name)
    shutil.rmtree(good / "gallery")
    shutil.copytree(spare / "gallery", good / "gallery")
    commit(good)
    for name, spoil in BAD_REPOS.items():
        spoil(models / name)
        commit(models / name)
    return folder


@pytest.fixture(scope="module")
def port(mirrors: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with serving_checkouts(mirrors, tmp_path_factory.mktemp("olah")) as port:
        yield port


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("exploded"),)


def spoil_metadata(folder: Path, first: str, *, rows: int = 0) -> None:
    path = folder / "gallery" / "metadata.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[1] = first
    path.write_text("\n".join(lines[: len(lines) - rows]) + "\n", encoding="utf-8")


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


BAD_REPOS: dict[str, Any] = {
    "no-config": lambda folder: (folder / "config.json").unlink(),
    "unknown-key": lambda folder: edit_json(folder / "config.json", surprise=1),
    "truncated": lambda folder: truncate(folder / "model.safetensors"),
    "huge-header": lambda folder: (folder / "model.safetensors").write_bytes(raw_safetensors({}, length=2**62)),
    "lying-header": lambda folder: (folder / "model.safetensors").write_bytes(
        raw_safetensors({"a": {"dtype": "F16", "shape": [2**40], "data_offsets": [0, 2**41]}}, b"12")
    ),
    "pickle": lambda folder: (folder / "model.safetensors").write_bytes(pickle.dumps(Bomb())),
    "leaves-folder": lambda folder: spoil_metadata(folder, "../../secret.png,suv"),
    "fewer-rows": lambda folder: spoil_metadata(folder, "suv/0000.png,suv", rows=2),
}
EXPECTED = {
    "no-config": "ConfigurationError",
    "unknown-key": "ConfigurationError",
    "truncated": "WeightsError",
    "huge-header": "WeightsError",
    "lying-header": "WeightsError",
    "pickle": "WeightsError",
    "leaves-folder": "GalleryError",
    "fewer-rows": "GalleryError",
}


def ask(
    port: int, home: Path, *requests: dict[str, Any], largest_file: int = 0, **environment: str
) -> list[int | str | list[str]]:
    """The length of each gallery that loads, or the kind and message of the error."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING", "VISIM_"))}
    kept |= {"HF_ENDPOINT": f"http://127.0.0.1:{port}", "HF_HOME": str(home), "PYTHONPATH": str(ROOT)}
    home.mkdir(exist_ok=True)
    done = run_program(PROGRAM, str(largest_file), json.dumps(requests), cwd=home, environment={**kept, **environment})
    assert done.returncode == 0, done.stderr[-3000:]
    answers: list[int | str | list[str]] = json.loads(done.stdout)
    return answers


GOOD = {"source": "someone/visim-car-extractor"}
ALONE = {**GOOD, "of_class": "ConvolutionalAutoencoder"}


def test_versions_and_caches(port: int, tmp_path: Path) -> None:
    newest, tagged, elsewhere, no_such, unknown = ask(
        port, tmp_path / "home", GOOD, {**GOOD, "revision": "v1"},
        {"source": "car-extractor", "revision": "v1", "cache_dir": str(tmp_path / "cache")},
        {**GOOD, "revision": "v9"}, {"source": "someone/visim-nothing"},
        VISIM_NAMESPACE="someone",
    )  # fmt: skip
    assert (newest, tagged, elsewhere) == (12, 8, 8)
    assert (tmp_path / "cache" / "models--someone--visim-car-extractor").is_dir()
    assert isinstance(no_such, list)
    assert isinstance(unknown, list)
    assert no_such[0] == unknown[0] == "RepositoryError"
    assert "v9" in no_such[1]
    assert "someone/visim-nothing" in unknown[1]


def test_subfolders_of_a_repo_however_they_are_spelled(port: int, tmp_path: Path) -> None:
    spellings = ("sizes/[small]", "./sizes//[small]/")
    requests = [{"source": "someone/many", "subfolder": each, "of_class": "VisualSimilarity"} for each in spellings]
    assert ask(port, tmp_path / "home", *requests, {**GOOD, "subfolder": None}) == [8, 8, 12]


def test_every_class_is_loaded_from_the_hub(port: int, tmp_path: Path) -> None:
    cars = [{"source": "someone/cars", "of_class": name} for name in ("CarFeatureExtractor", "CarClassifier")]
    whole = [{**request, "of_class": "VisualSimilarity"} for request in (GOOD, {**GOOD, "revision": "v1"})]
    wrong = {**GOOD, "of_class": "CarClassifier"}
    *answers, refused = ask(port, tmp_path / "home", ALONE, *cars, *whole, wrong)
    assert answers == ["ConvolutionalAutoencoder", "CarFeatureExtractor", "CarClassifier", 12, 8]
    assert isinstance(refused, list)
    assert refused[0] == "ConfigurationError"


def test_the_token_reaches_the_hub(tmp_path: Path) -> None:
    home = tmp_path / "home"
    server = RecordingHub("token")
    with serving(server) as address:
        port = int(address.rsplit(":", 1)[1])
        for of_class in ("", "VisualSimilarity", "CarFeatureExtractor"):
            answer = ask(port, home, {**GOOD, "token": "hf_given", **({"of_class": of_class} if of_class else {})})
            assert "someone/visim-car-extractor" in answer[0][1]  # type: ignore[index]
            assert "hf_given" not in answer[0][1]  # type: ignore[index]
        assert server.tokens == {"hf_given"}
        (home / "token").write_text("hf_of_a_login", encoding="utf-8")
        ask(port, home, GOOD)
        assert server.tokens == {"hf_given", "hf_of_a_login"}
        server.tokens.clear()
        ask(port, home, {**GOOD, "token": False})
        assert server.tokens == {""}


def test_no_message_holds_a_token(tmp_path: Path) -> None:
    server = RecordingHub("token")
    secrets = ("hf_Secret\n", " hf_Secret", "hf_Sec\nret\x00", "hf_S\u00e9cret")
    with serving(server) as address:
        port = int(address.rsplit(":", 1)[1])
        for answer in ask(port, tmp_path / "home", *({**GOOD, "token": token} for token in (*secrets, ""))):
            assert isinstance(answer, list)
            assert answer[0] == "RepositoryError"
            assert "ret" not in answer[1].replace("secret", "")
        assert server.tokens == {"hf_Secret", ""}
    text = "Illegal header value b'Bearer hf_Abc\\n' for hf_Abcdefgh and 'hf_Abc\\n', hf_Abc%0A"
    assert "Abc" not in without_tokens(text, "hf_Abc\n")


def test_a_hub_that_accepts_and_never_answers_is_left_for_the_cache(port: int, tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert ask(port, home, GOOD) == [12]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        found, missing = ask(silent.getsockname()[1], home, GOOD, {"source": "someone/visim-nothing"})
        assert time.monotonic() - start < 60
    assert found == 12
    assert isinstance(missing, list)
    assert "could not be reached" in missing[1]


def test_once_cached_no_network_is_needed(port: int, tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert ask(port, home, GOOD) == [12]
    assert ask(port, home, GOOD, HF_HUB_OFFLINE="1") == [12]
    assert ask(9, home, GOOD, {**GOOD, "local_files_only": True}, ALONE) == [12, 12, "ConvolutionalAutoencoder"]


def test_without_a_network_or_a_cache_the_message_says_what_to_do(tmp_path: Path) -> None:
    answers = ask(9, tmp_path / "home", GOOD, {**GOOD, "local_files_only": True}, {"source": "nobody"})
    answers += ask(9, tmp_path / "home", GOOD, HF_HUB_OFFLINE="1")
    for answer in answers:
        assert isinstance(answer, list)
        assert answer[0] == "RepositoryError"
        assert "folder" in answer[1]


def test_bad_repos_give_a_clear_error_and_can_be_mended(port: int, mirrors: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    requests = [{"source": f"someone/{name}"} for name in BAD_REPOS]
    for name, answer in zip(BAD_REPOS, ask(port, home, *requests, GOOD), strict=False):
        assert isinstance(answer, list), name
        assert answer[0] == EXPECTED[name], answer
        assert str(home) in answer[1], answer  # the file is named
    assert not (home / "exploded").exists()
    mended = mirrors / "models" / "someone" / "pickle"
    shutil.copyfile(mirrors / "spare" / "model.safetensors", mended / "model.safetensors")
    commit(mended)
    assert ask(port, home, {"source": "someone/pickle"}) == [12]


def test_a_network_that_drops_halfway_leaves_nothing_broken(port: int, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with flaky_network(port) as network:
        network.bytes_left = 9_000  # the list of files, and a part of them
        (answer,) = ask(network.port, home, GOOD)
        assert isinstance(answer, list), answer
        assert answer[0] == "RepositoryError"
        assert network.is_down
        (answer,) = ask(network.port, home, GOOD)  # still without a network: what came is not taken for the whole
        assert isinstance(answer, list), answer
        assert answer[0] == "RepositoryError"
        network.bytes_left = None
        assert ask(network.port, home, GOOD) == [12]


def test_an_update_that_drops_halfway_leaves_the_last_whole_version(port: int, mirrors: Path, tmp_path: Path) -> None:
    home, request = tmp_path / "home", {"source": "someone/growing"}
    repo = tiny_repo(mirrors / "models" / "someone" / "growing", count=8)
    commit(repo)
    with flaky_network(port) as network:
        assert ask(network.port, home, request) == [8]
        shutil.rmtree(repo / "gallery")
        tiny_repo(tmp_path / "newer", count=16, seed=5)
        shutil.copytree(tmp_path / "newer", repo, dirs_exist_ok=True)
        commit(repo)
        network.bytes_left = 9_000
        (answer,) = ask(network.port, home, request)
        assert isinstance(answer, list), answer
        assert network.is_down
        assert ask(network.port, home, request, HF_HUB_OFFLINE="1") == [8]
        network.bytes_left = None
        assert ask(network.port, home, request) == [16]
        assert ask(network.port, home, request, HF_HUB_OFFLINE="1") == [16]


def test_a_full_disk_gives_a_clear_error_and_the_next_try_works(port: int, tmp_path: Path) -> None:
    (answer,) = ask(port, tmp_path / "home", GOOD, largest_file=6_000)
    assert isinstance(answer, list), answer
    assert answer[0] == "RepositoryError"
    assert "try again" in answer[1]
    assert ask(port, tmp_path / "home", GOOD) == [12]


def test_a_gated_repo_says_where_to_ask(tmp_path: Path) -> None:
    server = RecordingHub("token", fail=lambda method, path: 403, error_code="GatedRepo")
    with serving(server) as address:
        (answer,) = ask(int(address.rsplit(":", 1)[1]), tmp_path / "home", GOOD)
    assert isinstance(answer, list)
    assert answer[0] == "RepositoryError"
    assert "gated" in answer[1]


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    folder = tiny_repo(tmp_path / "repo")
    secret = tmp_path / "secret.json"
    (folder / "config.json").rename(secret)
    (folder / "config.json").symlink_to(secret)
    with pytest.raises(RepositoryError, match="link"):
        hub.load(folder)
    (folder / "config.json").unlink()
    secret.rename(folder / "real.json")
    (folder / "config.json").symlink_to("real.json")
    assert len(hub.load(folder).gallery) == 12


@pytest.mark.parametrize("load", [hub.load, VisualSimilarity.from_pretrained])
def test_a_network_without_a_gallery_says_how_one_is_made(load: Callable[[str], object]) -> None:
    with pytest.raises(GalleryError) as caught:
        load("general-extractor")
    message = str(caught.value)
    assert message.startswith("general-extractor is a network without a gallery: make one")
    assert "visim build PICTURES --model general-extractor --out FOLDER" in message
    assert (message.count("general-extractor"), message.count("GalleryError")) == (3, 0)


@pytest.mark.parametrize("variable", ["1", "0"])
def test_no_picture_is_fetched_where_the_hub_is_switched_off(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", variable == "1")
    message = "HF_HUB_OFFLINE is set" if variable == "1" else "private or local"
    with pytest.raises(ImageSourceError, match=message):
        download("http://127.0.0.1:9/picture.png")


def test_revisions_of_the_hub_with_slashes() -> None:
    assert hub_dataset("hf://datasets/a/b@refs/pr/1/c/d") == ("a/b", "refs/pr/1", "c/d")
    assert hub_dataset("hf://datasets/a/b@refs/convert/parquet") == ("a/b", "refs/convert/parquet", "")
    assert hub_dataset("hf://datasets/a/b@refs%2Fpr%2F1") == ("a/b", "refs/pr/1", "")
    assert hub_dataset("hf://datasets/a/b@refs/c") == ("a/b", "refs", "c")


def test_an_image_root_that_redirects_to_a_local_address_is_refused() -> None:
    asked: list[str] = []

    class Redirect(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{self.server.server_address[1]}/secret.png")  # type: ignore[misc]
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Redirect)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/picture.png"
        with pytest.raises(ImageSourceError, match="private or local"):
            download(url)
        assert asked == []
        with pytest.raises(
            ImageSourceError, match="private or local"
        ):  # the host itself is trusted, where it leads is not
            download(url, trusted_origin=origin(url))
        assert asked == ["/picture.png"]
    finally:
        server.shutdown()
        server.server_close()
