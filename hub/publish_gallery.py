"""Publish a gallery: its pictures as a data set, the gallery as a model repo, and a Space that shows just it."""

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Final

from huggingface_hub import HfApi

from hub.gallery_pictures import LISTING, stage_pictures
from hub.gallery_space import GALLERY_SPACE_PATTERNS, PROGRAM, stage_gallery_space
from hub.locate import REPO_NAMES
from hub.publish_plan import PROJECT, SPACE_NAME, RepoPlan, zero_gpu_note
from hub.publisher import ZERO_GPU, Publisher
from visim_models.errors import RepositoryError, VisimError
from visim_models.models import TimmBackbone
from visim_models.pipeline import VisualSimilarity
from visim_models.repo_folder import RepoFolder, is_repo
from visim_models.repo_folder.formats import one_line, write_tensors
from visim_models.repo_folder.manifest import EMBEDDINGS, MANIFEST, METADATA, SKIPPED, manifest_files
from visim_models.repo_folder.upload import HubRepo, explaining, hub_client, root_warning
from visim_models.sources.download import HUB_DATASETS

__all__ = ["plan_gallery", "publish_gallery"]

PICTURES: Final = "pictures"
_RESERVED: Final = {SPACE_NAME, *REPO_NAMES.values()}
_LONGEST_ID: Final = 96
_NAME: Final = re.compile(r"(?!.*(--|\.\.))\w([\w.-]*\w)?", re.ASCII)
"""Name that the Hub takes for a repo. Source: https://huggingface.co/docs/huggingface_hub, `validate_repo_id`."""


def publish_gallery(
    namespace: str,
    gallery: Path,
    *,
    pictures: str | os.PathLike[str] | None = None,
    name: str | None = None,
    private: bool = False,
    hardware: str | None = None,
    dry_run: bool = False,
    project: Path = PROJECT,
    api: HfApi | None = None,
) -> list[str]:
    """Publish a gallery and a Space that shows just it; return and print their addresses.

    Args:
        namespace: user or organisation.
        gallery: the folder, which `visim build` made. It stays as it is.
        pictures: a folder or a zip with the gallery's pictures, which go into a data set; None sends no pictures.
        name: of the gallery and the Space on the Hub; by default that of the folder.
        private: make new repos private; those that exist stay as they are.
        hardware: of the Space, as the Hub calls it. None: ZeroGPU for a new one, and an old one keeps its own.
        dry_run: only print the files that would be sent.
        project: the project's own folder.
        api: a client with a token; by default one with the token that `hf auth login` left.

    Raises:
        RepositoryError: the folder is no gallery, the name is none for a repo, there is no token, or the Hub refuses.
        DataError: `pictures` lacks a picture of the gallery.
        VisimError: a file of the gallery is damaged.
    """
    client = None if dry_run else api or hub_client()
    keeps = (
        client is not None
        and pictures is None
        and _has_pictures(client, _repo_id(namespace, name or gallery.resolve().name))
    )
    with tempfile.TemporaryDirectory(prefix="visim-publish-") as work:
        plans = plan_gallery(
            namespace, gallery, Path(work), pictures=pictures, keeps_pictures=keeps, name=name, project=project
        )
        for plan in plans:
            print("\n".join(plan.lines()) if dry_run else f"{plan.kind} {plan.repo_id}: {plan.size:,} bytes")
        for note in _notes(plans, private=private, hardware=hardware, project=project):
            print(note)
        if client is None:
            print(f"dry run: {sum(plan.size for plan in plans):,} bytes in {len(plans)} repos; nothing was sent")
            return []
        publisher = Publisher(client, namespace, private=private)
        addresses = [publisher.send(plan, hardware=hardware) for plan in plans]
    print("\n".join(addresses))
    return addresses


def plan_gallery(
    namespace: str,
    gallery: Path,
    work: Path,
    *,
    pictures: str | os.PathLike[str] | None = None,
    keeps_pictures: bool = False,
    name: str | None = None,
    project: Path = PROJECT,
) -> list[RepoPlan]:
    """Gather the files of the repos in the order in which they are sent: a repo needs those before it.

    Args:
        namespace: user or organisation.
        gallery: the folder, which `visim build` made.
        work: an empty folder, which gets the files.
        pictures: a folder or a zip with the gallery's pictures, or None.
        keeps_pictures: the data set of an earlier run is on the Hub: without `pictures`, a gallery of pictures on this
            machine goes on naming it.
        name: of the gallery and the Space on the Hub; by default that of the folder.
        project: the project's own folder.

    Raises:
        RepositoryError: the folder is no gallery, or the name is none for a repo.
        DataError: `pictures` lacks a picture of the gallery.
        VisimError: a file of the gallery is damaged.
    """
    if not is_repo(gallery) or not (gallery / EMBEDDINGS).is_file():
        raise RepositoryError(f"{gallery} has no gallery: make one with visim build PICTURES --out {gallery}")
    if pictures is not None and "://" in os.fspath(pictures):
        raise RepositoryError(
            f"{pictures} is no folder and no zip: pictures that are published already are named by visim build --out "
            f"{gallery} --image-root {pictures}"
        )
    repo_id = _repo_id(namespace, name or gallery.resolve().name)
    repo = RepoFolder(gallery)
    similarity = VisualSimilarity.from_pretrained(repo)  # nothing is published that does not load
    has_pictures = pictures is not None or (keeps_pictures and root_warning(similarity.gallery.image_root) != "")
    pictures_id = f"{repo_id}-{PICTURES}" if has_pictures else ""
    try:
        return _gather(repo, similarity, repo_id, work, pictures=pictures, pictures_id=pictures_id, project=project)
    except OSError as error:
        if isinstance(error, VisimError):
            raise
        raise RepositoryError(f"The files cannot be gathered in {work} ({one_line(error)}).", path=work) from error


