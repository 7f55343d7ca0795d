"""JSON and safetensors are read strictly and within limits, and written reproducibly."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import raw_safetensors
from tests.processes import ROOT, run_program
from visim_models import ConfigurationError, VisimError, WeightsError
from visim_models.repo_folder import formats

TENSORS = {"a.weight": np.arange(6.0).reshape(2, 3), "a.count": np.array(7), "empty": np.empty(0)}


# --- JSON


def test_json_round_trip(tmp_path: Path) -> None:
    values = {"b": 1, "a": ["é", None, 0.1], "c": {"d": True}}
    formats.write_json(tmp_path / "x.json", values)
    assert formats.read_json(tmp_path / "x.json") == values
    assert list(formats.read_json(tmp_path / "x.json")) == ["b", "a", "c"]
    assert (tmp_path / "x.json").read_bytes().endswith(b"}\n")


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"{]", b"[]", b"3", b"null", b'"text"', b"{'a': 1}", b'{"a": 1,}', b"\xff\xfe{}",
        b'{"a": 1} {}', b'{"a": 1, "a": 2}', b'{"b": {"a": 1, "a": 1}}',
        b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}",
        b"{" + b" " * (4 * 2**20) + b"}",
        b'{"a": Infinity}', b'{"a": NaN}',
    ],
    ids=lambda content: repr(content[:16]),
)  # fmt: skip
def test_damaged_json(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"config\.json"):
        formats.read_json(tmp_path / "config.json")


def test_json_that_is_missing_or_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"has no config\.json"):
        formats.read_json(tmp_path / "config.json")
    (tmp_path / "config.json").mkdir()
    with pytest.raises(ConfigurationError, match=r"config\.json"):
        formats.read_json(tmp_path / "config.json")


# --- safetensors


def test_tensors_round_trip(tmp_path: Path) -> None:
    formats.write_tensors(tmp_path / "x.safetensors", TENSORS, metadata={"z": "1", "a": "é"})
    found = formats.read_tensors(tmp_path / "x.safetensors")
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert np.array_equal(found[name], tensor)
        assert found[name].dtype == tensor.dtype
    assert formats.read_header(tmp_path / "x.safetensors") == {"z": "1", "a": "é"}


def test_a_transposed_tensor_keeps_its_values(tmp_path: Path) -> None:
    formats.write_tensors(tmp_path / "x.safetensors", {"t": TENSORS["a.weight"].T})
    assert np.array_equal(formats.read_tensors(tmp_path / "x.safetensors")["t"], TENSORS["a.weight"].T)


def write_nine(path: Path) -> None:
    tensors = {f"layer{place}": np.full(3, place, np.float16) for place in range(9)}
    formats.write_tensors(path, tensors, metadata={f"key{place}": str(place) for place in range(9)})


WRITE = """
import sys
from pathlib import Path
from tests.visim_models.repo_folder.test_formats import write_nine
write_nine(Path(sys.argv[1]))
"""


def test_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    write_nine(tmp_path / "here.safetensors")
    command = [sys.executable, "-c", WRITE, tmp_path / "there.safetensors"]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": "7"}, check=True)
    assert (tmp_path / "here.safetensors").read_bytes() == (tmp_path / "there.safetensors").read_bytes()


def test_bfloat16_which_numpy_lacks_is_read_as_float32(tmp_path: Path) -> None:
    halves = np.array([0x3F80, 0xC000, 0x7F80], "<u2")  # 1, -2, infinity
    header = {"a": {"dtype": "BF16", "shape": [3, 1], "data_offsets": [0, 6]}}
    (tmp_path / "x.safetensors").write_bytes(raw_safetensors(header, halves.tobytes()))
    found = formats.read_tensors(tmp_path / "x.safetensors")["a"]
    assert (found.dtype, found.tolist()) == (np.float32, [[1.0], [-2.0], [np.inf]])


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
        formats.read_tensors(path)
    assert "again" in str(caught.value)
    if "[9223372036854775808, 0]" not in str(content):  # a header that is sound in itself
        with pytest.raises(WeightsError, match=r"model\.safetensors"):
            formats.read_header(path)


def test_a_pointer_of_git_lfs_is_named_with_the_command_that_fetches_the_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n", encoding="utf-8")
    for read in (formats.read_tensors, formats.read_header):
        with pytest.raises(WeightsError, match=r"pointer of Git LFS .* `git lfs pull` in") as caught:
            read(path)
        assert "bytes" not in str(caught.value)


@pytest.mark.parametrize("tenth", range(10))
def test_truncated_at_every_tenth(tenth: int, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    formats.write_tensors(path, TENSORS, metadata={"a": "b"})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * tenth // 10])
    with pytest.raises(WeightsError, match="not a whole safetensors file"):
        formats.read_tensors(path)


def test_safetensors_that_is_missing_or_a_folder(tmp_path: Path) -> None:
    for read in (formats.read_tensors, formats.read_header):
        with pytest.raises(WeightsError, match=r"has no model\.safetensors"):
            read(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").mkdir()
    for read in (formats.read_tensors, formats.read_header):
        with pytest.raises(WeightsError, match=r"model\.safetensors"):
            read(tmp_path / "model.safetensors")


def test_reading_a_pickle_runs_nothing(tmp_path: Path) -> None:
    payload = f"cos\nmkdir\n(V{tmp_path / 'run'}\ntR."  # what pickle.loads would obey
    (tmp_path / "model.safetensors").write_text(payload, encoding="utf-8")
    with pytest.raises(WeightsError, match="reads no pickle"):
        formats.read_tensors(tmp_path / "model.safetensors")
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
    for read in (formats.read_tensors, formats.read_header):
        try:
            read(path)
        except VisimError as error:
            assert path.name in str(error)  # noqa: PT017 (an error is one of two right outcomes)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(place=st.integers(0, 400), byte=st.integers(0, 255), cut=st.integers(0, 30))
def test_fuzzed_bytes(place: int, byte: int, cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed_bytes.safetensors"
    formats.write_tensors(path, TENSORS)
    content = bytearray(path.read_bytes())
    content[place % len(content)] = byte
    path.write_bytes(content[: len(content) - cut])
    try:
        formats.read_tensors(path)
    except WeightsError:
        pass
    else:
        assert cut == 0


# --- hostile files that are cheap to refuse


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_pipe_does_not_block(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    read = formats.read_json if name.endswith("json") else formats.read_tensors
    with pytest.raises(VisimError, match="not a regular file"):
        read(tmp_path / name)


A_MILLION_TENSORS = """
import resource, sys, time
from pathlib import Path
from visim_models import WeightsError
from visim_models.repo_folder import formats
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
try:
    formats.read_tensors(Path(sys.argv[1]), names=["a"])
except WeightsError:
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, time.process_time() - start)
"""


@pytest.mark.parametrize("count", [10_000, 1_000_000])
def test_many_empty_tensors_are_refused_before_they_are_created(count: int, tmp_path: Path) -> None:
    header = ",".join(f'"t{number}":{{"dtype":"F16","shape":[0],"data_offsets":[0,0]}}' for number in range(count))
    path = tmp_path / "model.safetensors"
    path.write_bytes(raw_safetensors(f"{{{header}}}".encode()))
    process = run_program(A_MILLION_TENSORS, path)
    assert process.returncode == 0, process.stderr
    megabytes, seconds = (float(value) for value in process.stdout.split())
    assert megabytes < 100
    assert seconds < 2


def test_other_tensors_than_expected(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    formats.write_tensors(path, {"a": np.ones(1), "b": np.ones(1)})
    assert set(formats.read_tensors(path, names=["a", "b"])) == {"a", "b"}
    with pytest.raises(WeightsError, match="unexpected b"):
        formats.read_tensors(path, names=["a"])
    with pytest.raises(WeightsError, match="lacks c"):
        formats.read_tensors(path, names=["a", "b", "c"])
