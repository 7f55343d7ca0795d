"""`visim build`: make a gallery of pictures or vectors, or change one. `visim export`: write its vectors to a table."""

import argparse
from pathlib import Path

from visim_models.cli import REPO_HELP, Commands, add_backend, add_index_uri, add_picture_choice, chosen
from visim_models.errors import DataError
from visim_models.galleries import (
    DEFAULT_MODEL,
    BuildReport,
    Description,
    EngineOptions,
    MetadataTable,
    build,
    build_of_vectors,
    export_gallery,
    update,
)
from visim_models.galleries.site import SitePage, find_assets, find_runtime, write_site
from visim_models.galleries.vectors import FORMS
from visim_models.gallery import Gallery
from visim_models.repo_folder import RepoFolder
from visim_models.repo_folder.formats import one_line
from visim_models.repo_folder.manifest import CONFIG
from visim_models.search.engine import ENGINES, KINDS, EngineAddress

__all__ = ["add_build", "add_export", "add_web", "own_page"]

_EXAMPLES = """\
examples:
  visim build photos --out my-gallery              a new gallery; later: new and changed pictures, by content
  visim build photos --out my-gallery --sync       the same, and remove those that are gone
  visim build photos --out my-gallery --model timm:vit_small_patch14_dinov2.lvd142m
  visim build photos --out my-gallery --metadata prices.csv --show price --link url --one "a chair" --many chairs
  visim build --out my-gallery --add more-photos.zip
  visim build addresses.txt --out my-gallery       pictures of the web, an address a line
  visim build --out my-gallery --remove chairs/oak_2.jpg --remove-list sold.txt
  visim build --out my-gallery --image-root hf://datasets/NAME/my-pictures
  visim build --embeddings clip.npy --metadata names.csv --out my-gallery
  visim build photos --out my-gallery --engine milvus --index-uri http://localhost:19530 --runner native

A build that was killed goes on where it stopped when the same command is given again. Files whose names end like those
of pictures, but that cannot be used, are left out and listed in skipped.csv of the repo, with the reasons."""
_MODEL_HELP = f"{REPO_HELP}, or timm:NAME, timm:hf-hub:NAMESPACE/NAME or timm:local-dir:PATH"


def add_build(commands: Commands) -> None:
    """Add the command `build`."""
    parser = commands.add_parser(
        "build",
        help="make a gallery of pictures, or change one",
        description="Make a repo folder with a gallery of your pictures, or bring the gallery of one up to date.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "pictures",
        nargs="?",
        metavar="PICTURES",
        help="the pictures: a folder, a zip, a list of addresses (.txt, one a line), hf://datasets/NAMESPACE/NAME or "
        "s3://BUCKET/FOLDER; their folder paths are their labels",
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="REPO",
        help="the repo folder: a new or empty one, or one that has a gallery. Files that visim did not write stay",
    )
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help=f"the network that compares the pictures: {_MODEL_HELP} (default: {DEFAULT_MODEL}, which knows things of "
        "all kinds); a gallery that exists has its own",
    )
    parser.add_argument(
        "--image-root",
        metavar="ROOT",
        help="where the pictures can be fetched from later: a folder, a zip, a list of addresses, an https address, "
        "hf://datasets/... or s3://...; "
        "PICTURES by default, and a gallery that exists keeps its root. Everyone who gets the repo can read it",
    )
    parser.add_argument(
        "--sync",
        action="store_true",
        help="with PICTURES: also remove pictures that PICTURES does not have any more",
    )
    parser.add_argument(
        "--add",
        metavar="PATH",
        help="add the new pictures of another folder, zip, list, data set or bucket; "
        "pictures whose names the gallery has stay",
    )
    parser.add_argument(
        "--remove",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME",
        help="remove pictures by their file names in gallery/metadata.csv, before others are added",
    )
    parser.add_argument(
        "--remove-list",
        type=Path,
        metavar="FILE",
        help="remove the pictures that a text file names, one a line; empty lines and lines with # are ignored",
    )
    add_backend(parser)
    parser.add_argument(
        "--embeddings",
        metavar="FILE",
        help="in place of PICTURES: vectors of your own, as Parquet with the columns file_name and embedding, or .npy "
        "with the names in the order of --metadata; searched by its own pictures, for there is no network",
    )
    add_picture_choice(parser)
    _add_description(parser)
    _add_engine(parser)
    parser.set_defaults(run=_run)


