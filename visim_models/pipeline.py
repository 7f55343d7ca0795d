"""The whole query: image -> tensor -> embedding -> neighbours -> verdict. This is the one place that knows it all."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from visim_models import repository
from visim_models.autoencoder import ConvolutionalAutoencoder
from visim_models.car_classifier import CarFeatureExtractor
from visim_models.decoding import decoded_batches
from visim_models.errors import ConfigurationError, GalleryMismatchError, QueryError
from visim_models.gallery import Gallery
from visim_models.images import ImageSource
from visim_models.inference import inference_network, pictures_at_once
from visim_models.ood import Evidence, OutOfDistributionDetector
from visim_models.pretrained import CONFIG_FILE, WEIGHTS_FILE, PretrainedModel
from visim_models.processing import PROCESSOR_FILE, ImageProcessor
from visim_models.results import Match, SimilarityResult

__all__ = ["Match", "Observation", "SimilarityResult", "VisualSimilarity"]

MODEL_TYPES: dict[str, type[PretrainedModel]] = {
    model.model_type: model for model in (ConvolutionalAutoencoder, CarFeatureExtractor)
}

_NEIGHBOURS = 10
"""How many neighbours the detector's measurement `neighbour_distance` averages over."""


@dataclass(frozen=True)
class Observation:
    """What is seen of N pictures: their embeddings, and the measurements that a detector weighs.

    Attributes:
        embeddings: (N, D).
        evidence: name -> (N,).
    """

    embeddings: Tensor
    evidence: Evidence

    @classmethod
    def concatenate(cls, parts: Sequence["Observation"]) -> Self:
        """Several observations as one."""
        evidence = {name: torch.cat([part.evidence[name] for part in parts]) for name in parts[0].evidence}
        return cls(torch.cat([part.embeddings for part in parts]), evidence)


