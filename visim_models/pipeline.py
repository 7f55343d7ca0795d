"""The whole query: image -> tensor -> embedding -> neighbours -> verdict. This is the one module that knows it all."""

from collections.abc import Iterable
from typing import Literal, overload

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from visim_models.errors import QueryError, VisimError
from visim_models.gallery import Gallery
from visim_models.images.decode import ImageSource
from visim_models.measurements import NEIGHBOURS, Measured, measure
from visim_models.models import Classifier, ConvolutionalAutoencoder
from visim_models.models.embedding import decode_pictures, embed_pixels
from visim_models.search.index import checked_top_k
from visim_models.search.results import Match, SimilarityResult
from visim_models.stored_pipeline import StoredPipeline

__all__ = ["VisualSimilarity"]

Scores = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]


class VisualSimilarity(StoredPipeline):
    """A network, its processor, a gallery that it embedded, and a detector calibrated for it.

    The parts answer themselves: a change of `model` shows in the next query.

    Args:
        model: the network; its embeddings have the gallery's width.
        processor: makes the network's input.
        gallery: the pictures that a search can find.
        ood: judges the queries.
        match_probability: says how probable a match is a true one; None where that was not measured.

    Raises:
        ConfigurationError: the processor's pictures are of another size than the model's.
        GalleryMismatchError: the gallery is of another width than the model.
        QueryError: the detector needs a measurement that the model does not make, or is of another width.
    """

    def search(self, image: ImageSource, *, top_k: int = 4, label: str | None = None) -> SimilarityResult:
        """Find the pictures of the gallery that look most like a picture, and judge whether it is of their kind.

        Args:
            image: path, bytes, PIL image or (H, W, 3) uint8 RGB array.
            top_k: how many to find, 1 to the gallery's size.
            label: find pictures with this label alone, which may be fewer; the verdict is by all.

        Raises:
            ImageDecodeError: it is not a picture, or not one that is safe to decode.
            QueryError: `top_k` is beyond the gallery.
            EngineError: the engine of the gallery does not answer within the deadline.
        """
        return self.search_batch([image], top_k=top_k, label=label)[0]

    @overload
    def search_batch(
        self,
        images: Iterable[ImageSource],
        *,
        top_k: int = ...,
        label: str | None = ...,
        on_error: Literal["raise"] = ...,
        progress: bool = ...,
    ) -> list[SimilarityResult]: ...
    @overload
    def search_batch(
        self,
        images: Iterable[ImageSource],
        *,
        top_k: int = ...,
        label: str | None = ...,
        on_error: Literal["skip"],
        progress: bool = ...,
    ) -> list[SimilarityResult | VisimError]: ...
    def search_batch(
        self,
        images: Iterable[ImageSource],
        *,
        top_k: int = 4,
        label: str | None = None,
        on_error: str = "raise",
        progress: bool = False,
    ) -> list[SimilarityResult] | list[SimilarityResult | VisimError]:
        """Search with many pictures, embedded together; they are decoded while the network is at work on others.

        Args:
            images: paths, bytes, PIL images or (H, W, 3) uint8 RGB arrays.
            top_k: how many to find for each, 1 to the gallery's size.
            label: find pictures with this label alone, which may be fewer; the verdicts are by all.
            on_error: "raise" ends at the first picture that cannot be decoded; "skip" puts its error in its place.
            progress: show a progress bar.

        Returns:
            A `SimilarityResult` for each picture, in order; with "skip", a `VisimError` for one that cannot be decoded.

        Raises:
            ImageDecodeError: with "raise", one of them is not a picture, or not one that is safe to decode.
            QueryError: `top_k` is beyond the gallery, `on_error` is neither "raise" nor "skip", or `images` is one.
        """
        if on_error not in ("raise", "skip"):
            raise QueryError(f"on_error is {on_error!r}, but must be 'raise' or 'skip'.", key="on_error")
        if isinstance(images, str | bytes | bytearray):
            raise QueryError("search_batch takes a list of pictures: use search for one.", key="images")
        count = checked_top_k(top_k, len(self.gallery))
        results: list[SimilarityResult | VisimError] = []
        for found in decode_pictures(images, self.processor, progress=progress):
            squares = [item for item in found if not isinstance(item, VisimError)]
            if on_error == "raise":
                for number, item in enumerate(found, start=len(results)):
                    if isinstance(item, VisimError):
                        item.add_note(f"It is picture {number}, counted from 0.")
                        raise item
            answers = iter(
                self._search_pixels(self.processor.normalize(torch.stack(squares)), count, label) if squares else []
            )
            results += [item if isinstance(item, VisimError) else next(answers) for item in found]
        return results

    def nearest(self, embedding: npt.NDArray[np.float32], *, top_k: int = 4, label: str | None = None) -> list[Match]:
        """Find the matches of an embedding, (D,), of all pictures or of those with a label.

        Raises:
            QueryError: its width or `top_k` does not fit the gallery.
        """
        scores, indices = self.gallery.search(np.asarray(embedding)[None], top_k=top_k, label=label)
        return self.gallery.matches(scores[0], indices[0], probability=self.match_probability)

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
        self._check_classifier()
        return self.classify_embedding(self.embed(image))

    def classify_embedding(self, embedding: npt.NDArray[np.float32]) -> dict[str, float]:
        """Classify a picture by its embedding, (D,): label -> probability, most probable first.

        Raises:
            QueryError: the network is no classifier, or its embeddings are of another width.
        """
        model = self._check_classifier()
        if embedding.shape != (self.model.embedding_dim,):
            raise QueryError(f"The embedding must be of shape ({self.model.embedding_dim},), not {embedding.shape}.")
        with torch.inference_mode():
            logs = model.classify(torch.from_numpy(embedding)[None].to(self.device))[0]  # (C,)
        shares = dict(zip(model.class_names, logs.exp().tolist(), strict=True))
        return dict(sorted(shares.items(), key=lambda pair: -pair[1]))

    def _check_classifier(self) -> Classifier:
        if not isinstance(self.model, Classifier):
            raise QueryError(f"A {type(self.model).__name__} has no classes: load a repo of a classifier.")
        return self.model

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

    def _search_pixels(self, pixels: Tensor, count: int, label: str | None) -> list[SimilarityResult]:
        measured, scores, indices = self._measure(pixels, self.gallery, count)
        if label is not None:
            scores, indices = self.gallery.search(measured.embeddings, top_k=count, label=label)
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
        return self._decode(torch.from_numpy(self.gallery.embedding(file_name))[None])

    def _decode(self, codes: Tensor) -> npt.NDArray[np.uint8]:
        if not isinstance(self.model, ConvolutionalAutoencoder):
            raise QueryError(f"A {type(self.model).__name__} has no decoder: only an autoencoder's codes can be drawn.")
        with torch.inference_mode():
            pixels = self.processor.denormalize(self.model.decode(codes.to(self.device)))[0].cpu()  # (3, S, S)
        return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())
