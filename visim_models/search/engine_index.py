"""The index of a gallery in an engine, with the settings by which its repo names it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from visim_models.errors import EngineError, GalleryMismatchError
from visim_models.repo_folder import RepoFolder
from visim_models.repo_folder.manifest import INDEX
from visim_models.search.engine import EngineAddress, IndexSettings
from visim_models.search.index import SearchIndex

__all__ = ["EngineIndex"]


@dataclass(frozen=True)
class EngineIndex:
    """An index in an engine.

    Attributes:
        settings: how the repo names it.
        index: searches it.
    """

    settings: IndexSettings
    index: SearchIndex

    @classmethod
    def load(
        cls, repo: RepoFolder, header: Mapping[str, str], width: int, address: EngineAddress | None
    ) -> Self | None:
        """Load the index of a repo folder's gallery; None where the gallery is in memory. The engine is not asked yet.

        Args:
            repo: the repo folder.
            header: of its embeddings, with the hashes of the weights and the processor.
            width: D, the length of its embeddings.
            address: where the engine is; by default where VISIM_INDEX_URI says.

        Raises:
            ConfigurationError: index.json does not fit.
            GalleryMismatchError: the index is of other weights, another processor or another width.
            EngineError: nobody says where the engine is.
            MissingExtraError: the engine's client is not installed.
        """
        settings = IndexSettings.load(repo)
        if settings is None:
            return None
        settings.check_hashes(header.get("weights_sha256", ""), header.get("processor_sha256", ""))
        if settings.width != width:
            raise GalleryMismatchError(
                f"{repo / INDEX} is of embeddings of {settings.width} numbers, the gallery's have {width}: "
                "build it again.",
                path=repo / INDEX,
            )
        found = address or EngineAddress.given(None)
        if found and found.is_local and not Path(found.uri).exists():  # which opening it would make
            raise EngineError(
                f"There is no index {found.uri}: name the one that the gallery was built into, or build it there.",
                path=found.uri,
                key="index_uri",
            )
        if found is None:
            raise EngineError(
                f"The gallery of {repo.path} is in an engine ({settings.engine}): say where with --index-uri URI, "
                "VISIM_INDEX_URI or from_pretrained(..., index_uri=URI).",
                path=repo / INDEX,
                key="index_uri",
            )
        from visim_models.search.milvus import MilvusIndex

        index = MilvusIndex(
            found,
            settings.collection,
            width=settings.width,
            kind=settings.kind,
            parameters=settings.parameters,
            count=settings.pictures,
        )
        return cls(settings, index)
