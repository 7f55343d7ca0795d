"""A build that was killed goes on where it stopped; one that failed leaves nothing behind."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import torch

import visim_models.galleries.embed as embed_module
from tests.builders import tiny_repo, write_pictures
from tests.processes import ROOT, run_module
from visim_models import ImageHostError, ImageStore, OutputError, RepositoryError, VisualSimilarity, WeightsError
from visim_models.galleries import build
from visim_models.galleries.embed import Embedder
from visim_models.galleries.part_store import FILES_A_PART, Part
from visim_models.measurements import measure_network
from visim_models.sources.store import DecodedBatch


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 8 pictures, of which each batch has 4."""
    monkeypatch.setattr(embed_module, "pictures_at_once", lambda size: 4)
    monkeypatch.setitem(FILES_A_PART, "safetensors", 8)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Batches are embedded in their order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def work_folders(folder: Path) -> list[Path]:
    return list(folder.glob(".mine.work-*"))


def test_a_killed_build_goes_on_where_it_stopped(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    write_pictures(folder, 1, size=260)
    drawn = (folder / "suv" / "0000.png").read_bytes()
    for number in range(1100):  # bytes after a picture's end make another file of the same picture
        (folder / f"{number:04d}.png").write_bytes(drawn + str(number).encode())
    command = ["visim_models.cli.__main__", "build", folder, "--model", model, "--out", tmp_path / "mine"]
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob(".mine.work-*/part-*.safetensors")) and time.monotonic() < deadline:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    parts = list(tmp_path.glob(".mine.work-*/part-*.safetensors"))
    assert 1 <= len(parts) < 5
    assert not (tmp_path / "mine").exists()
    done = run_module(*map(str, command))
    assert done.returncode == 0, done.stderr
    assert f"going on: {256 * len(parts):,} of 1,104 files" in done.stderr
    assert len(VisualSimilarity.from_pretrained(tmp_path / "mine").gallery) == 1104
    assert not list(tmp_path.glob(".mine*"))


def interrupted(pictures: Path, out: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Stop a build when it has embedded all pictures; return the parts that it leaves."""
    with monkeypatch.context() as patch:
        patch.setattr("visim_models.galleries.built_gallery.leave_one_out", raising(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            build(pictures, out, model=model, progress=False)
    return sorted(out.parent.glob(f".{out.name}.work-*/part-*"))


def raising(error: BaseException) -> Callable[..., NoReturn]:
    def raises(*arguments: object, **options: object) -> NoReturn:
        raise error

    return raises


def test_files_that_changed_and_parts_that_are_damaged_are_done_again(
    model: Path, pictures: Path, tmp_path: Path, embedded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    build(pictures, tmp_path / "whole", model=model, progress=False)
    parts = interrupted(pictures, tmp_path / "mine", model, monkeypatch)
    names = sorted(embedded[16:])
    changed = pictures / names[1]
    changed.write_bytes((pictures / names[12]).read_bytes())
    parts[-1].write_bytes(b"damaged")
    embedded.clear()
    build(pictures, tmp_path / "mine", model=model, progress=False)
    assert names[1] in embedded
    assert len(embedded) in (8, 9)  # those of the damaged part, and the changed one if it was in the other
    again, first = (VisualSimilarity.from_pretrained(tmp_path / name).gallery for name in ("mine", "whole"))
    assert again.file_names == first.file_names
    assert np.array_equal(again.embeddings[1], again.embeddings[12])
    rest = [index for index in range(16) if index != 1]
    assert np.allclose(again.embeddings[rest], first.embeddings[rest], rtol=1e-3)


def test_parts_of_another_folder_or_network_are_not_used(
    model: Path, pictures: Path, tmp_path: Path, embedded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(pictures, tmp_path / "mine", model, monkeypatch)
    shutil.copytree(pictures, tmp_path / "copy")  # with the times of the files
    interrupted(tmp_path / "copy", tmp_path / "mine", model, monkeypatch)
    assert len(embedded) == 32
    interrupted(pictures, tmp_path / "mine", tiny_repo(tmp_path / "other", seed=1), monkeypatch)
    assert len(embedded) == 48
    assert len(work_folders(tmp_path)) == 2
    build(pictures, tmp_path / "mine", model=model, progress=False)
    assert len(embedded) == 48


@pytest.mark.parametrize(
    ("error", "is_kept"),
    [
        (WeightsError("beyond float16"), False),
        (MemoryError(), False),
        (KeyboardInterrupt(), True),
        (ImageHostError("no answer"), True),
    ],
)
@pytest.mark.usefixtures("one_thread")
def test_a_failed_build_leaves_nothing_and_an_interrupted_one_its_work(
    error: BaseException, is_kept: bool, model: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def failing(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) == 4:
            raise error
        return measure_network(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(embed_module, "measure_network", failing)
    with pytest.raises(type(error)):
        build(pictures, tmp_path / "mine", model=model, progress=False)
    assert not (tmp_path / "mine").exists()
    assert bool(work_folders(tmp_path)) == is_kept
    build(pictures, tmp_path / "mine", model=model, progress=False)
    assert len(calls) == 4 + (2 if is_kept else 4)
    assert not work_folders(tmp_path)


def test_a_host_that_is_away_ends_the_build_instead_of_leaving_pictures_out(
    model: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = ImageStore.read

    def away(self: ImageStore, file_name: str) -> bytes:
        if file_name > "suv":
            raise ImageHostError("The host did not answer.")
        return read(self, file_name)

    monkeypatch.setattr(ImageStore, "read", away)
    with pytest.raises(ImageHostError):
        build(pictures, tmp_path / "mine", model=model, progress=False)
    assert not (tmp_path / "mine").exists()
    monkeypatch.undo()
    assert build(pictures, tmp_path / "mine", model=model, progress=False).pictures == 16


def test_a_place_that_cannot_be_written(model: Path, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(RepositoryError):
        build(pictures, tmp_path / "file" / "mine", model=model, progress=False)
    assert (tmp_path / "file").read_text() == "no folder"


def test_pictures_go_through_the_network_in_the_batches_that_suit_it(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    sizes: list[int] = []
    embed = Embedder.embed
    monkeypatch.setattr(Embedder, "embed", lambda self, batch: (sizes.append(len(batch)), embed(self, batch))[1])
    write_pictures(tmp_path / "pictures", 70, size=8)
    build(tmp_path / "pictures", tmp_path / "mine", model=model, progress=False)
    assert sorted(sizes) == [24, 256]  # two threads embed


def test_two_builds_of_one_output_at_once_are_refused(
    model: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed, seen = Embedder.embed, []

    def meeting(self: Embedder, batch: DecodedBatch) -> Part:
        if not seen:
            seen.append(None)
            with pytest.raises(OutputError, match="Another build is at work in"):
                build(pictures, tmp_path / "mine", model=model, progress=False)
        return embed(self, batch)

    monkeypatch.setattr(Embedder, "embed", meeting)
    assert build(pictures, tmp_path / "mine", model=model, progress=False).pictures == 16
    assert seen
    assert not work_folders(tmp_path)
