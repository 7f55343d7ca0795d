"""Publish to the Hugging Face Hub: the models, their galleries and the demo; or a gallery of your own, with its page.

Every step first checks whether it is done already: a second run without changes commits nothing, and one after a
failure does the rest. A repo of the same name that visim did not publish is left alone, and in a repo that it did
publish only files that it publishes are replaced or deleted.
"""

import argparse
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from huggingface_hub import HfApi

import visim_models
from hub.export import add_missing_onnx
from hub.gallery_pictures import LISTING, stage_pictures
from hub.locate import BUNDLED, REPO_NAMES
from hub.space import (
    GALLERY_SPACE_PATTERNS,
    LEFT_OUT,
    PICTURES,
    PROGRAM,
    PROJECT,
    SPACE_NAME,
    SPACE_PATTERNS,
    checked_repo_id,
    copy_files,
    stage_gallery_space,
    stage_space,
    torch_note,
    zero_gpu_note,
)
from hub.static_space import publish_static
from visim_models import VisualSimilarity
from visim_models.errors import DataError, RepositoryError
from visim_models.repo_folder import RepoFolder, is_repo
from visim_models.repo_folder.formats import read_header, write_tensors
from visim_models.repo_folder.hub_repo import ZERO_GPU, HubRepo, explaining, hub_client, root_warning
from visim_models.repo_folder.manifest import (
    CARD,
    CONFIG,
    EMBEDDINGS,
    MANIFEST,
    METADATA,
    OOD,
    OOD_TENSORS,
    PROCESSOR,
    SKIPPED,
    WEIGHTS,
    manifest_files,
)
from visim_models.sources.download import HUB_DATASETS

__all__ = ["PARTS", "RepoPlan", "add_arguments", "plan_gallery", "plan_own", "publish", "publish_gallery", "run"]

SPACE: Final = "space"
PARTS: Final = (*REPO_NAMES, SPACE)
"""The values of `--only`: the short names of the model repos, and the Space."""

_COLLECTION: Final = "visim: visual similarity"
_DESCRIPTION: Final = "Find the pictures that look most like yours: small models, their galleries, and a demo."
_FORMER_FILES: Final = ("held_out.csv",)  # of repos that earlier versions published
_NEEDED_OF_A_MODEL: Final = {CONFIG, WEIGHTS, PROCESSOR, CARD}
_NEEDED_OF_A_GALLERY: Final = {METADATA, EMBEDDINGS, OOD, OOD_TENSORS}
_MCP_VARIABLES: Final = {"GRADIO_MCP_SERVER": "True"}


