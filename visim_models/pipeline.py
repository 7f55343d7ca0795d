"""The whole query: picture -> embedding -> neighbours -> verdict; and its four parts, loaded, saved and published."""

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, TypedDict, Unpack, overload

import numpy as np
import numpy.typing as npt

from visim_models.errors import (
    ConfigurationError,
    GalleryMismatchError,
    QueryError,
    RepositoryError,
    VisimError,
)
from visim_models.galleries import embed_gallery
from visim_models.galleries.built_gallery import card_text
from visim_models.gallery import Gallery
from visim_models.images.decode import ImageSource
from visim_models.measurements import NEIGHBOURS, measure, names_for
from visim_models.models.loading import as_network, load_network
from visim_models.models.network import Network
from visim_models.ood import OutOfDistributionDetector
from visim_models.processing import ImageProcessor, decode_pictures
from visim_models.repo_folder import FindOptions, RepoDraft, RepoFolder, drafting
from visim_models.repo_folder.hub_repo import HubRepo, hub_client, root_warning
from visim_models.repo_folder.manifest import CONFIG, EMBEDDINGS, MANIFEST, MATCHES, PROCESSOR, WEIGHTS
from visim_models.search.engine import EngineAddress
from visim_models.search.exact import clamped_top_k
from visim_models.search.results import Match, MatchProbability, SimilarityResult

if TYPE_CHECKING:
    from visim_models.models.base import PretrainedModel

__all__ = ["VisualSimilarity"]

_log = logging.getLogger(__name__)

_Floats: TypeAlias = npt.NDArray[np.float32]
_Bytes: TypeAlias = npt.NDArray[np.uint8]
_Indices: TypeAlias = npt.NDArray[np.int64]


class _Asked(TypedDict, total=False):
    top_k: int
    label: str | None
    where: str | None
    progress: bool