def _gather(
    repo: RepoFolder,
    similarity: VisualSimilarity,
    repo_id: str,
    work: Path,
    *,
    pictures: str | os.PathLike[str] | None,
    pictures_id: str,
    project: Path,
) -> list[RepoPlan]:
    folders = {kind: work / kind for kind in ("dataset", "model", "space")}
    for folder in folders.values():
        folder.mkdir()
    plans = []
    if pictures is not None:
        stage_pictures(repo, similarity.gallery, Path(pictures), folders["dataset"], gallery_id=repo_id)
        plans.append(_plan("dataset", pictures_id, folders, mark=LISTING, listing=LISTING, source=str(pictures)))
    _stage_repo(repo, folders["model"], f"hf://datasets/{pictures_id}" if pictures_id else "")
    plans.append(_plan("model", repo_id, folders, mark=METADATA, patterns=tuple(MANIFEST), source=str(repo.path)))
    stage_gallery_space(
        project,
        folders["space"],
        gallery_id=repo_id,
        about=similarity.gallery.about,
        datasets=[pictures_id] if pictures_id else [],
        needs_timm=isinstance(similarity.model, TimmBackbone),
    )
    plans.append(_plan("space", repo_id, folders, mark=PROGRAM, patterns=GALLERY_SPACE_PATTERNS, source=str(project)))
    return plans


def _has_pictures(api: HfApi, repo_id: str) -> bool:
    """Return whether the Hub has the data set of an earlier run."""
    repo = HubRepo(api, f"{repo_id}-{PICTURES}", kind="dataset")
    with explaining(api, f"look for the data set {repo.repo_id}", namespace=repo_id.partition("/")[0]):
        return repo.exists() and LISTING in repo.files()


def _repo_id(namespace: str, name: str) -> str:
    repo_id = f"{namespace}/{name}"
    longest = len(repo_id) + len(PICTURES) + 1
    if not (_NAME.fullmatch(namespace) and _NAME.fullmatch(name)) or longest > _LONGEST_ID or name.endswith(".git"):
        raise RepositoryError(
            f"{repo_id!r} is no name for a repo of the Hub, which has letters, digits, '-', '_' and '.': choose "
            f"another {'with --name' if _NAME.fullmatch(namespace) else '--namespace'}."
        )
    if name in _RESERVED:
        raise RepositoryError(f"{name!r} is the name of one of visim's own repos: choose another with --name.")
    return repo_id


def _stage_repo(repo: RepoFolder, target: Path, image_root: str) -> None:
    """Copy the files of a repo, but not the list of files that could not be read, with their places on this machine.

    Args:
        repo: the gallery's folder.
        target: an empty folder.
        image_root: of the copy; "" for that of the gallery.
    """
    for name in manifest_files(repo.path):
        if name != SKIPPED:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(repo / name, target / name)
    if image_root:
        header = {**repo.header(EMBEDDINGS), "image_root": image_root}
        write_tensors(target / EMBEDDINGS, repo.tensors(EMBEDDINGS), metadata=header)


def _plan(
    kind: str,
    repo_id: str,
    folders: dict[str, Path],
    *,
    mark: str,
    source: str,
    listing: str = "",
    patterns: tuple[str, ...] = (),
) -> RepoPlan:
    folder = folders[kind]
    return RepoPlan(
        part=f"gallery-{kind}",
        repo_id=repo_id,
        kind=kind,
        folder=folder,
        files=sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()),
        patterns=patterns,
        mark=mark,
        listing=listing,
        keeps_edited_card=kind != "model",
        source=source,
    )


def _notes(plans: list[RepoPlan], *, private: bool, hardware: str | None, project: Path) -> list[str]:
    """Return what whoever publishes should know before others see it."""
    (model,) = (plan for plan in plans if plan.kind == "model")
    notes = []
    root = RepoFolder(model.folder).header(EMBEDDINGS).get("image_root", "")
    if warning := root_warning(root):
        notes.append(f"warning: {warning} Send the pictures, too: --pictures PATH.")
    elif plans[0].kind == "model" and root.startswith(HUB_DATASETS) and root.endswith(f"{model.repo_id}-{PICTURES}"):
        notes.append(f"note: the pictures stay those of {root}; to send new and changed ones, give --pictures PATH.")
    if plans[0].kind == "dataset":
        notes.append(
            "note: the pictures are sent as they are, with whatever their files say of the camera and the place. The "
            f"gallery on the Hub looks for them under {root}; {model.source} stays as it is."
        )
    if private:
        notes.append(
            "note: the Space needs a secret HF_TOKEN that may read the private gallery, and shows pictures of a "
            "private data set only where a variable VISIM_IMAGES_<KEY> names it: see docs/hosting.md."
        )
    if (hardware or ZERO_GPU) == ZERO_GPU and (note := zero_gpu_note(project)):
        notes.append(note)
    return notes