@dataclass(frozen=True)
class RepoPlan:
    """One repo of the Hub and a folder with the files that it gets.

    Attributes:
        repo_id: namespace/name.
        kind: "model", "dataset" or "space", as the Hub calls them.
        folder: the folder, which has these files and no others.
        source: what the files are from, for people.
        mark: the file by which a repo that visim published is known.
        owned: the files that publishing may delete in the repo, as fnmatch reads them.
        listing: the file that lists those that may be deleted, instead of `owned`; "" for none.
        keeps_edited_card: whether a README.md that was edited on the Hub stays.
        variables: of a Space's environment.
    """

    repo_id: str
    kind: str
    folder: Path
    source: Path
    mark: str
    owned: tuple[str, ...] = ()
    listing: str = ""
    keeps_edited_card: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def files(self) -> dict[str, int]:
        """Return path -> size in bytes of each file, sorted."""
        paths = (path for path in sorted(self.folder.rglob("*")) if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path.stat().st_size for path in paths}

    def summary(self) -> str:
        """Format what goes to the repo in one line."""
        return f"{self.kind} {self.repo_id}: {len(self.files)} files, {self.size:,} bytes, from {self.source}"

    @property
    def size(self) -> int:
        """Return the size of all files, in bytes."""
        return sum(self.files.values())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `python -m hub publish`."""
    parser.add_argument("--namespace", required=True, help="user or organisation on the Hub")
    parser.add_argument("--private", action="store_true", help="make new repos private")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=[], help="publish only these")
    parser.add_argument("--hardware", help=f"of the Space; a new one gets {ZERO_GPU}, an old one keeps what it has")
    parser.add_argument(
        "--mcp", action="store_true", help="let agents use the Space: a server of the Model Context Protocol"
    )
    parser.add_argument("--dry-run", action="store_true", help="list every file with its size, and touch nothing")
    parser.add_argument(
        "--gallery", type=Path, metavar="REPO", help="publish this folder instead, which `visim build` made, and a page"
    )
    parser.add_argument(
        "--pictures", metavar="PATH", help="with --gallery: its pictures, a folder or a zip, as a data set"
    )
    parser.add_argument(
        "--static",
        action="store_true",
        help="with --gallery: publish only a page that runs in the visitor's browser, which is free; with --pictures, "
        "small copies of the pictures are part of it",
    )
    parser.add_argument("--name", help="with --gallery: the name on the Hub (default: that of the folder)")


def run(options: argparse.Namespace) -> None:
    """Publish as the options say.

    Raises:
        DataError: the options do not go together.
        VisimError: as `publish` and `publish_gallery` raise.
    """
    common = {key: getattr(options, key) for key in ("private", "hardware", "mcp", "dry_run")}
    if options.gallery is None:
        if options.pictures is not None or options.name is not None or options.static:
            raise DataError(
                "--pictures, --static and --name go with --gallery: name the folder that `visim build` made."
            )
        for part in sorted({*(options.only or PARTS)} - {SPACE}):
            if (BUNDLED / REPO_NAMES[part]).is_dir():
                add_missing_onnx(BUNDLED / REPO_NAMES[part], dry_run=options.dry_run)
        publish(options.namespace, only=options.only, **common)
        return
    if options.only:
        raise DataError("--only chooses among visim's own repos: leave it out with --gallery.")
    if options.static:
        if options.hardware or options.mcp:
            raise DataError("A static page has no hardware and no server for agents: leave --hardware and --mcp out.")
        common = {"pictures": options.pictures, "name": options.name, "private": options.private}
        publish_static(options.namespace, options.gallery, **common, dry_run=options.dry_run)
        return
    if is_repo(options.gallery):
        add_missing_onnx(options.gallery, dry_run=options.dry_run)
    publish_gallery(options.namespace, options.gallery, pictures=options.pictures, name=options.name, **common)


def publish(
    namespace: str,
    *,
    private: bool = False,
    only: Sequence[str] = (),
    hardware: str | None = None,
    mcp: bool = False,
    dry_run: bool = False,
    pretrained: Path = BUNDLED,
    project: Path = PROJECT,
    api: HfApi | None = None,
) -> list[str]:
    """Publish visim's own models and Space; return and print their addresses.

    Args:
        namespace: user or organisation.
        private: make new repos and the collection private; those that exist stay as they are.
        only: some of `PARTS`; by default all.
        hardware: of the Space, as the Hub calls it. None: ZeroGPU for a new one, and an old one keeps its own.
        mcp: turn on the Space's server of the Model Context Protocol; without it, a Space keeps what it has.
        dry_run: only print the files that would be sent.
        pretrained: the folder with the repo folders.
        project: the project's own folder.
        api: a client with a token; by default one with the token that `hf auth login` left.

    Raises:
        RepositoryError: a folder lacks files, there is no token, or the Hub refuses a step. The message says which.
    """
    version = f"v{visim_models.__version__}"
    with tempfile.TemporaryDirectory(prefix="visim-publish-") as work:
        plans = plan_own(namespace, Path(work), only=only, pretrained=pretrained, project=project, mcp=mcp)
        notes = _space_notes(project, hardware, mcp=mcp) if plans[-1].kind == SPACE else []
        if dry_run:
            where = hardware or f"{ZERO_GPU} if it is new"
            notes.append(f"tag of each repo: {version}; hardware of the Space: {where}; collection: {_COLLECTION!r}")
        client = None if dry_run else api or hub_client()
        addresses = _deliver(plans, notes, client, tag=version, private=private, hardware=hardware)
    if client:
        addresses.append(_collect(client, namespace, plans, private=private))
        print(addresses[-1])
    return addresses


def publish_gallery(
    namespace: str,
    gallery: Path,
    *,
    pictures: str | os.PathLike[str] | None = None,
    name: str | None = None,
    private: bool = False,
    hardware: str | None = None,
    mcp: bool = False,
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
        mcp: turn on the Space's server of the Model Context Protocol; without it, a Space keeps what it has.
        dry_run: only print the files that would be sent.
        project: the project's own folder.
        api: a client with a token; by default one with the token that `hf auth login` left.

    Raises:
        RepositoryError: the folder is no gallery, the name is none for a repo, there is no token, or the Hub refuses.
        DataError: `pictures` lacks a picture of the gallery.
        VisimError: a file of the gallery is damaged.
    """
    repo_id = checked_repo_id(namespace, name or gallery.resolve().name)
    client = None if dry_run else api or hub_client()
    keeps = False
    if client and pictures is None:
        keeps = HubRepo(client, f"{repo_id}-{PICTURES}", kind="dataset").has(LISTING)
    with tempfile.TemporaryDirectory(prefix="visim-publish-") as work:
        plans = plan_gallery(
            repo_id, gallery, Path(work), pictures=pictures, keeps_pictures=keeps, project=project, mcp=mcp
        )
        notes = [*_gallery_notes(plans, private=private), *_space_notes(project, hardware, mcp=mcp)]
        return _deliver(plans, notes, client, private=private, hardware=hardware)


