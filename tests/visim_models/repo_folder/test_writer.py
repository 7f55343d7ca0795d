"""Writing a repo loses no file that visim did not write, and leaves the old repo or the new one."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import visim_models.repo_folder.atomic as atomic
from tests.builders import TINY_SIZE, files_of, tiny_autoencoder, tiny_repo
from tests.processes import run_program
from visim_models import (
    ConvolutionalAutoencoder,
    GalleryMismatchError,
    ImageProcessor,
    OutputError,
    RepositoryError,
    VisualSimilarity,
    WeightsError,
)
from visim_models.repo_folder import RepoFolder, check_output, drafting, version_of
from visim_models.repo_folder.manifest import CARD, LOSSES, METRICS, PLOTS, SKIPPED


def write_old(folder: Path) -> dict[str, bytes]:
    """A repo, with files of its owner beside and between visim's."""
    tiny_repo(folder)
    (folder / "notes.txt").write_text("precious")
    (folder / "gallery" / "notes.txt").write_text("precious, too")
    (folder / ".git" / "objects").mkdir(parents=True)
    (folder / ".git" / "objects" / "ab").write_bytes(b"\0\1")
    (folder / "empty").mkdir()
    (folder / "link").symlink_to("notes.txt")
    return files_of(folder)


def only_entry(folder: Path) -> str:
    (entry,) = folder.iterdir()
    return entry.name


# --- outputs that are refused


