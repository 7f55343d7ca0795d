"""The whole query: image -> tensor -> embedding -> neighbours -> verdict. This is the one module that knows it all."""

import os
from collections.abc import Iterable
from typing import Literal, Self, overload

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from visim_models.embedding import decode_pictures, device_of, embed_pixels, prepared
from visim_models.errors import ConfigurationError, GalleryMismatchError, QueryError, VisimError
from visim_models.gallery import Gallery
from visim_models.images import ImageSource
from visim_models.measurements import NEIGHBOURS, Measured, measure, names_for
from visim_models.models import (
    CarClassifier,
    CarFeatureExtractor,
    ConvolutionalAutoencoder,
    PretrainedModel,
    load_model,
)
from visim_models.ood import OutOfDistributionDetector
from visim_models.processing import ImageProcessor
from visim_models.repo_folder import RepoDraft, RepoFolder, drafting
from visim_models.repo_folder.manifest import CONFIG, PROCESSOR, WEIGHTS
from visim_models.results import Match, SimilarityResult

__all__ = ["VisualSimilarity"]

Scores = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]


class VisualSimilarity:
    """A network, its processor, a gallery that it embedded, and a detector calibrated for it.

    The parts answer themselves: a change of `model` shows in the next query.

    Args:
        model: the network; its embeddings have the gallery's width.
        processor: makes the network's input.
        gallery: the pictures that a search can find.
        ood: judges the queries.

    Raises:
        ConfigurationError: the processor's pictures are of another size than the model's.
        GalleryMismatchError: the gallery is of another width than the model.
        QueryError: the detector needs a measurement that the model does not make, or is of another width.
    """

    def __init__(
        self, model: PretrainedModel, processor: ImageProcessor, gallery: Gallery, ood: OutOfDistributionDetector
    ) -> None:
        self.model = prepared(model)
        self.processor, self.gallery, self.ood = processor, gallery, ood
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
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        token: str | bool | None = None,
    ) -> Self:
        """Load all four parts from a folder or a Hub repo, and check them against each other.

        Args:
            source: a folder, "namespace/repo" on the Hub, a short name such as "car-extractor", or an open repo folder.
            device: where the network computes.
            revision: branch, tag or commit of the Hub repo.
            cache_dir: folder for downloaded snapshots; by default huggingface_hub's own.
            local_files_only: use the cache alone and do not ask the network.
            token: for private or gated repos; by default the one that `hf auth login` left.

        Raises:
            RepositoryError: the folder or repo cannot be found or downloaded.
            ConfigurationError: a JSON file is missing, or has a missing, unknown or wrong key.
            WeightsError: a safetensors file is missing, damaged, or of another model.
            GalleryError: the gallery is damaged, or was made by other weights or another processor.
        """
        repo = RepoFolder.find(
            source, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only, token=token
        )
        model = load_model(repo)
        processor = ImageProcessor.load(repo)  # before its hash is needed, so that a missing file is named
        gallery = Gallery.load(repo, weights_sha256=repo.sha256(WEIGHTS), processor_sha256=repo.sha256(PROCESSOR))
        return cls(model, processor, gallery, OutOfDistributionDetector.load(repo)).to(device)

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

    def write_files(self, draft: RepoDraft) -> None:
        """Write all four parts into a draft."""
        self.model.write_files(draft)
        self.processor.write_files(draft)
        self.gallery.weights_sha256 = draft.sha256(WEIGHTS)
        self.gallery.processor_sha256 = draft.sha256(PROCESSOR)
        self.gallery.write_files(draft)
        self.ood.write_files(draft)

    @property
    def device(self) -> torch.device:
        """Return the device that the network computes on."""
        return device_of(self.model)

    def to(self, device: str | torch.device) -> Self:
        """Move the network to a device; return this pipeline."""
        self.model.to(device)
        return self

    def search(self, image: ImageSource, *, top_k: int = 4) -> SimilarityResult:
        """Find the pictures of the gallery that look most like a picture, and judge whether it is of their kind.

        Args:
            image: path, bytes, PIL image or (H, W, 3) uint8 RGB array.
            top_k: how many to find, 1 to the gallery's size.

        Raises:
            ImageDecodeError: it is not a picture, or not one that is safe to decode.
            QueryError: `top_k` is beyond the gallery.
        """
        return self.search_batch([image], top_k=top_k)[0]

    @overload
    def search_batch(
        self, images: Iterable[ImageSource], *, top_k: int = ..., on_error: Literal["raise"] = ..., progress: bool = ...
    ) -> list[SimilarityResult]: ...
    @overload
    def search_batch(
        self, images: Iterable[ImageSource], *, top_k: int = ..., on_error: Literal["skip"], progress: bool = ...
    ) -> list[SimilarityResult | VisimError]: ...
    def search_batch(
        self, images: Iterable[ImageSource], *, top_k: int = 4, on_error: str = "raise", progress: bool = False
    ) -> list[SimilarityResult] | list[SimilarityResult | VisimError]:
        """Search with many pictures, embedded together; they are decoded while the network is at work on others.

        Args:
            images: paths, bytes, PIL images or (H, W, 3) uint8 RGB arrays.
            top_k: how many to find for each, 1 to the gallery's size.
            on_error: "raise" ends at the first picture that cannot be decoded; "skip" puts its error in its place.
            progress: show a progress bar.

        Returns:
            A `SimilarityResult` for each picture, in order; with "skip", a `VisimError` for one that cannot be decoded.

        Raises:
            ImageDecodeError: with "raise", one of them is not a picture, or not one that is safe to decode.
            QueryError: `top_k` is beyond the gallery, or `on_error` is neither "raise" nor "skip".
        """
        if on_error not in ("raise", "skip"):
            raise QueryError(f"on_error is {on_error!r}, but must be 'raise' or 'skip'.", key="on_error")
        count = self.gallery.index.checked_top_k(top_k)
        results: list[SimilarityResult | VisimError] = []
        for found in decode_pictures(images, self.processor, progress=progress):
            squares = [item for item in found if not isinstance(item, VisimError)]
            if on_error == "raise" and len(squares) < len(found):
                raise next(item for item in found if isinstance(item, VisimError))
            answers = iter(
                self._search_pixels(self.processor.normalize(torch.stack(squares)), count) if squares else []
            )
            results += [item if isinstance(item, VisimError) else next(answers) for item in found]
        return results

    def nearest(self, embedding: npt.NDArray[np.float32], *, top_k: int = 4) -> list[Match]:
        """Find the matches of an embedding, (D,).

        Raises:
            QueryError: its width or `top_k` does not fit the gallery.
        """
        scores, indices = self.gallery.search(np.asarray(embedding)[None], top_k=top_k)
        return self.gallery.matches(scores[0], indices[0])

    def embed(self, image: ImageSource) -> npt.NDArray[np.float32]:
        """Embed a picture: its embedding, (D,) float32.

        Raises:
            ImageDecodeError: it is not a picture, or not one that is safe to decode.
        """
        embedding: npt.NDArray[np.float32] = self.embed_batch([image])[0]
        return embedding

    def embed_batch(self, images: Iterable[ImageSource], *, progress: bool = False) -> npt.NDArray[np.float32]:
        """Embed many pictures: (N, D) float32; they are decoded while the network is at work on others.

        Raises:
            ImageDecodeError: one of them is not a picture, or not one that is safe to decode.
        """
        parts = [np.empty((0, self.model.embedding_dim), np.float32)]
        for found in decode_pictures(images, self.processor, progress=progress):
            for item in found:
                if isinstance(item, VisimError):
                    raise item
            squares = torch.stack([item for item in found if isinstance(item, Tensor)])  # (n, 3, S, S)
            parts.append(self.embed_pixels(self.processor.normalize(squares)).numpy())
        return np.concatenate(parts)

    def classify(self, image: ImageSource) -> dict[str, float]:
        """Classify a picture: label -> probability, most probable first.

        Raises:
            ImageDecodeError: it is not a picture, or not one that is safe to decode.
            QueryError: the network is no classifier.
        """
        if not isinstance(self.model, CarClassifier | CarFeatureExtractor):
            raise QueryError(f"A {type(self.model).__name__} has no classes: load a repo of a classifier.")
        with torch.inference_mode():
            logs = self.model.classify(torch.from_numpy(self.embed(image))[None].to(self.device))[0]  # (C,)
        shares = dict(zip(self.model.class_names, logs.exp().tolist(), strict=True))
        return dict(sorted(shares.items(), key=lambda pair: -pair[1]))

    def embed_pixels(self, pixels: Tensor) -> Tensor:
        """Embed processed pictures: (N, 3, S, S) -> (N, D) float32 on the CPU."""
        return embed_pixels(self.model, pixels)

    def measure(self, pixels: Tensor, *, gallery: Gallery | None = None) -> Measured:
        """Embed (N, 3, S, S) processed pictures and measure them against a gallery, by default the pipeline's own."""
        return self._measure(pixels, gallery or self.gallery, 1)[0]

    def _measure(self, pixels: Tensor, gallery: Gallery, top_k: int) -> tuple[Measured, Scores, Indices]:
        """Measure pictures, and find at least `top_k` neighbours, by one search for both."""
        embeddings = self.embed_pixels(pixels)  # (N, D)
        scores, indices = gallery.search(embeddings, top_k=min(max(top_k, NEIGHBOURS), len(gallery)))  # (N, k)
        values = measure(self.model, pixels.to(self.device), embeddings, torch.from_numpy(scores))
        return Measured(embeddings, values), scores, indices

    def _search_pixels(self, pixels: Tensor, count: int) -> list[SimilarityResult]:
        measured, scores, indices = self._measure(pixels, self.gallery, count)
        return [
            SimilarityResult(self.gallery.matches(*row), verdict, embedding)
            for *row, verdict, embedding in zip(
                scores[:, :count],
                indices[:, :count],
                self.ood.verdicts(measured),
                measured.embeddings.numpy(),
                strict=True,
            )
        ]

    def reconstruct(self, image: ImageSource) -> npt.NDArray[np.uint8]:
        """Encode and decode a picture: (S, S, 3) uint8, RGB.

        Raises:
            ImageDecodeError: it is not a picture, or not one that is safe to decode.
            QueryError: the model is no autoencoder.
        """
        return self._decode(self.embed_pixels(self.processor(image)[None]))

    def decode_gallery(self, file_name: str) -> npt.NDArray[np.uint8]:
        """Decode a gallery picture from its own code: (S, S, 3) uint8, RGB.

        Raises:
            QueryError: the gallery has no such picture, or the model is no autoencoder.
        """
        return self._decode(torch.from_numpy(self.gallery.embeddings[self.gallery.index_of(file_name)])[None])

    def _decode(self, codes: Tensor) -> npt.NDArray[np.uint8]:
        if not isinstance(self.model, ConvolutionalAutoencoder):
            raise QueryError(f"A {type(self.model).__name__} has no decoder: only an autoencoder's codes can be drawn.")
        with torch.inference_mode():
            pixels = self.processor.denormalize(self.model.decode(codes.to(self.device)))[0].cpu()  # (3, S, S)
        return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())
