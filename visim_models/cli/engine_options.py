"""The options of `visim build` for a gallery in an engine."""

import argparse
from pathlib import Path

from visim_models.cli.texts import add_index_uri
from visim_models.errors import DataError
from visim_models.galleries import BuildReport, Description
from visim_models.search.engine import ENGINES, KINDS, EngineAddress

__all__ = ["add_engine", "build_with_engine", "check_engine"]


def add_engine(parser: argparse.ArgumentParser) -> None:
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


def check_engine(options: argparse.Namespace) -> None:
    """Check that the options of an engine go together.

    Raises:
        DataError: they do not.
    """
    given = [name for name in ("index", "runner", "vectors") if getattr(options, name) is not None]
    if options.engine is None and given:
        raise DataError(f"--{given[0]} goes with --engine.", key=given[0])
    if options.engine is not None and options.pictures is None:
        raise DataError("--engine goes with PICTURES: name all pictures of the gallery.", key="engine")


def build_with_engine(options: argparse.Namespace, description: Description) -> BuildReport:
    """Build a gallery in an engine.

    Raises:
        VisimError: an option, the engine, the pictures or the output cannot be used.
    """
    from visim_models.galleries.engine_build import EngineOptions, build_in_engine

    address = EngineAddress.given(options.index_uri)
    if address is None:
        raise DataError("--engine needs an engine: say where with --index-uri URI or VISIM_INDEX_URI.", key="index_uri")
    kind, parameters = _index(options.index or "FLAT")
    return build_in_engine(
        options.pictures,
        options.out,
        EngineOptions(
            address=address, kind=kind, parameters=parameters, runner=options.runner, vectors=options.vectors
        ),
        model=options.model,
        image_root=options.image_root,
        description=description,
    )


def _index(text: str) -> tuple[str, dict[str, int]]:
    """Read --index: "HNSW:M=16,ef=64"."""
    kind, _, rest = text.partition(":")
    try:
        pairs = [part.split("=") for part in rest.split(",") if part]
        return kind, {name: int(number) for name, number in pairs}
    except ValueError as error:
        raise DataError(f"--index is {text!r}, but must be like HNSW:M=16,ef=128.", key="index") from error
