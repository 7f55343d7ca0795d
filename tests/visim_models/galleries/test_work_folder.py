"""A build that was killed goes on where it stopped; one that failed leaves nothing behind."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import visim_models.galleries.embed_store as embed_store_module
from tests.builders import write_pictures
from tests.processes import ROOT, run_module
from visim_models import ImageHostError, ImageStore, RepositoryError, VisualSimilarity, WeightsError
from visim_models.galleries import build
from visim_models.galleries.embed_store import embed_store
from visim_models.galleries.model_parts import ModelParts
from visim_models.galleries.work_folder import WorkFolder
from visim_models.measurements import measure_network


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 8 pictures, of which each batch has 4."""
    monkeypatch.setattr(embed_store_module, "pictures_at_once", lambda size: 4)
    monkeypatch.setattr(embed_store_module, "_FILES_A_PART", 8)


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


def test_files_that_changed_and_parts_that_are_damaged_are_done_again(
    model: Path, pictures: Path, tmp_path: Path, embedded: list[str]
) -> None:
    parts, store = ModelParts.load(model), ImageStore(pictures)
    work = WorkFolder(tmp_path / "mine", parts, store)
    first, _ = embed_store(store, store.list(), parts, work=work)
    changed = store.list()[1]
    (pictures / changed).write_bytes((pictures / store.list()[12]).read_bytes())
    damaged = sorted(work.path.iterdir())[-1]
    damaged.write_bytes(b"damaged")
    embedded.clear()
    again, _ = embed_store(store, store.list(), parts, work=work)
    assert changed in embedded
    assert len(embedded) in (8, 9)  # those of the damaged part, and the changed one if it was in the other
    assert first is not None
    assert again is not None
    assert again.file_names == first.file_names
    assert torch.equal(again.embeddings[1], again.embeddings[12])
    rest = [index for index in range(16) if index != 1]
    assert torch.allclose(again.embeddings[rest], first.embeddings[rest], rtol=1e-3)


def test_parts_of_another_folder_are_not_used(model: Path, pictures: Path, tmp_path: Path, embedded: list[str]) -> None:
    shutil.copytree(pictures, tmp_path / "copy")  # with the times of the files
    parts = ModelParts.load(model)
    for folder in (pictures, tmp_path / "copy"):
        store = ImageStore(folder)
        embed_store(store, store.list(), parts, work=WorkFolder(tmp_path / "mine", parts, store))
    assert len(embedded) == 32


def test_other_weights_have_another_folder(model: Path, pictures: Path, tmp_path: Path) -> None:
    store = ImageStore(pictures)
    parts = ModelParts.load(model)
    other = ModelParts(**{**vars(parts), "weights_sha256": "0" * 64})
    assert WorkFolder(tmp_path / "mine", parts, store).path != WorkFolder(tmp_path / "mine", other, store).path


@pytest.mark.parametrize(
    ("error", "is_kept"),
    [
        (WeightsError("beyond float16"), False),
        (MemoryError(), False),
        (KeyboardInterrupt(), True),
        (ImageHostError("no answer"), True),
    ],
)
def test_a_failed_build_leaves_nothing_and_an_interrupted_one_its_work(
    error: BaseException, is_kept: bool, model: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def failing(*arguments: object) -> dict[str, torch.Tensor]:
        calls.append(arguments)
        if len(calls) == 4:
            raise error
        return measure_network(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(embed_store_module, "measure_network", failing)
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
    embed_pixels = embed_store_module.embed_pixels
    monkeypatch.setattr(
        embed_store_module,
        "embed_pixels",
        lambda network, pixels: (sizes.append(len(pixels)), embed_pixels(network, pixels))[1],
    )
    write_pictures(tmp_path / "pictures", 70, size=8)
    build(tmp_path / "pictures", tmp_path / "mine", model=model, progress=False)
    assert sorted(sizes) == [24, 256]  # two threads embed


def test_other_files_in_the_work_folder_stay(model: Path, pictures: Path, tmp_path: Path) -> None:
    parts, store = ModelParts.load(model), ImageStore(pictures)
    work = WorkFolder(tmp_path / "mine", parts, store)
    embed_store(store, store.list(), parts, work=work)
    (work.path / "notes.txt").write_text("precious")
    work.remove()
    assert [path.name for path in work.path.iterdir()] == ["notes.txt"]
