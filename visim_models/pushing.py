"""Publish a pipeline as a model repo on the Hugging Face Hub."""

import logging
from pathlib import Path
from tempfile import TemporaryDirectory

from visim_models.errors import RepositoryError
from visim_models.gallery import Gallery
from visim_models.models import PretrainedModel
from visim_models.ood import OutOfDistributionDetector
from visim_models.repo_folder import RepoDraft, drafting
from visim_models.repo_folder.card_mark import mark_card
from visim_models.repo_folder.manifest import CARD, EMBEDDINGS, MANIFEST
from visim_models.repo_folder.upload import HubRepo, explaining, hub_client, root_warning

__all__ = ["PushToHub"]

_log = logging.getLogger(__name__)


class PushToHub:
    """Adds `push_to_hub` to a pipeline."""

    model: PretrainedModel
    gallery: Gallery
    ood: OutOfDistributionDetector

    def write_files(self, draft: RepoDraft) -> None:
        """Write all parts into a draft."""
        raise NotImplementedError

    def push_to_hub(self, repo_id: str, *, private: bool = False, token: str | None = None) -> str:
        """Publish the pipeline as a model repo on the Hub, by one commit; nothing is committed where it is there.

        The repo then holds these parts. Other files of visim in it go, such as figures of older weights; files of
        anybody else stay, and so does a card that somebody wrote or edited.

        Args:
            repo_id: "namespace/name"; the repo is made where there is none.
            private: make a new repo private.
            token: with write permission; by default the one that `hf auth login` left.

        Returns:
            The address of the repo.

        Raises:
            RepositoryError: there is no token, the Hub refuses, or the repo has files that visim did not publish.
            WeightsError: a weight is beyond float16.
            GalleryError: an embedding is beyond float16.

        Example:
            >>> VisualSimilarity.from_pretrained("my-gallery").push_to_hub("namespace/my-gallery")
        """
        from visim_models.build.card import card_text  # which imports the pipeline

        namespace, slash, name = repo_id.partition("/")
        if not (namespace and slash and name):
            raise RepositoryError(f"{repo_id!r} is no repo id: write 'namespace/name'.", key="repo_id")
        api = hub_client(token)
        repo = HubRepo(api, repo_id)
        with TemporaryDirectory(prefix="visim-push-") as temporary:
            folder = Path(temporary) / "repo"
            with drafting(folder) as draft:
                self.write_files(draft)
                draft.write_text(CARD, mark_card(card_text(self.gallery, self.ood, self.model)))
            if warning := root_warning(self.gallery.image_root):
                _log.warning("%s Set gallery.image_root to an address before you publish it.", warning)
            with explaining(api, f"publish the model repo {repo_id}", namespace=namespace):
                api.create_repo(repo_id, private=private, exist_ok=True)
                repo.check_is_ours(EMBEDDINGS)
                if repo.has_edited_card():
                    (folder / CARD).unlink()
                repo.commit(folder, owned=set(MANIFEST) - {CARD}, message="Publish a gallery with visim")
        return repo.address