def photographs(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for number in range(3):
        (folder / f"{number}.jpg").write_bytes(b"a photograph")
    return folder


@pytest.mark.parametrize(
    ("output", "source", "relation"),
    [
        ("photos", "photos", "is"),
        ("home", "home/pics", "holds"),
        ("photos/gallery", "photos", "is in"),
        ("link", "photos", "is"),
        ("photos/../photos", "photos", "is"),
        ("missing/../photos/deep/er", "photos", "is in"),
        ("photos", "photos/pictures", "holds"),
    ],
)
def test_an_output_that_could_destroy_its_input(output: str, source: str, relation: str, tmp_path: Path) -> None:
    photographs(tmp_path / source)
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    before = files_of(tmp_path)
    with pytest.raises(OutputError, match=f" {relation} the input"):
        check_output(tmp_path / output, inputs=[tmp_path / source])
    with pytest.raises(OutputError), drafting(tmp_path / output, inputs=[tmp_path / source]):
        pass
    assert files_of(tmp_path) == before


FOREIGN: dict[str, Callable[[Path], object]] = {
    "a thesis": lambda folder: (folder / "thesis.txt").write_text("years"),
    "a git checkout": lambda folder: (folder / ".git").mkdir(),
    "another project's config.json": lambda folder: (folder / "config.json").write_text('{"model_type": "bert"}'),
    "a config.json without a model": lambda folder: (folder / "config.json").write_text('{"theme": "dark"}'),
    "a config.json that is a list": lambda folder: (folder / "config.json").write_text('{"model_type": ["bert"]}'),
    "a README": lambda folder: (folder / "README.md").write_text("mine"),
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN.keys())
def test_a_folder_of_others_is_refused(content: Callable[[Path], object], tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    content(folder)
    before = files_of(folder)
    with pytest.raises(OutputError, match="visim did not write") as caught:
        tiny_autoencoder().save_pretrained(folder)
    assert caught.value.path == folder
    assert files_of(folder) == before


def test_a_file_is_not_replaced_by_a_folder(tmp_path: Path) -> None:
    (tmp_path / "repo").write_text("precious")
    with pytest.raises(OutputError, match="is a file"), drafting(tmp_path / "repo"):
        pass
    assert files_of(tmp_path) == {"repo": b"precious"}


@pytest.mark.parametrize("folder", ["repo", "."])
def test_the_folder_that_the_program_runs_in_is_not_replaced(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell in it would be left in a folder that has no name any more."""
    tiny_repo(tmp_path / "repo")
    (tmp_path / "repo" / "photos").mkdir()
    monkeypatch.chdir(tmp_path / "repo" / ("photos" if folder == "repo" else "."))
    before = files_of(tmp_path)
    with pytest.raises(OutputError, match="runs in"):
        check_output(tmp_path / folder if folder == "repo" else folder)
    assert files_of(tmp_path) == before


def test_a_folder_that_cannot_be_replaced_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_repo(tmp_path / "repo")
    with monkeypatch.context() as patch:
        patch.setattr(os.path, "ismount", lambda path: Path(path).name == "repo")
        with pytest.raises(OutputError, match="mount point"):
            check_output(tmp_path / "repo")
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda path, mode: False)
        with pytest.raises(OutputError, match="read-only"):
            check_output(tmp_path / "repo")


def test_the_hubs_cache_is_no_output(tmp_path: Path) -> None:
    cache = tmp_path / "cache" / "models--someone--cars"
    snapshot = cache / "snapshots" / "0123abc"
    shutil.copytree(tiny_repo(tmp_path / "repo"), snapshot)
    (tmp_path / "link").symlink_to(snapshot)
    before = files_of(tmp_path)
    for folder in (snapshot, tmp_path / "link", snapshot / "new", cache / "new"):
        with pytest.raises(OutputError, match="Hub's cache"), drafting(folder):
            pass
    assert files_of(tmp_path) == before


def test_a_change_of_another_program_is_not_overwritten(tmp_path: Path) -> None:
    repo = tiny_repo(tmp_path / "repo")
    version = version_of(repo)
    with drafting(repo) as draft:
        draft.write_text(SKIPPED, "file_name,reason\n")
    before = files_of(repo)
    with pytest.raises(RepositoryError, match="Another program"), drafting(repo, version=version) as draft:
        draft.write_text(SKIPPED, "other\n")
    assert files_of(repo) == before
    with drafting(repo, version=version_of(repo)) as draft:
        draft.write_text(SKIPPED, "other\n")
    assert (repo / SKIPPED).read_text() == "other\n"


# --- what stays


def test_pictures_of_the_owner_among_the_plots_stay(tmp_path: Path) -> None:
    repo = tiny_repo(tmp_path / "repo")
    (repo / "plots").mkdir()
    (repo / "plots" / "holiday.png").write_bytes(b"mine")
    (repo / PLOTS[0]).write_bytes(b"a plot")
    similarity = VisualSimilarity.from_pretrained(repo)
    with torch.no_grad():
        next(similarity.model.parameters()).add_(1)
    similarity.save_pretrained(repo)
    assert (repo / "plots" / "holiday.png").read_bytes() == b"mine"
    assert not (repo / PLOTS[0]).exists()


def test_a_kill_between_two_renames_is_undone(tmp_path: Path) -> None:
    """As it is where folders cannot be exchanged in one step."""
    old = write_old(tmp_path / "repo")
    gone = 2**22 + 1  # no process has this number
    (tmp_path / "repo").rename(tmp_path / f".repo.visim-{gone}-ab12.old")
    (tmp_path / f".repo.visim-{gone}-ab12").mkdir()
    with drafting(tmp_path / "repo") as draft:
        draft.write_text(SKIPPED, "file_name,reason\n")
    assert {name: content for name, content in files_of(tmp_path / "repo").items() if name != SKIPPED} == old
    assert [path.name for path in tmp_path.iterdir()] == ["repo"]


def test_a_card_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    repo = tiny_repo(tmp_path / "repo")
    (repo / CARD).unlink(missing_ok=True)
    os.mkfifo(repo / CARD)
    with drafting(repo) as draft:
        assert not draft.write_card("text")


def test_new_and_empty_folders_are_written(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("empty", "new", "deep/er"):
        tiny_autoencoder().save_pretrained(tmp_path / name)
        assert set(files_of(tmp_path / name)) == {"config.json", "model.safetensors"}
    assert {path.name for path in tmp_path.iterdir()} == {"empty", "new", "deep"}


def test_other_files_stay_where_they_are(tmp_path: Path) -> None:
    before = write_old(tmp_path / "repo")
    inode = (tmp_path / "repo" / "notes.txt").stat().st_ino
    with drafting(tmp_path / "repo") as draft:
        draft.write_text(SKIPPED, "file_name,reason\n")
    assert files_of(tmp_path / "repo") == {**before, SKIPPED: b"file_name,reason\n"}
    assert (tmp_path / "repo" / "notes.txt").stat().st_ino == inode
    assert (tmp_path / "repo" / "empty").is_dir()
    assert (tmp_path / "repo" / "link").readlink() == Path("notes.txt")
    assert only_entry(tmp_path) == "repo"


def test_saving_a_repo_over_itself_keeps_card_figures_and_plots(tmp_path: Path) -> None:
    write_old(tmp_path / "repo")
    with drafting(tmp_path / "repo") as draft:
        draft.write_json(METRICS, {"figures": []})
        draft.path("plots/losses.png").write_bytes(b"PNG")
        draft.write_card("# A card")
    before = files_of(tmp_path / "repo")
    VisualSimilarity.from_pretrained(tmp_path / "repo").save_pretrained(tmp_path / "repo")
    ConvolutionalAutoencoder.from_pretrained(tmp_path / "repo").save_pretrained(tmp_path / "repo")
    assert files_of(tmp_path / "repo") == before


def test_files_that_describe_other_weights_go(tmp_path: Path) -> None:
    tiny_autoencoder(seed=1).save_pretrained(tmp_path / "repo")
    with drafting(tmp_path / "repo") as draft:
        draft.write_json(METRICS, {})
        draft.write_text(LOSSES, "epoch,part,loss\n")
        draft.write_card("# A card")
    (tmp_path / "repo" / "notes.txt").write_text("precious")
    tiny_autoencoder(seed=2).save_pretrained(tmp_path / "repo")
    assert set(files_of(tmp_path / "repo")) == {"config.json", "model.safetensors", "notes.txt"}


def test_other_weights_under_a_gallery_are_refused(tmp_path: Path) -> None:
    before = write_old(tmp_path / "repo")
    with pytest.raises(GalleryMismatchError, match=r"embedded by another model\.safetensors"):
        tiny_autoencoder(seed=9).save_pretrained(tmp_path / "repo")
    with (
        pytest.raises(GalleryMismatchError, match=r"another preprocessor_config\.json"),
        drafting(tmp_path / "repo") as draft,
    ):
        ImageProcessor(size=TINY_SIZE, resample=3).write_files(draft)
    assert files_of(tmp_path / "repo") == before
    assert only_entry(tmp_path) == "repo"


@pytest.mark.parametrize("edit", ["written by hand", "edited", "untouched"])
def test_a_card_that_a_person_wrote_stays(edit: str, tmp_path: Path) -> None:
    tiny_repo(tmp_path / "repo")
    card = tmp_path / "repo" / CARD
    with drafting(tmp_path / "repo") as draft:
        assert draft.write_card("# Ours")
    if edit == "written by hand":
        card.write_text("# Mine\n", encoding="utf-8")
    elif edit == "edited":
        card.write_text(card.read_text(encoding="utf-8").replace("Ours", "Mine"), encoding="utf-8")
    before = card.read_bytes()
    with drafting(tmp_path / "repo") as draft:
        written = draft.write_card("# New")
    assert written == (edit == "untouched")
    assert (card.read_bytes() == before) != written


def test_a_symbolic_link_is_followed(tmp_path: Path) -> None:
    before = write_old(tmp_path / "repo")
    (tmp_path / "out").symlink_to(tmp_path / "repo")
    with drafting(tmp_path / "out") as draft:
        draft.write_text(SKIPPED, "")
    assert (tmp_path / "out").is_symlink()
    assert files_of(tmp_path / "repo") == {**before, SKIPPED: b""}


def test_the_mode_of_the_folder_stays(tmp_path: Path) -> None:
    tiny_repo(tmp_path / "repo")
    assert (tmp_path / "repo").stat().st_mode & 0o777 == 0o755
    (tmp_path / "repo").chmod(0o700)
    tiny_autoencoder().save_pretrained(tmp_path / "repo")
    assert (tmp_path / "repo").stat().st_mode & 0o777 == 0o700


def test_only_files_of_the_manifest_are_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"notes\.txt is not in the manifest"), drafting(tmp_path / "repo") as draft:
        draft.write_text("notes.txt", "")
    assert not (tmp_path / "repo").exists()


def test_copies_are_not_links(tmp_path: Path) -> None:
    source = RepoFolder(tiny_repo(tmp_path / "source"))
    with drafting(tmp_path / "repo", inputs=[source.path]) as draft:
        draft.copy("config.json", source)
    assert (tmp_path / "repo" / "config.json").stat().st_nlink == 1


# --- failures


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, WeightsError])
def test_an_error_inside_changes_nothing(kind: type[BaseException], tmp_path: Path) -> None:
    before = write_old(tmp_path / "repo")
    with pytest.raises(kind), drafting(tmp_path / "repo") as draft:  # noqa: PT012
        draft.write_text(SKIPPED, "")
        raise kind("stop")
    assert files_of(tmp_path / "repo") == before
    assert only_entry(tmp_path) == "repo"


def test_a_full_disk_inside_is_a_repository_error(tmp_path: Path) -> None:
    before = write_old(tmp_path / "repo")
    with pytest.raises(RepositoryError, match="is unchanged"), drafting(tmp_path / "repo") as draft:  # noqa: PT012
        draft.write_text(SKIPPED, "")
        raise OSError(28, "No space left on device")
    assert files_of(tmp_path / "repo") == before
    assert only_entry(tmp_path) == "repo"


def test_a_parent_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file, no folder")
    with pytest.raises(RepositoryError, match="cannot be"), drafting(tmp_path / "file" / "repo"):
        pass


@pytest.mark.parametrize("failing", [1, 2, 3], ids=["first", "second", "second, and its undoing"])
def test_renames_that_fail_where_nothing_swaps_in_one_step(
    failing: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = write_old(tmp_path / "repo")
    rename, calls = Path.rename, 0

    def failing_rename(path: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == failing or (failing == 3 and calls >= 2):
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(atomic, "_exchange_in_one_step", lambda staged, folder: False)
    monkeypatch.setattr(Path, "rename", failing_rename)
    with pytest.raises(RepositoryError) as caught, drafting(tmp_path / "repo") as draft:
        draft.write_text(SKIPPED, "")
    monkeypatch.undo()
    if failing < 3:
        assert "is unchanged" in str(caught.value)
        assert files_of(tmp_path / "repo") == before
        assert only_entry(tmp_path) == "repo"
    else:
        assert caught.value.path is not None
        assert str(caught.value.path) in str(caught.value)
        assert files_of(Path(caught.value.path)) == before


def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = write_old(tmp_path / "repo")

    def no_link(*_: object, **__: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_link)
    with drafting(tmp_path / "repo") as draft:
        draft.write_text(SKIPPED, "")
    assert files_of(tmp_path / "repo") == {**before, SKIPPED: b""}
    assert only_entry(tmp_path) == "repo"


def test_a_file_that_appears_while_the_folders_change_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = write_old(tmp_path / "repo")
    exchange = atomic._exchange

    def late_exchange(staged: Path, folder: Path) -> None:
        (folder / "late.txt").write_text("just saved")
        exchange(staged, folder)

    monkeypatch.setattr(atomic, "_exchange", late_exchange)
    with drafting(tmp_path / "repo") as draft:
        draft.write_text(SKIPPED, "")
    assert files_of(tmp_path / "repo") == {**before, SKIPPED: b"", "late.txt": b"just saved"}
    assert only_entry(tmp_path) == "repo"


def test_a_note_that_changes_while_the_folders_change_places_is_kept_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_old(tmp_path / "repo")
    exchange = atomic._exchange

    def late_exchange(staged: Path, folder: Path) -> None:
        (folder / "notes.txt").unlink()
        (folder / "notes.txt").write_text("a new version")
        exchange(staged, folder)

    monkeypatch.setattr(atomic, "_exchange", late_exchange)
    with drafting(tmp_path / "repo") as draft:
        draft.write_text(SKIPPED, "")
    monkeypatch.undo()
    texts = {path.read_text() for path in tmp_path.rglob("notes.txt") if path.parent.name != "gallery"}
    assert texts == {"precious", "a new version"}


KILLED = """
import os, signal, sys
from pathlib import Path
import visim_models.repo_folder.atomic as atomic
from visim_models.repo_folder import drafting

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

step, folder = sys.argv[1], Path(sys.argv[2])
if step == "while linking":
    atomic._link_others = kill
elif step == "before the exchange":
    atomic._exchange = kill
elif step == "after the exchange":
    atomic._discard = kill
elif step == "while discarding":
    unlink, left = Path.unlink, [3]
    def unlink_some(path, **options):
        left[0] -= 1
        kill() if left[0] < 0 else unlink(path, **options)
    Path.unlink = unlink_some
with drafting(folder) as draft:
    draft.write_text("skipped.csv", "new")
    if step == "inside":
        kill()
"""


@pytest.mark.parametrize(
    "step", ["inside", "while linking", "before the exchange", "after the exchange", "while discarding"]
)
def test_kill_9_leaves_the_old_repo_or_the_new_one_and_the_next_run_cleans_up(step: str, tmp_path: Path) -> None:
    old = write_old(tmp_path / "repo")
    process = run_program(KILLED, step, tmp_path / "repo")
    assert process.returncode == -signal.SIGKILL, process.stderr
    new = {**old, SKIPPED: b"new"}
    assert files_of(tmp_path / "repo") == (new if step in ("after the exchange", "while discarding") else old)
    with drafting(tmp_path / "repo") as draft:
        draft.write_text(SKIPPED, "new")
    assert files_of(tmp_path / "repo") == new
    assert only_entry(tmp_path) == "repo"


def test_the_leftover_of_a_running_process_stays(tmp_path: Path) -> None:
    tiny_repo(tmp_path / "repo")
    leftover = tmp_path / f".repo.visim-{os.getppid()}-abc"
    leftover.mkdir()
    with drafting(tmp_path / "repo") as draft:
        draft.write_text(SKIPPED, "")
    assert leftover.is_dir()


def test_a_folder_that_only_looks_like_a_leftover_loses_nothing(tmp_path: Path) -> None:
    tiny_repo(tmp_path / "repo")
    leftover = tmp_path / ".repo.visim-999999999-abc"
    leftover.mkdir()
    (leftover / "thesis.txt").write_text("years")
    with drafting(tmp_path / "repo") as draft:
        draft.write_text(SKIPPED, "")
    assert [path.read_text() for path in tmp_path.rglob("thesis.txt")] == ["years"]