def plan_own(
    namespace: str,
    work: Path,
    *,
    only: Sequence[str] = (),
    pretrained: Path = BUNDLED,
    project: Path = PROJECT,
    mcp: bool = False,
) -> list[RepoPlan]:
    """Gather the files of visim's own repos, models first: the Space's page shows links to them.

    Args:
        namespace: user or organisation on the Hub.
        work: an empty folder, which gets the files.
        only: some of `PARTS`; by default all.
        pretrained: the folder with the repo folders.
        project: the project's own folder, which is the Space.
        mcp: the Space is a server of the Model Context Protocol.

    Raises:
        RepositoryError: a folder is missing, or lacks files.
        ConfigurationError: the README's front matter is not that of a Space.
    """
    if unknown := set(only) - set(PARTS):
        raise RepositoryError(f"There is nothing called {sorted(unknown)} to publish: choose from {list(PARTS)}.")
    wanted = [part for part in PARTS if not only or part in only]
    for part in wanted:
        (work / part).mkdir()
    plans = [
        _model_plan(f"{namespace}/{REPO_NAMES[part]}", pretrained / REPO_NAMES[part], work / part)
        for part in wanted
        if part != SPACE
    ]
    if SPACE in wanted:
        stage_space(project, work / SPACE, namespace=namespace, mcp=mcp)
        plans.append(
            RepoPlan(
                f"{namespace}/{SPACE_NAME}",
                "space",
                work / SPACE,
                project,
                mark="demo/app.py",
                owned=SPACE_PATTERNS,
                variables=_MCP_VARIABLES if mcp else {},
            )
        )
    return plans