class VisualSimilarity:
    """A network, its processor, a gallery that it embedded, and a detector calibrated for it.

    The parts answer themselves: a change of `model` shows in the next query.

    Args:
        model: the network; its embeddings have the gallery's width.
        processor: makes the network's input.
        gallery: the pictures that a search can find.
        ood: judges the queries.
        match_probability: says how probable a match is a true one; None where that was not measured.

    Attributes:
        network: embeds, whatever computes it.
        trusts_root: notebooks may show pictures of an image root on this machine: set where a folder was loaded.

    Raises:
        ConfigurationError: the processor's pictures are of another size than the model's.
        GalleryMismatchError: the gallery is of another width than the model.
        QueryError: the detector needs a measurement that the model does not make, or is of another width.

    Example:
        >>> cars = VisualSimilarity.from_pretrained("namespace/visim-car-extractor")
        >>> result = cars.search("photo.jpg", top_k=4)
        >>> result.matches[0].file_name, result.matches[0].percent, result.ood.word
        ('suv/suv_0012.jpg', 97, 'one of these')
    """

    def __init__(
        self,
        model: "Network | PretrainedModel",
        processor: ImageProcessor,
        gallery: Gallery,
        ood: OutOfDistributionDetector,
        *,
        match_probability: MatchProbability | None = None,
    ) -> None:
        self.network = as_network(model)
        self.processor, self.gallery, self.ood = processor, gallery, ood
        self.match_probability = match_probability
        self.trusts_root = False
        if processor.size != self.network.image_size:
            raise ConfigurationError(
                f"The processor makes {processor.size} x {processor.size} pictures, but the model takes "
                f"{self.network.image_size} x {self.network.image_size}: {CONFIG} and {PROCESSOR} are not of one repo."
            )
        width = gallery.embeddings.shape[1]
        if self.network.embedding_dim != width:
            raise GalleryMismatchError(
                f"The gallery's embeddings have {width} numbers, the model's {self.network.embedding_dim}: "
                "embed the gallery again with this model."
            )
        ood.check_fits(names_for(self.network), width=width)

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str] | RepoFolder,
        *,
        device: str = "cpu",
        backend: str = "torch",
        index_uri: str | None = None,
        index_token: str | None = None,
        **options: Unpack[FindOptions],
    ) -> Self:
        """Load all four parts from a folder or a Hub repo, and check them against each other.

        Args:
            source: a folder, "namespace/repo" on the Hub, a short name such as "car-extractor", or an open repo folder.
            device: where the network computes.
            backend: what computes the network: "torch", or "onnx" for ONNX Runtime, which needs no torch.
            index_uri: where the engine of a gallery in an engine is: http(s)://HOST:PORT, or a local path that ends in
                .db; by default that of the environment variable VISIM_INDEX_URI. Other galleries need none.
            index_token: for that engine, NAME:PASSWORD or an API key; by default that of VISIM_INDEX_TOKEN.
            options: where to look for the repo, as `RepoFolder.find` takes them: `revision`, `token` and so on.

        Raises:
            RepositoryError: the folder or repo cannot be found or downloaded.
            EngineError: the gallery is in an engine, and nobody says where that is.
            MissingExtraError: the backend's package or the engine's client is not installed.
            ConfigurationError: a JSON file is missing, or has a missing, unknown or wrong key.
            WeightsError: a safetensors file is missing, damaged, or of another model.
            GalleryError: the repo has no gallery, or one that is damaged or was made by other weights or another
                processor.

        Example:
            >>> cars = VisualSimilarity.from_pretrained("namespace/visim-car-extractor", device="cuda")
        """
        repo = RepoFolder.find(source, **options)
        repo.check_gallery()
        network = load_network(repo, backend=backend, device=str(device))
        processor = ImageProcessor.load(repo)  # before its hash is needed, so that a missing file is named
        gallery = Gallery.load(
            repo,
            weights_sha256=repo.sha256(WEIGHTS),
            processor_sha256=repo.sha256(PROCESSOR),
            address=EngineAddress.given(index_uri, index_token),
        )
        detector, probability = OutOfDistributionDetector.load(repo), MatchProbability.load(repo)
        loaded = cls(network, processor, gallery, detector, match_probability=probability)
        loaded.trusts_root = not isinstance(source, RepoFolder) and os.path.isdir(source)
        return loaded

    @classmethod
    def from_pictures(
        cls,
        pictures: str | os.PathLike[str],
        *,
        model: str | os.PathLike[str] = "general-extractor",
        image_root: str | None = None,
        backend: str = "torch",
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
            backend: what computes the network: "torch", or "onnx" for ONNX Runtime.
            progress: show progress bars.

        Raises:
            DataError: there are no two pictures that are not near-duplicates.
            VisimError: the network or the pictures cannot be used.

        Example:
            >>> mine = VisualSimilarity.from_pictures("photos/", model="general-extractor")
            >>> mine.save_pretrained("my-gallery")
        """
        built = embed_gallery(pictures, model=model, image_root=image_root, backend=backend, progress=progress)
        made = cls(
            built.embedder.network,
            built.embedder.processor,
            built.gallery,
            built.detector,
            match_probability=built.match_probability,
        )
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

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool = False,
        token: str | None = None,
        revision: str | None = None,
        create_pr: bool = False,
        commit_message: str = "Publish a gallery with visim",
    ) -> str:
        """Publish all four parts as a model repo on the Hub, by one commit; nothing is committed where they are there.

        The repo then holds these parts. Other files of visim in it go, such as figures of older weights; files of
        anybody else stay, and so does a card that somebody wrote or edited.

        Args:
            repo_id: "namespace/name"; the repo is made where there is none.
            private: make a new repo private.
            token: with write permission; by default the one that `hf auth login` left.
            revision: branch to commit to, which is made where there is none; by default the main one.
            create_pr: propose the commit as a pull request, for a repo of somebody else.
            commit_message: of the commit.

        Returns:
            The address of the repo, or of the pull request.

        Raises:
            RepositoryError: there is no token, the Hub refuses, or the repo has files that visim did not publish.
            WeightsError: a weight is beyond float16.
            GalleryError: an embedding is beyond float16.
        """
        namespace, slash, name = repo_id.partition("/")
        if not (namespace and slash and name):
            raise RepositoryError(f"{repo_id!r} is no repo id: write 'namespace/name'.", key="repo_id")
        repo = HubRepo(hub_client(token), repo_id)
        with TemporaryDirectory(prefix="visim-push-") as temporary:
            folder = Path(temporary) / "repo"
            with drafting(folder) as draft:
                self.write_files(draft)
                draft.write_card(
                    card_text(self.gallery, self.ood, self.network, match_probability=self.match_probability)
                )
            if warning := root_warning(self.gallery.image_root):
                _log.warning("%s Set gallery.image_root to an address before you publish it.", warning)
            return repo.send(
                folder,
                mark=EMBEDDINGS,
                owned=tuple(MANIFEST),
                keeps_edited_card=True,
                message=commit_message,
                private=private,
                revision=revision,
                create_pr=create_pr,
            )

    def write_files(self, draft: RepoDraft) -> None:
        """Write all four parts into a draft."""
        self.network.write_files(draft)
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
        return f"VisualSimilarity({type(self.model).__name__}, {len(self.gallery):,} pictures, on {self.device})"

    @property
    def model(self) -> Any:
        """Return the network itself: an `nn.Module` of torch, or what else computes it."""
        return getattr(self.network, "model", self.network)

    @property
    def device(self) -> str:
        """Return the device that the network computes on."""
        return self.network.device

    def to(self, device: str) -> Self:
        """Move the network to a device; return this pipeline.

        Raises:
            ConfigurationError: the network cannot compute there.
        """
        self.network.to(str(device))
        return self

    def search(
        self, image: ImageSource, *, top_k: int = 4, label: str | None = None, where: str | None = None
    ) -> SimilarityResult:
        """Find the pictures of the gallery that look most like a picture, and judge whether it is of their kind.

        Args:
            image: path, bytes, PIL image or (H, W, 3) uint8 RGB array.
            top_k: how many to find at most.
            label: find pictures with this label alone, which may be fewer; the verdict is by all.
            where: likewise those that a filter by columns lets through: 'price < 20000 and city == "Bonn"'.

        Raises:
            ImageDecodeError: it is not a picture, or not one that is safe to decode.
            QueryError: `top_k` is no whole number from 1 on, or the filter cannot be read.
            EngineError: the engine of the gallery does not answer within the deadline.

        Example:
            >>> [match.file_name for match in cars.search("photo.jpg", top_k=2).matches]
            ['suv/suv_0012.jpg', 'suv/suv_0841.jpg']
        """
        count = clamped_top_k(top_k, len(self.gallery))
        return self._search_pixels(self.processor(image)[None], count, label, where)[0]

    @overload
    def search_batch(
        self, images: Iterable[ImageSource], *, on_error: Literal["raise"] = ..., **asked: Unpack[_Asked]
    ) -> list[SimilarityResult]: ...
    @overload
    def search_batch(
        self, images: Iterable[ImageSource], *, on_error: Literal["skip"], **asked: Unpack[_Asked]
    ) -> list[SimilarityResult | VisimError]: ...
    def search_batch(
        self,
        images: Iterable[ImageSource],
        *,
        top_k: int = 4,
        label: str | None = None,
        where: str | None = None,
        on_error: str = "raise",
        progress: bool = False,
    ) -> list[SimilarityResult] | list[SimilarityResult | VisimError]:
        """Search with many pictures, embedded together; they are decoded while the network is at work on others.

        Args:
            images: paths, bytes, PIL images or (H, W, 3) uint8 RGB arrays.
            top_k: how many to find for each at most.
            label: find pictures with this label alone, which may be fewer; the verdicts are by all.
            where: likewise those that a filter by columns lets through.
            on_error: "raise" ends at the first picture that cannot be decoded; "skip" puts its error in its place.
            progress: show a progress bar.

        Returns:
            A `SimilarityResult` for each picture, in order; with "skip", a `VisimError` for one that cannot be decoded.

        Raises:
            ImageDecodeError: with "raise", one of them is not a picture, or not one that is safe to decode.
            QueryError: `top_k`, `where` or `on_error` does not fit, or `images` is one picture.

        Example:
            >>> results = cars.search_batch(["one.jpg", "two.jpg"], on_error="skip")
        """
        count = clamped_top_k(top_k, len(self.gallery))
        results: list[SimilarityResult | VisimError] = []
        for found in decode_pictures(images, self.processor, on_error=on_error, progress=progress):
            squares = [item for item in found if not isinstance(item, VisimError)]
            answers = iter(
                self._search_pixels(self.processor.normalize(np.stack(squares)), count, label, where) if squares else []
            )
            results += [item if isinstance(item, VisimError) else next(answers) for item in found]
        return results

    def _search_pixels(
        self, pixels: _Floats, count: int, label: str | None, where: str | None
    ) -> list[SimilarityResult]:
        measurements, embeddings, scores, indices = self._measure(pixels, self.gallery, count)
        if label is not None or where:
            scores, indices = self.gallery.search(embeddings, top_k=count, label=label, where=where)
        return [
            SimilarityResult(
                self.gallery.matches(*row, probability=self.match_probability),
                verdict,
                embedding,
                self.gallery.image_root,
                trusts_root=self.trusts_root,
            )
            for *row, verdict, embedding in zip(
                scores[:, :count],
                indices[:, :count],
                self.ood.verdicts(measurements, embeddings),
                embeddings,
                strict=True,
            )
        ]

    def _measure(
        self, pixels: _Floats, gallery: Gallery, top_k: int
    ) -> tuple[dict[str, _Floats], _Floats, _Floats, _Indices]:
        """Measure pictures, and find at least `top_k` neighbours, by one search for both."""
        embeddings = self.network.embed(pixels)  # (N, D)
        scores, indices = gallery.search(embeddings, top_k=max(top_k, NEIGHBOURS))  # (N, k)
        return measure(self.network, pixels, embeddings, scores), embeddings, scores, indices

    def nearest(
        self, embedding: _Floats, *, top_k: int = 4, label: str | None = None, where: str | None = None
    ) -> list[Match]:
        """Find the matches of an embedding, (D,); `label` and `where` as for `search`.

        Raises:
            QueryError: its width does not fit the gallery, or `top_k` is no whole number from 1 on.
        """
        scores, indices = self.gallery.search(np.asarray(embedding)[None], top_k=top_k, label=label, where=where)
        return self.gallery.matches(scores[0], indices[0], probability=self.match_probability)

    def embed(self, image: ImageSource) -> _Floats:
        """Embed a picture: its embedding, (D,) float32.

        Raises:
            ImageDecodeError: it is not a picture, or not one that is safe to decode.
        """
        return self.embed_batch([image])[0]  # type: ignore[no-any-return]

    def embed_batch(self, images: Iterable[ImageSource], *, progress: bool = False) -> _Floats:
        """Embed many pictures: (N, D) float32; they are decoded while the network is at work on others.

        Raises:
            ImageDecodeError: one of them is not a picture, or not one that is safe to decode.
            QueryError: `images` is one picture.

        Example:
            >>> cars.embed_batch(["one.jpg", "two.jpg"]).shape
            (2, 514)
        """
        parts = [np.empty((0, self.network.embedding_dim), np.float32)]
        for found in decode_pictures(images, self.processor, progress=progress):
            squares = [item for item in found if not isinstance(item, VisimError)]  # all of them
            parts.append(self.network.embed(self.processor.normalize(np.stack(squares))))
        return np.concatenate(parts)

    def classify(self, image: ImageSource) -> dict[str, float]:
        """Classify a picture: label -> probability, most probable first.

        Raises:
            ImageDecodeError: it is not a picture, or not one that is safe to decode.
            QueryError: the network is no classifier.

        Example:
            >>> cars.classify("photo.jpg")
            {'suv': 0.91, 'truck': 0.07, 'sedan': 0.01, 'coupe': 0.01}
        """
        return self.classify_embedding(self.embed(image))

    def classify_embedding(self, embedding: _Floats) -> dict[str, float]:
        """Classify a picture by its embedding, (D,): label -> probability, most probable first.

        Raises:
            QueryError: the network is no classifier, or its embeddings are of another width.
        """
        if not self.network.class_names:
            raise QueryError(f"A {type(self.model).__name__} has no classes: load a repo of a classifier.")
        width = self.network.embedding_dim
        if embedding.shape != (width,):
            raise QueryError(f"The embedding must be of shape ({width},), not {embedding.shape}.")
        logs = self.network.log_probabilities(embedding[None])[0]  # (C,)
        shares = dict(zip(self.network.class_names, np.exp(logs).tolist(), strict=True))
        return dict(sorted(shares.items(), key=lambda pair: -pair[1]))

    def reconstruct(self, image: ImageSource) -> _Bytes:
        """Encode and decode a picture: (S, S, 3) uint8, RGB.

        Raises:
            ImageDecodeError: it is not a picture, or not one that is safe to decode.
            QueryError: the model is no autoencoder.
        """
        return self._decode(self.network.embed(self.processor(image)[None]))

    def decode_gallery(self, file_name: str) -> _Bytes:
        """Decode a gallery picture from its own code: (S, S, 3) uint8, RGB.

        Raises:
            QueryError: the gallery has no such picture, or the model is no autoencoder.
        """
        return self._decode(self.gallery.embedding(file_name)[None])

    def _decode(self, codes: _Floats) -> _Bytes:
        pixels = self.processor.denormalize(self.network.decode(codes))[0]  # (3, S, S)
        return np.ascontiguousarray(pixels.transpose(1, 2, 0))  # (S, S, 3)
