"""Publish a pipeline as a model repo on the Hugging Face Hub."""

import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from visim_models.errors import RepositoryError
from visim_models.repo_folder import drafting
from visim_models.repo_folder.hub_repo import HubRepo, hub_client, root_warning
from visim_models.repo_folder.manifest import EMBEDDINGS, MANIFEST

if TYPE_CHECKING:
    from visim_models.stored_pipeline import StoredPipeline

__all__ = ["push_pipeline"]

_log = logging.getLogger(__name__)


def push_pipeline(pipeline: "StoredPipeline", repo_id: str, *, private: bool, token: str | None) -> str:
    """Publish a pipeline as a model repo, by one commit; nothing is committed where it is there. Return its address.

    Args:
        pipeline: the four parts.
        repo_id: "namespace/name"; the repo is made where there is none.
        private: make a new repo private.
        token: with write permission; None for the one that `hf auth login` left.

    Raises:
        RepositoryError: there is no token, the Hub refuses, or the repo has files that visim did not publish.
        WeightsError: a weight is beyond float16.
        GalleryError: an embedding is beyond float16.
    """
    from visim_models.galleries.card import card_text  # which imports the pipeline

    namespace, slash, name = repo_id.partition("/")
    if not (namespace and slash and name):
        raise RepositoryError(f"{repo_id!r} is no repo id: write 'namespace/name'.", key="repo_id")
    repo = HubRepo(hub_client(token), repo_id)
    with TemporaryDirectory(prefix="visim-push-") as temporary:
        folder = Path(temporary) / "repo"
        with drafting(folder) as draft:
            pipeline.write_files(draft)
            draft.write_card(card_text(pipeline.gallery, pipeline.ood, pipeline.model))
        if warning := root_warning(pipeline.gallery.image_root):
            _log.warning("%s Set gallery.image_root to an address before you publish it.", warning)
        return repo.send(
            folder,
            mark=EMBEDDINGS,
            owned=tuple(MANIFEST),
            keeps_edited_card=True,
            message="Publish a gallery with visim",
            private=private,
        )