def plan_gallery(
    repo_id: str,
    gallery: Path,
    work: Path,
    *,
    pictures: str | os.PathLike[str] | None = None,
    keeps_pictures: bool = False,
    project: Path = PROJECT,
    mcp: bool = False,
) -> list[RepoPlan]:
    """Gather the files of a gallery's repos in the order in which they are sent: a repo needs those before it.

    Args:
        repo_id: of the gallery and of its Space on the Hub, namespace/name.
        gallery: the folder, which `visim build` made.
        work: an empty folder, which gets the files.
        pictures: a folder or a zip with the gallery's pictures, or None.
        keeps_pictures: the data set of an earlier run is on the Hub: without `pictures`, a gallery of pictures on this
            machine goes on naming it.
        project: the project's own folder.
        mcp: the Space is a server of the Model Context Protocol.

    Raises:
        RepositoryError: the folder is no gallery, or its files cannot be gathered.
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
    repo = RepoFolder(gallery)
    similarity = VisualSimilarity.from_pretrained(repo)  # nothing is published that does not load
    dataset, model, space = (work / kind for kind in ("dataset", "model", "space"))
    for folder in (dataset, model, space):
        folder.mkdir()
    plans, pictures_id = [], ""
    if pictures is not None or (keeps_pictures and root_warning(similarity.gallery.image_root)):
        pictures_id = f"{repo_id}-{PICTURES}"
    if pictures is not None:
        source = Path(pictures)
        stage_pictures(repo, similarity.gallery, source, dataset, gallery_id=repo_id)
        plans.append(RepoPlan(pictures_id, "dataset", dataset, source, LISTING, (), LISTING, keeps_edited_card=True))
    copy_files(gallery, model, [name for name in manifest_files(gallery) if name != SKIPPED])  # it names files here
    if pictures_id:
        header = {**repo.header(EMBEDDINGS), "image_root": f"{HUB_DATASETS}{pictures_id}"}
        write_tensors(model / EMBEDDINGS, repo.tensors(EMBEDDINGS), metadata=header)
    plans.append(RepoPlan(repo_id, "model", model, gallery, mark=METADATA, owned=tuple(MANIFEST)))
    stage_gallery_space(
        project,
        space,
        gallery_id=repo_id,
        about=similarity.gallery.about,
        datasets=[pictures_id] if pictures_id else [],
        needs_timm=similarity.network.model_type == "timm-backbone",
        mcp=mcp,
    )
    plans.append(
        RepoPlan(
            repo_id,
            "space",
            space,
            project,
            mark=PROGRAM,
            owned=GALLERY_SPACE_PATTERNS,
            keeps_edited_card=True,
            variables=_MCP_VARIABLES if mcp else {},
        )
    )
    return plans


def _model_plan(repo_id: str, source: Path, folder: Path) -> RepoPlan:
    if not source.is_dir():
        raise RepositoryError(f"There is no {source} to publish: make it with `python -m lab.export`.")
    names = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    names = {name for name in names if not any(fnmatchcase(name, pattern) for pattern in LEFT_OUT)}
    # The general extractor, which builds galleries, has none.
    has_gallery = OOD in names or any(name.startswith("gallery/") for name in names)
    if missing := sorted((_NEEDED_OF_A_MODEL | (_NEEDED_OF_A_GALLERY if has_gallery else set())) - names):
        raise RepositoryError(f"{source} lacks {missing}: it is not a whole repo; export it again.")
    copy_files(source, folder, names)
    mark = METADATA if has_gallery else PROCESSOR
    return RepoPlan(repo_id, "model", folder, source, mark=mark, owned=(*MANIFEST, *_FORMER_FILES))


def _space_notes(project: Path, hardware: str | None, *, mcp: bool) -> list[str]:
    """Return what whoever publishes a Space should know of it."""
    of_zero_gpu = [zero_gpu_note(project)] if (hardware or ZERO_GPU) == ZERO_GPU else []
    of_agents = ["note: agents reach the Space's tools at its address with /gradio_api/mcp/ behind it."] if mcp else []
    return [torch_note(), *of_zero_gpu, *of_agents]


def _gallery_notes(plans: Sequence[RepoPlan], *, private: bool) -> list[str]:
    """Return what whoever publishes a gallery should know before others see it."""
    (model,) = (plan for plan in plans if plan.kind == "model")
    has_pictures = plans[0].kind == "dataset"
    notes = []
    root = read_header(model.folder / EMBEDDINGS).get("image_root", "")
    if warning := root_warning(root):
        notes.append(f"warning: {warning} Send the pictures, too: --pictures PATH.")
    elif root == f"{HUB_DATASETS}{model.repo_id}-{PICTURES}" and not has_pictures:
        notes.append(f"note: the pictures stay those of {root}; to send new and changed ones, give --pictures PATH.")
    if has_pictures:
        notes.append(
            "note: the pictures are sent as they are, with whatever their files say of the camera and the place. The "
            f"gallery on the Hub looks for them under {root}; {model.source} stays as it is."
        )
    if private:
        notes.append(
            "note: the Space needs a secret HF_TOKEN that may read the private gallery, and shows pictures of a "
            "private data set only where a variable VISIM_IMAGES_<KEY> names it: see docs/hosting.md."
        )
    return notes


def _deliver(
    plans: Sequence[RepoPlan],
    notes: Sequence[str],
    api: HfApi | None,
    *,
    private: bool,
    hardware: str | None,
    tag: str = "",
) -> list[str]:
    """Print what goes to the Hub, in a dry run (no client) every file; send it; print and return the addresses."""
    for plan in plans:
        print(plan.summary())
        if api is None:
            print("\n".join(f"  {size:>12,}  {name}" for name, size in plan.files.items()))
    print("".join(f"{note}\n" for note in notes if note), end="")
    if api is None:
        print(f"dry run: {sum(plan.size for plan in plans):,} bytes in {len(plans)} repos; nothing was sent")
        return []
    addresses = []
    for plan in plans:
        repo = HubRepo(api, plan.repo_id, kind=plan.kind)
        address = repo.send(
            plan.folder,
            mark=plan.mark,
            owned=plan.owned,
            listing=plan.listing,
            keeps_edited_card=plan.keeps_edited_card,
            variables=plan.variables,
            message=f"visim {visim_models.__version__}",
            tag=tag,
            private=private,
            hardware=hardware,
        )
        print("".join(f"note: {note}\n" for note in repo.notes), end="")
        addresses.append(address)
    print("\n".join(addresses))
    return addresses


def _collect(api: HfApi, namespace: str, plans: Sequence[RepoPlan], *, private: bool) -> str:
    """Put the repos into the collection, which is made where it is missing; return its address."""
    with explaining(api, f"make the collection {_COLLECTION!r}", namespace=namespace):
        mine = api.list_collections(owner=namespace, limit=100)
        slug = next((item.slug for item in mine if item.title == _COLLECTION), None)
        if slug is None:
            made = api.create_collection(
                _COLLECTION, namespace=namespace, description=_DESCRIPTION, private=private, exists_ok=True
            )
            slug = made.slug
        there = {(item.item_type, item.item_id) for item in api.get_collection(slug).items}
        for plan in plans:
            if (plan.kind, plan.repo_id) not in there:
                api.add_collection_item(slug, plan.repo_id, plan.kind, exists_ok=True)  # type: ignore[arg-type]
    return f"{api.endpoint}/collections/{slug}"
