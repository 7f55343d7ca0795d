"""The four parts of a pipeline, loaded and saved together: network, processor, gallery, detector."""

import os
from typing import Self

import torch

from visim_models.errors import ConfigurationError, GalleryMismatchError
from visim_models.gallery import Gallery
from visim_models.measurements import names_for
from visim_models.models import PretrainedModel, load_model
from visim_models.models.embedding import device_of, prepared
from visim_models.ood import OutOfDistributionDetector
from visim_models.processing import ImageProcessor
from visim_models.pushing import push_pipeline
from visim_models.repo_folder import RepoDraft, RepoFolder, drafting
from visim_models.repo_folder.manifest import CONFIG, MATCHES, PROCESSOR, WEIGHTS
from visim_models.search.engine import EngineAddress
from visim_models.search.match_probability import MatchProbability

__all__ = ["StoredPipeline"]


class StoredPipeline:
    """Keeps the parts of `VisualSimilarity`, which adds the queries, and checks that they fit together.

    Attributes:
        trusts_root: notebooks may show pictures of an image root on this machine: set where a folder was loaded.
    """

    def __init__(
        self,
        model: PretrainedModel,
        processor: ImageProcessor,
        gallery: Gallery,
        ood: OutOfDistributionDetector,
        *,
        match_probability: MatchProbability | None = None,
    ) -> None:
        self.model = prepared(model)
        self.processor, self.gallery, self.ood = processor, gallery, ood
        self.match_probability = match_probability
        self.trusts_root = False
        self._check_parts()

    def _check_parts(self) -> None:
        if self.processor.size != self.model.image_size:
            raise ConfigurationError(
                f"The processor makes {self.processor.size} x {self.processor.size} pictures, but the model takes "
                f"{self.model.image_size} x {self.model.image_size}: {CONFIG} and {PROCESSOR} are not of one repo."
            )
        width = self.gallery.embeddings.shape[1]
        if self.model.embedding_dim != width:
            raise GalleryMismatchError(
                f"The gallery's embeddings have {width} numbers, the model's {self.model.embedding_dim}: "
                "embed the gallery again with this model."
            )
        self.ood.check_fits(names_for(self.model), width=width)

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str] | RepoFolder,
        *,
        device: str | torch.device = "cpu",
        revision: str | None = None,
        subfolder: str = "",
        cache_dir: str | os.PathLike[str] | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        index_uri: str | None = None,
        index_token: str | None = None,
    ) -> Self:
        """Load all four parts from a folder or a Hub repo, and check them against each other.

        Args:
            source: a folder, "namespace/repo" on the Hub, a short name such as "car-extractor", or an open repo folder.
            device: where the network computes.
            revision: branch, tag or commit of the Hub repo.
            subfolder: folder in `source` that holds the repo's files; "" if it is `source` itself.
            cache_dir: folder for downloaded snapshots; by default huggingface_hub's own.
            force_download: download all files again, also those that are in the cache.
            local_files_only: use the cache alone and do not ask the network.
            token: for private or gated repos; by default the one that `hf auth login` left.
            index_uri: where the engine of a gallery in an engine is: http(s)://HOST:PORT, or a local path that ends in
                .db; by default that of the environment variable VISIM_INDEX_URI. Other galleries need none.
            index_token: for that engine, NAME:PASSWORD or an API key; by default that of VISIM_INDEX_TOKEN.

        Raises:
            RepositoryError: the folder or repo cannot be found or downloaded.
            EngineError: the gallery is in an engine, and nobody says where that is.
            MissingExtraError: the engine's client is not installed.
            ConfigurationError: a JSON file is missing, or has a missing, unknown or wrong key.
            WeightsError: a safetensors file is missing, damaged, or of another model.
            GalleryError: the gallery is damaged, or was made by other weights or another processor.
        """
        repo = RepoFolder.find(
            source,
            revision=revision,
            subfolder=subfolder,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
            token=token,
        )
        repo.check_gallery()
        model = load_model(repo)
        processor = ImageProcessor.load(repo)  # before its hash is needed, so that a missing file is named
        gallery = Gallery.load(
            repo,
            weights_sha256=repo.sha256(WEIGHTS),
            processor_sha256=repo.sha256(PROCESSOR),
            address=EngineAddress.given(index_uri, index_token),
        )
        detector, probability = OutOfDistributionDetector.load(repo), MatchProbability.load(repo)
        loaded = cls(model, processor, gallery, detector, match_probability=probability).to(device)
        loaded.trusts_root = not isinstance(source, RepoFolder) and os.path.isdir(source)
        return loaded

    @classmethod
    def from_pictures(
        cls,
        pictures: str | os.PathLike[str],
        *,
        model: str | os.PathLike[str] = "general-extractor",
        image_root: str | None = None,
        progress: bool = True,
    ) -> Self:
        """Build a gallery of pictures in memory, with a detector that is calibrated on them.

        `save_pretrained` writes it as a repo folder. `visim_models.galleries.build` does both, goes on where it stopped
        and keeps what a later change needs.

        Args:
            pictures: a folder, a zip, a list of addresses (.txt), hf://datasets/namespace/name or s3://bucket/folder.
                The folder path of each picture is its label.
            model: the network: a folder, "namespace/repo", a short name such as "car-extractor", or "timm:NAME".
            image_root: where the pictures can be fetched from later; by default `pictures`.
            progress: show progress bars.

        Raises:
            DataError: there are no two pictures that are not near-duplicates.
            VisimError: the network or the pictures cannot be used.
        """
        from visim_models.galleries import embed_gallery  # which uses this module

        built = embed_gallery(pictures, model=model, image_root=image_root, progress=progress)
        made = cls(built.parts.model, built.parts.processor, built.gallery, built.detector)
        made.trusts_root = True
        return made

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write all four parts into a new or empty folder, or into a repo folder.

        The weights are rounded to float16, and the gallery is marked as theirs. Every other file of a repo stays,
        except those that describe other weights.

        Raises:
            OutputError: the folder holds files and is no repo.
            WeightsError: a weight is beyond float16.
            GalleryError: an embedding is beyond float16.
            RepositoryError: the folder cannot be written.
        """
        with drafting(folder) as draft:
            self.write_files(draft)

    def push_to_hub(self, repo_id: str, *, private: bool = False, token: str | None = None) -> str:
        """Publish all four parts as a model repo on the Hub, by one commit; nothing is committed where they are there.

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
        """
        return push_pipeline(self, repo_id, private=private, token=token)

    def write_files(self, draft: RepoDraft) -> None:
        """Write all four parts into a draft."""
        self.model.write_files(draft)
        self.processor.write_files(draft)
        self.gallery.weights_sha256 = draft.sha256(WEIGHTS)
        self.gallery.processor_sha256 = draft.sha256(PROCESSOR)
        self.gallery.write_files(draft)
        self.ood.write_files(draft)
        if self.match_probability:
            self.match_probability.write_files(draft)
        else:
            draft.drop(MATCHES)

    def __repr__(self) -> str:
        model = type(self.model).__name__
        return f"VisualSimilarity({model}, {len(self.gallery):,} pictures, on {self.device})"

    @property
    def device(self) -> torch.device:
        """Return the device that the network computes on."""
        return device_of(self.model)

    def to(self, device: str | torch.device) -> Self:
        """Move the network to a device; return this pipeline."""
        self.model.to(device)
        return self