def _add_description(parser: argparse.ArgumentParser) -> None:
    about = parser.add_argument_group("what the gallery says of itself, and its page shows")
    about.add_argument("--title", metavar="TEXT", help="heading of the page")
    about.add_argument("--one", metavar="TEXT", help='what one picture shows, with its article, such as "a chair"')
    about.add_argument("--many", metavar="TEXT", help='the same in the plural, such as "chairs"')
    about.add_argument("--description", metavar="TEXT", help="a few sentences")
    about.add_argument(
        "--metadata",
        metavar="FILE",
        help="further columns, a CSV or JSON Lines with the key file_name: price, url, licence, ...",
    )
    about.add_argument(
        "--label",
        metavar="COLUMN",
        help="the column of FILE that is the label (default: its column label, if it has one, else the folder)",
    )
    about.add_argument(
        "--show", nargs="+", action="extend", metavar="COLUMN", help="columns that are shown beside a match"
    )
    about.add_argument("--link", metavar="COLUMN", help="the column with the address that a match links to")


def _add_engine(parser: argparse.ArgumentParser) -> None:
    """Add the options of a gallery in an engine."""
    kinds = "; ".join(f"{kind} ({', '.join(known)})" if known else kind for kind, known in KINDS.items())
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        help="with PICTURES: put the index in an engine, for galleries that memory does not hold (default: in memory)",
    )
    add_index_uri(parser)
    parser.add_argument(
        "--index",
        metavar="KIND[:NAME=NUMBER,...]",
        default=None,
        help=f"with --engine: the kind of index and its parameters: {kinds} (default: FLAT, which is exact)",
    )
    parser.add_argument(
        "--runner",
        metavar="RUNNER",
        help="with --engine: embed in processes of this machine (native) or on a Ray cluster (ray://HOST:PORT)",
    )
    parser.add_argument(
        "--vectors",
        type=Path,
        metavar="FOLDER",
        help="with --engine: keep the embeddings there, as Parquet (default: REPO-vectors)",
    )


def add_export(commands: Commands) -> None:
    """Add the command `export`."""
    parser = commands.add_parser(
        "export",
        help="write the vectors of a gallery to a table for other programs",
        description="Write file names, labels, further columns and vectors of a gallery to a table.",
    )
    parser.add_argument("repo", metavar="REPO", help=f"the repo with the gallery: {REPO_HELP}")
    parser.add_argument("--to", choices=FORMS, default=FORMS[0], help="the form of the table (default: %(default)s)")
    parser.add_argument("--out", metavar="PATH", help="where it goes (default: the name of REPO, here)")
    add_index_uri(parser)
    parser.set_defaults(run=_run_export)


def _run_export(options: argparse.Namespace) -> int:
    gallery = Gallery.from_pretrained(options.repo, index_uri=options.index_uri)
    out = options.out or f"{Path(options.repo).resolve().name}.{options.to}"
    print(
        f"{export_gallery(gallery, out, form=options.to)}: {len(gallery):,} vectors of {gallery.embeddings.shape[1]:,}"
    )
    return 0


def _run(options: argparse.Namespace) -> int:
    print("\n".join(_built(options).lines()))
    return 0


def _built(options: argparse.Namespace) -> BuildReport:
    """Do what the options say."""
    description = _description(options)
    engine = _engine(options)
    changes = options.add is not None or options.remove or options.remove_list is not None
    if options.embeddings is not None:
        given = ("pictures", "model", "engine", "add", "remove_list")
        if changes or options.sync or any(getattr(options, name) is not None for name in given):
            raise DataError("--embeddings goes with --out, --metadata, --image-root and the words of the page alone.")
        return build_of_vectors(options.embeddings, options.out, image_root=options.image_root, description=description)
    if options.pictures is None:
        if options.model is not None or options.sync:
            raise DataError("--model and --sync go with PICTURES: name the folder or zip of all pictures.")
        if not changes and options.image_root is None and not description:
            raise DataError(
                "Name PICTURES to build a gallery of them, or an option that changes one: --add, --remove, "
                "--remove-list, --image-root, --metadata, --title, ... See visim build --help."
            )
        removed = [*options.remove, *(_listed_names(options.remove_list) if options.remove_list else [])]
        return update(
            options.out,
            add=None if options.add is None else chosen(options.add, options),
            remove=removed,
            image_root=options.image_root,
            description=description,
            backend=options.backend,
        )
    if changes:
        raise DataError("PICTURES are all pictures of the gallery: leave --add, --remove and --remove-list out.")
    return build(
        chosen(options.pictures, options),
        options.out,
        model=options.model,
        image_root=options.image_root,
        description=description,
        remove_missing=options.sync,
        engine=engine,
        backend=options.backend,
    )