class VisualSimilarity:
    """A network, its processor, a gallery that it embedded, and a detector calibrated for it.

    Args:
        model: the network; its `embed` must give vectors of the gallery's width.
        processor: makes its input.
        gallery: what is searched.
        ood: judges the queries.

    Raises:
        ConfigurationError: the model does not take what the processor makes.
        GalleryMismatchError: the gallery is of another width than the model.
        QueryError: the detector needs what the model does not measure, or is of another width.
    """

    def __init__(
        self, model: PretrainedModel, processor: ImageProcessor, gallery: Gallery, ood: OutOfDistributionDetector
    ) -> None:
        self.model, self.processor, self.gallery, self.ood = model.eval(), processor, gallery, ood
        self._network = inference_network(model)
        self._check_parts()

    def _check_parts(self) -> None:
        """Send a black picture through all four: what does not fit is found now, not at the first query."""
        pixels = torch.zeros(1, 3, self.processor.size, self.processor.size)
        try:
            width = self.embed_pixels(pixels).shape[1]
        except RuntimeError as error:
            raise ConfigurationError(
                f"The model does not take the processor's {self.processor.size} x {self.processor.size} pictures: "
                f"{CONFIG_FILE} and {PROCESSOR_FILE} are not of one repo."
            ) from error
        if width != self.gallery.embeddings.shape[1]:
            raise GalleryMismatchError(
                f"The gallery's embeddings have {self.gallery.embeddings.shape[1]} numbers, the model's {width}: "
                "embed the gallery again with this model."
            )
        seen = self.observe(pixels)
        self.ood.score(seen.evidence, seen.embeddings)

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str],
        *,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        token: str | bool | None = None,
    ) -> Self:
        """All four parts from a folder or a Hub repo, checked against each other.

        Args: those of `visim_models.repository.resolve`.

        Raises:
            RepositoryError: the folder or repo cannot be had.
            ConfigurationError: a JSON file is missing, or has a missing, unknown or unfit key.
            WeightsError: a safetensors file is missing, damaged, or of another model.
            GalleryError: the gallery is damaged, or was made by other weights or another processor.
        """
        folder = repository.resolve(
            source, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only, token=token
        )
        model_type = repository.read_json(folder / CONFIG_FILE).get("model_type")
        if not isinstance(model_type, str) or model_type not in MODEL_TYPES:
            raise ConfigurationError(
                f"{folder / CONFIG_FILE}: model_type is {model_type!r}, but must be one of {sorted(MODEL_TYPES)}."
            )
        model = MODEL_TYPES[model_type].from_pretrained(folder)
        processor = ImageProcessor.load(folder)  # before its hash is asked for: so a missing file is named
        gallery = Gallery.load(
            folder,
            weights_sha256=repository.file_sha256(folder / WEIGHTS_FILE),
            processor_sha256=repository.file_sha256(folder / PROCESSOR_FILE),
        )
        return cls(model, processor, gallery, OutOfDistributionDetector.load(folder))

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write all four parts as a new folder in the place of `folder`.

        The weights are rounded to float16; the gallery is marked as theirs.

        Raises:
            RepositoryError: the place cannot be written.
            WeightsError, GalleryError: a value is beyond float16.
        """
        with repository.replacing_folder(Path(folder)) as staged:
            self.write_files(staged)

    def write_files(self, folder: Path) -> None:
        """Write all four parts into an existing folder."""
        self.model.write_files(folder)
        self.processor.write_files(folder)
        self.gallery.weights_sha256 = repository.file_sha256(folder / WEIGHTS_FILE)
        self.gallery.processor_sha256 = repository.file_sha256(folder / PROCESSOR_FILE)
        self.gallery.write_files(folder)
        self.ood.write_files(folder)

    def search(self, image: ImageSource, *, top_k: int = 4) -> SimilarityResult:
        """The pictures of the gallery that look most like one picture, and the verdict on it.

        Args:
            image: path, bytes, PIL image or (H, W, 3) uint8 array.
            top_k: how many, 1 to the gallery's size.

        Raises:
            ImageDecodeError: it is not a picture, or not one that is safe to decode.
            QueryError: `top_k` is beyond the gallery.
        """
        return self.search_batch([image], top_k=top_k)[0]

    def search_batch(self, images: Sequence[ImageSource], *, top_k: int = 4) -> list[SimilarityResult]:
        """`search` of several pictures, embedded together. Arguments and errors are those of `search`."""
        count = self.gallery.checked_top_k(top_k)
        results: list[SimilarityResult] = []
        for pixels in self._batches(images):
            seen, scores, places = self._look(pixels, self.gallery, count)
            verdicts = self.ood.verdicts(seen.evidence, seen.embeddings)
            results += [
                SimilarityResult(self._matches(*row), verdict, embedding)
                for *row, verdict, embedding in zip(
                    scores[:, :count], places[:, :count], verdicts, seen.embeddings.numpy(), strict=True
                )
            ]
        return results

    def nearest(self, embedding: npt.NDArray[np.float32], *, top_k: int = 4) -> list[Match]:
        """The matches of an embedding, (D,), that is known already.

        Raises:
            QueryError: its width or `top_k` does not fit the gallery.
        """
        scores, places = self.gallery.search(np.asarray(embedding)[None], top_k=top_k)
        return self._matches(scores[0], places[0])

    def embed(self, image: ImageSource) -> npt.NDArray[np.float32]:
        """One picture -> its embedding, (D,) float32.

        Raises:
            ImageDecodeError: it is not a picture, or not one that is safe to decode.
        """
        embedding: npt.NDArray[np.float32] = self.embed_batch([image])[0]
        return embedding

    def embed_batch(self, images: Sequence[ImageSource]) -> npt.NDArray[np.float32]:
        """Several pictures -> their embeddings, (N, D) float32; decoded while the network is at work on others.

        Raises:
            ImageDecodeError: one of them is not a picture, or not one that is safe to decode.
        """
        parts = [self.embed_pixels(pixels).numpy() for pixels in self._batches(images)]
        return np.concatenate([np.empty((0, self.gallery.embeddings.shape[1]), np.float32), *parts])

    def embed_pixels(self, pixels: Tensor) -> Tensor:
        """(N, 3, S, S) processed pictures -> (N, D) embeddings."""
        with torch.inference_mode():
            return self._network.embed(pixels).float()

    def observe(self, pixels: Tensor, *, gallery: Gallery | None = None) -> Observation:
        """What a detector sees of (N, 3, S, S) processed pictures, compared with `gallery` (by default the own one)."""
        return self._look(pixels, gallery or self.gallery, 1)[0]

    def _batches(self, images: Sequence[ImageSource]) -> Iterator[Tensor]:
        """The pictures in batches of (n, 3, S, S), as the network takes them."""
        at_once = pictures_at_once(self.processor.size)
        for pixels in decoded_batches(images, self.processor, at_once=at_once):
            yield self.processor.normalize(pixels)

    def _look(
        self, pixels: Tensor, searched: Gallery, top_k: int
    ) -> tuple[Observation, npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """What `observe` and `Gallery.search` give, with at least `top_k` neighbours, from one search for both."""
        with torch.inference_mode():
            embeddings = self._network.embed(pixels).float()  # (N, D)
            own = self._network.strangeness(pixels, embeddings)
        scores, places = searched.search(embeddings, top_k=min(max(top_k, _NEIGHBOURS), len(searched)))  # (N, k)
        cosines = torch.from_numpy(scores[:, :_NEIGHBOURS])
        evidence = {
            "top_distance": 1 - cosines[:, 0],
            "neighbour_distance": 1 - cosines.mean(dim=1),
            "embedding_norm": -embeddings.norm(dim=1).clamp(min=1e-6).log(),
            **{name: values.float() for name, values in own.items()},
        }
        return Observation(embeddings, evidence), scores, places

    def reconstruct(self, image: ImageSource) -> npt.NDArray[np.uint8]:
        """What the code keeps of a picture: (S, S, 3) uint8, RGB.

        Raises:
            ImageDecodeError: it is not a picture, or not one that is safe to decode.
            QueryError: the model is no autoencoder.
        """
        return self._decode(self.embed_pixels(self.processor(image)[None]))

    def decode_gallery(self, file_name: str) -> npt.NDArray[np.uint8]:
        """A gallery picture as drawn from its own code: (S, S, 3) uint8, RGB.

        Raises:
            QueryError: the gallery has no such picture, or the model is no autoencoder.
        """
        return self._decode(torch.from_numpy(self.gallery.embeddings[self.gallery.place(file_name)])[None])

    def _decode(self, codes: Tensor) -> npt.NDArray[np.uint8]:
        if not isinstance(self._network, ConvolutionalAutoencoder):
            raise QueryError(f"A {type(self.model).__name__} has no decoder: only an autoencoder's codes can be drawn.")
        with torch.inference_mode():
            pixels = self.processor.denormalize(self._network.decode(codes))[0]  # (3, S, S)
        return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())

    def _matches(self, scores: npt.NDArray[Any], places: npt.NDArray[Any]) -> list[Match]:
        names, labels = self.gallery.file_names, self.gallery.labels
        return [Match(names[p], labels[p], float(s)) for s, p in zip(scores, places.tolist(), strict=True)]
