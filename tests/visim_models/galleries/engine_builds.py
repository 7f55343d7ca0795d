"""Builds of galleries in an engine, for the tests of the build and of its faults."""

from pathlib import Path

from visim_models.galleries import BuildReport, EngineOptions, build
from visim_models.search.engine import EngineAddress


def engine_build(pictures: Path | str, out: Path, uri: str, model: Path, *, runner: str | None = None) -> BuildReport:
    options = EngineOptions(address=EngineAddress(uri), runner=runner)
    return build(pictures, out, engine=options, model=model, progress=False)


def collections(uri: str) -> list[str]:
    import pymilvus

    client = pymilvus.MilvusClient(uri=uri, timeout=5, dedicated=True)
    found = list(client.list_collections())
    client.close()
    return found


def queries(pictures: Path) -> list[Path]:
    return sorted(pictures.rglob("*.png"))