def _description(options: argparse.Namespace) -> Description:
    given = {key: getattr(options, key) for key in ("title", "one", "many", "description", "link")}
    given["columns"] = None if options.show is None else tuple(options.show)
    return Description(
        metadata=None if options.metadata is None else MetadataTable.read(options.metadata),
        label=options.label or "",
        about={key: value for key, value in given.items() if value is not None},
    )


def _listed_names(path: Path) -> list[str]:
    """Read the file of --remove-list."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({one_line(error)}).", path=path) from error
    return [name for line in lines if (name := line.strip()) and not name.startswith("#")]


def _engine(options: argparse.Namespace) -> EngineOptions | None:
    """Return the options of a gallery in an engine; None for one in memory.

    Raises:
        DataError: they do not go together.
    """
    given = [name for name in ("index", "runner", "vectors") if getattr(options, name) is not None]
    if options.engine is None:
        if given:
            raise DataError(f"--{given[0]} goes with --engine.", key=given[0])
        return None
    if options.pictures is None:
        raise DataError("--engine goes with PICTURES: name all pictures of the gallery.", key="engine")
    address = EngineAddress.given(options.index_uri)
    if address is None:
        raise DataError("--engine needs an engine: say where with --index-uri URI or VISIM_INDEX_URI.", key="index_uri")
    kind, parameters = _index(options.index or "FLAT")
    return EngineOptions(
        address=address, kind=kind, parameters=parameters, runner=options.runner, vectors=options.vectors
    )


def _index(text: str) -> tuple[str, dict[str, int]]:
    """Read --index: "HNSW:M=16,ef=64"."""
    kind, _, rest = text.partition(":")
    try:
        pairs = [part.split("=") for part in rest.split(",") if part]
        return kind, {name: int(number) for name, number in pairs}
    except ValueError as error:
        raise DataError(f"--index is {text!r}, but must be like HNSW:M=16,ef=128.", key="index") from error


_WEB_EXAMPLES = """\
examples:
  visim web my-gallery --out site
  visim web my-gallery --with-pictures --out site
  python -m http.server --directory site 8000"""


def add_web(commands: Commands) -> None:
    """Add the command `web`."""
    parser = commands.add_parser(
        "web",
        help="write galleries as a static page",
        description="Write a folder of plain files that any web server, or a static Space, can serve. The networks run "
        "in the visitor's browser, and nothing is uploaded.",
        epilog=_WEB_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("repos", metavar="REPO", nargs="+", help=f"repos with a gallery: {REPO_HELP}")
    parser.add_argument(
        "--out", metavar="FOLDER", default="site", help="a new or empty folder, or an older site [%(default)s]"
    )
    parser.add_argument("--title", default="", help="of the page [that of the gallery]")
    parser.add_argument(
        "--with-pictures",
        action="store_true",
        help="put small copies of the pictures into the site; else they are fetched from the image root, where that is "
        "on the web",
    )
    parser.set_defaults(run=_run_web)


def _run_web(options: argparse.Namespace) -> int:
    pages = []
    for number, source in enumerate(options.repos):
        repo = RepoFolder.find(source)
        pages.append(own_page(repo, key=f"gallery{number or ''}", with_pictures=options.with_pictures))
    assets = find_assets()
    report = write_site(pages, options.out, assets=assets, runtime=find_runtime(assets), title=options.title)
    print("\n".join(report.lines()))
    print(f"Serve it, for example, with: python -m http.server --directory {options.out} 8000")
    return 0


def own_page(repo: RepoFolder, *, key: str, with_pictures: bool) -> SitePage:
    """Return the page of a maker's gallery."""
    gallery = Gallery.load(repo, sample=True)
    is_autoencoder = repo.json(CONFIG).get("model_type") == "convolutional-autoencoder"
    return SitePage(
        key=key,
        ways={"by features": repo},
        painter=repo if is_autoencoder else None,
        pictures=gallery.image_root if with_pictures else None,
    )
