"""Finding repos, strict JSON and safetensors, and folders that are replaced whole or not at all."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import files_of, raw_safetensors
from visim_models import ConfigurationError, RepositoryError, VisimError, WeightsError, repository

ROOT = Path(__file__).resolve().parents[2]
TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.count": torch.tensor(7), "empty": torch.empty(0)}


def run_python(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *arguments],
        cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


# --- finding a repo


def test_a_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    assert repository.resolve(tmp_path) == tmp_path
    assert repository.resolve(str(tmp_path)) == tmp_path


@pytest.mark.parametrize("source", ["", "a/b/c", "no such folder", "../nowhere/repo", "bad?name", "x" * 300, "a\0b"])
def test_what_is_neither_folder_nor_repo_id(source: str) -> None:
    with pytest.raises(RepositoryError, match="neither a folder here nor a repo id"):
        repository.resolve(source)


RESOLVE = """
import sys
from visim_models import VisimError, repository
try:
    repository.resolve(sys.argv[1], cache_dir=sys.argv[2])
except VisimError as error:
    print(type(error).__name__, error)
"""


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("way", ["switched off", "no network"])
def test_a_repo_that_cannot_be_had_says_what_to_do(way: str, tmp_path: Path) -> None:
    environment = {"HF_HUB_OFFLINE": "1" if way == "switched off" else "0"}
    environment["HF_ENDPOINT"] = f"http://127.0.0.1:{closed_port()}"
    environment["HF_HOME"] = str(tmp_path / "home")
    process = run_python(RESOLVE, "someone/visim-car-extractor", str(tmp_path), **environment)
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("RepositoryError 'someone/visim-car-extractor'")
    assert "give a folder" in process.stdout


def test_a_repo_that_is_not_cached(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="give a folder"):
        repository.resolve("someone/visim-car-extractor", cache_dir=tmp_path, local_files_only=True)


# --- JSON


def test_json_round_trip(tmp_path: Path) -> None:
    values = {"b": 1, "a": ["é", None, 0.1], "c": {"d": True}}
    repository.write_json(tmp_path / "x.json", values)
    assert repository.read_json(tmp_path / "x.json") == values
    assert list(repository.read_json(tmp_path / "x.json")) == ["b", "a", "c"]
    assert (tmp_path / "x.json").read_bytes().endswith(b"}\n")


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"{]", b"[]", b"3", b"null", b'"text"', b"{'a': 1}", b'{"a": 1,}', b"\xff\xfe{}",
        b'\xef\xbb\xbf{"a": 1}', b'{"a": 1} {}', b'{"a": 1, "a": 2}', b'{"b": {"a": 1, "a": 1}}',
        b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}",
        b"{" + b" " * (4 * 2**20) + b"}",
    ],
    ids=lambda content: repr(content[:16]),
)  # fmt: skip
def test_damaged_json(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"config\.json"):
        repository.read_json(tmp_path / "config.json")


def test_json_that_is_missing_or_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"has no config\.json"):
        repository.read_json(tmp_path / "config.json")
    (tmp_path / "config.json").mkdir()
    with pytest.raises(ConfigurationError, match=r"config\.json"):
        repository.read_json(tmp_path / "config.json")


# --- safetensors


def test_tensors_round_trip(tmp_path: Path) -> None:
    repository.write_tensors(tmp_path / "x.safetensors", TENSORS, metadata={"z": "1", "a": "é"})
    found = repository.read_tensors(tmp_path / "x.safetensors")
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert torch.equal(found[name], tensor)
        assert found[name].dtype == tensor.dtype
    assert repository.read_metadata(tmp_path / "x.safetensors") == {"z": "1", "a": "é"}


def test_a_transposed_tensor_keeps_its_values(tmp_path: Path) -> None:
    repository.write_tensors(tmp_path / "x.safetensors", {"t": TENSORS["a.weight"].T})
    assert torch.equal(repository.read_tensors(tmp_path / "x.safetensors")["t"], TENSORS["a.weight"].T)


def write_nine(path: Path) -> None:
    tensors = {f"layer{place}": torch.full((3,), place, dtype=torch.float16) for place in range(9)}
    repository.write_tensors(path, tensors, metadata={f"key{place}": str(place) for place in range(9)})


WRITE = "import sys, pathlib, tests.visim_models.test_repository as test; test.write_nine(pathlib.Path(sys.argv[1]))"


def test_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    write_nine(tmp_path / "here.safetensors")
    process = run_python(WRITE, str(tmp_path / "there.safetensors"), PYTHONHASHSEED="7")
    assert process.returncode == 0, process.stderr
    assert (tmp_path / "here.safetensors").read_bytes() == (tmp_path / "there.safetensors").read_bytes()


def test_storage_is_float16_and_whole_numbers_stay() -> None:
    assert repository.to_storage(torch.nn.Parameter(torch.ones(2))).dtype == torch.float16
    assert not repository.to_storage(torch.nn.Parameter(torch.ones(2))).requires_grad
    assert repository.to_storage(torch.tensor(2**40)).item() == 2**40


def entry(*offsets: int, shape: list[int] | None = None, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": [1] if shape is None else shape, "data_offsets": list(offsets)}


HOSTILE = {
    "empty": b"",
    "seven bytes": b"\0" * 7,
    "length beyond the file": raw_safetensors(b"{}", length=1000),
    "huge length": raw_safetensors(b"{}", length=2**64 - 1),
    "100 MB length": raw_safetensors(b"{}", length=100_000_001),
    "zero length": raw_safetensors(b"", length=0),
    "not JSON": raw_safetensors(b"hello, world"),
    "not UTF-8": raw_safetensors(b"\xff" * 16),
    "a JSON list": raw_safetensors(b"[1, 2, 3]"),
    "deeply nested": raw_safetensors(b"[" * 50_000),
    "entry of no tensor": raw_safetensors({"a": 3}),
    "overlapping offsets": raw_safetensors({"a": entry(0, 4), "b": entry(0, 4)}, b"\0" * 4),
    "partly overlapping": raw_safetensors({"a": entry(0, 8, shape=[2]), "b": entry(4, 12, shape=[2])}, b"\0" * 12),
    "a gap": raw_safetensors({"a": entry(0, 4), "b": entry(8, 12)}, b"\0" * 12),
    "trailing bytes": raw_safetensors({"a": entry(0, 4)}, b"\0" * 12),
    "beyond the end": raw_safetensors({"a": entry(0, 4)}, b"\0" * 2),
    "backwards": raw_safetensors({"a": entry(4, 0)}, b"\0" * 4),
    "negative": raw_safetensors({"a": entry(-4, 0)}, b"\0" * 4),
    "shape of another size": raw_safetensors({"a": entry(0, 4, shape=[2])}, b"\0" * 4),
    "shape that overflows": raw_safetensors({"a": entry(0, 4, shape=[2**62, 2**62])}, b"\0" * 4),
    "empty and enormous": raw_safetensors({"a": entry(0, 0, shape=[2**63, 0])}),
    "negative shape": raw_safetensors({"a": entry(0, 4, shape=[-1, -1])}, b"\0" * 4),
    "unknown type": raw_safetensors({"a": entry(0, 4, dtype="PICKLE")}, b"\0" * 4),
    "metadata of no text": raw_safetensors({"__metadata__": {"a": 1}}),
    "pickle": b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94\x8c\x06system\x94\x93\x94.",
    "zip, as torch.save writes it": b"PK\x03\x04" + b"\0" * 100,
    "git LFS pointer": b"version https://git-lfs.example/spec/v1\noid sha256:00\nsize 12\n",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_safetensors(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"model\.safetensors") as caught:
        repository.read_tensors(path)
    assert "again" in str(caught.value)
    if "[9223372036854775808, 0]" not in str(content):  # a header that is sound in itself
        with pytest.raises(WeightsError, match=r"model\.safetensors"):
            repository.read_metadata(path)


@pytest.mark.parametrize("tenth", range(10))
def test_truncated_at_every_tenth(tenth: int, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    repository.write_tensors(path, TENSORS, metadata={"a": "b"})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * tenth // 10])
    with pytest.raises(WeightsError, match="not a whole safetensors file"):
        repository.read_tensors(path)


def test_safetensors_that_is_missing_or_a_folder(tmp_path: Path) -> None:
    for read in (repository.read_tensors, repository.read_metadata):
        with pytest.raises(WeightsError, match=r"has no model\.safetensors"):
            read(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").mkdir()
    for read in (repository.read_tensors, repository.read_metadata):
        with pytest.raises(WeightsError, match=r"model\.safetensors"):
            read(tmp_path / "model.safetensors")


def test_reading_a_pickle_runs_nothing(tmp_path: Path) -> None:
    payload = f"cos\nmkdir\n(V{tmp_path / 'run'}\ntR."  # what pickle.loads would obey
    (tmp_path / "model.safetensors").write_text(payload, encoding="utf-8")
    with pytest.raises(WeightsError, match="reads no pickle"):
        repository.read_tensors(tmp_path / "model.safetensors")
    assert not (tmp_path / "run").exists()


NUMBERS = st.integers(-2, 20) | st.sampled_from([2**31, 2**32, 2**62, 2**63, 2**64 - 1, 2**64])
ENTRY = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F16", "BF16", "I64", "BOOL", "U8", "F8_E4M3", "C64", "F4", "?"]),
        "shape": st.lists(NUMBERS, max_size=3),
        "data_offsets": st.lists(NUMBERS, min_size=2, max_size=2),
    }
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(header=st.dictionaries(st.text(max_size=3), ENTRY, max_size=3), data=st.binary(max_size=24))
def test_fuzzed_headers(header: dict[str, object], data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed_header.safetensors"
    path.write_bytes(raw_safetensors(header, data))
    for read in (repository.read_tensors, repository.read_metadata):
        try:
            read(path)
        except VisimError as error:
            assert path.name in str(error)  # noqa: PT017 (an error is one of two right outcomes)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(place=st.integers(0, 400), byte=st.integers(0, 255), cut=st.integers(0, 30))
def test_fuzzed_bytes(place: int, byte: int, cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed_bytes.safetensors"
    repository.write_tensors(path, TENSORS)
    content = bytearray(path.read_bytes())
    content[place % len(content)] = byte
    path.write_bytes(content[: len(content) - cut])
    try:
        repository.read_tensors(path)
    except WeightsError:
        pass
    else:
        assert cut == 0


# --- replacing a folder


def write_old(folder: Path) -> dict[str, bytes]:
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_text("old")
    (folder / "sub" / "b.txt").write_text("old")
    return files_of(folder)


def test_a_new_folder_and_no_leftovers(tmp_path: Path) -> None:
    with repository.replacing_folder(tmp_path / "deep" / "repo") as staged:
        (staged / "a.txt").write_text("new")
        assert not (tmp_path / "deep" / "repo").exists()
    assert files_of(tmp_path) == {"deep/repo/a.txt": b"new"}
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["repo"]


def test_the_old_folder_goes_as_a_whole(tmp_path: Path) -> None:
    write_old(tmp_path / "repo")
    with repository.replacing_folder(tmp_path / "repo") as staged:
        (staged / "a.txt").write_text("new")
    assert files_of(tmp_path) == {"repo/a.txt": b"new"}
    assert [path.name for path in tmp_path.iterdir()] == ["repo"]
    assert (tmp_path / "repo").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, WeightsError])
def test_an_error_inside_changes_nothing(kind: type[BaseException], tmp_path: Path) -> None:
    old = write_old(tmp_path / "repo")
    with pytest.raises(kind), repository.replacing_folder(tmp_path / "repo") as staged:  # noqa: PT012
        (staged / "a.txt").write_text("new")
        raise kind("stop")
    assert files_of(tmp_path / "repo") == old
    assert [path.name for path in tmp_path.iterdir()] == ["repo"]


def test_a_full_disk_inside_is_a_repository_error(tmp_path: Path) -> None:
    old = write_old(tmp_path / "repo")
    with (  # noqa: PT012
        pytest.raises(RepositoryError, match="as it was before"),
        repository.replacing_folder(tmp_path / "repo") as staged,
    ):
        (staged / "a.txt").write_text("new")
        raise OSError(28, "No space left on device")
    assert files_of(tmp_path) == {f"repo/{name}": content for name, content in old.items()}


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file, no folder")
    with (
        pytest.raises(RepositoryError, match="cannot be written"),
        repository.replacing_folder(tmp_path / "file" / "repo"),
    ):
        pass


def test_a_file_is_not_replaced_by_a_folder(tmp_path: Path) -> None:
    (tmp_path / "repo").write_text("precious")
    with pytest.raises(RepositoryError), repository.replacing_folder(tmp_path / "repo") as staged:
        (staged / "a.txt").write_text("new")
    assert files_of(tmp_path) == {"repo": b"precious"}


KILLED = """
import os, signal, sys
from pathlib import Path
from visim_models import repository
with repository.replacing_folder(Path(sys.argv[1])) as staged:
    (staged / "a.txt").write_text("new")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_kill_9_leaves_the_old_folder_and_the_next_run_completes(tmp_path: Path) -> None:
    old = write_old(tmp_path / "repo")
    process = run_python(KILLED, str(tmp_path / "repo"))
    assert process.returncode == -signal.SIGKILL
    assert files_of(tmp_path / "repo") == old
    with repository.replacing_folder(tmp_path / "repo") as staged:
        (staged / "a.txt").write_text("new")
    assert files_of(tmp_path / "repo") == {"a.txt": b"new"}


def test_what_the_hub_is_asked_for_holds_no_code_and_no_pickle() -> None:
    patterns = [re.escape(pattern).replace(r"\*", ".*") for pattern in repository.REPO_FILES]
    for name in ("model.py", "pytorch_model.bin", "model.pt", "gallery/features.pkl", "gallery/photo.jpg"):
        assert not any(re.fullmatch(pattern, name) for pattern in patterns), name
