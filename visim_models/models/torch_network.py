"""The networks of torch by the `model_type` of config.json, and each of them as a `Network`."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from visim_models.errors import ConfigurationError, QueryError
from visim_models.models.autoencoder import ConvolutionalAutoencoder
from visim_models.models.base import Classifier, PretrainedModel
from visim_models.models.car_classifier import CarFeatureExtractor
from visim_models.models.cifar10_classifier import Cifar10Classifier
from visim_models.models.network import Floats
from visim_models.models.timm_backbone import TimmBackbone
from visim_models.repo_folder import RepoDraft, RepoFolder
from visim_models.repo_folder.formats import one_line
from visim_models.repo_folder.manifest import CONFIG

__all__ = ["MODEL_TYPES", "TorchNetwork", "device_of", "keep_freed_memory", "load_model", "prepared"]

_LARGEST_DYNAMIC_BLOCK: Final = 2**25 - 2**14
"""Just below glibc's DEFAULT_MMAP_THRESHOLD_MAX."""

_Model = TypeVar("_Model", bound=PretrainedModel)
_Batch = TypeVar("_Batch")
_Result = TypeVar("_Result")


MODEL_TYPES: dict[str, type[PretrainedModel]] = {
    model.model_type: model
    for model in (ConvolutionalAutoencoder, CarFeatureExtractor, Cifar10Classifier, TimmBackbone)
}
"""`model_type` -> the network that a pipeline loads for it."""


class TorchNetwork:
    """A network of torch, asked in evaluation mode and without gradients. A change of the model shows in the next call.

    Args:
        model: the network; its weights are laid out for convolutions, in place.
    """

    def __init__(self, model: PretrainedModel) -> None:
        self.model = prepared(model)

    @property
    def model_type(self) -> str:
        """Return the name of the network in config.json."""
        return self.model.model_type

    @property
    def config(self) -> Mapping[str, Any]:
        """Return the arguments that the network was built with."""
        return self.model.config

    @property
    def image_size(self) -> int:
        """Return the side of the pictures that it takes, in pixels."""
        return self.model.image_size

    @property
    def embedding_dim(self) -> int:
        """Return D, the length of its embeddings."""
        return self.model.embedding_dim

    @property
    def class_names(self) -> list[str]:
        """Return the C names of the classes; none where it is no classifier."""
        return list(self.model.class_names) if isinstance(self.model, Classifier) else []

    @property
    def can_decode(self) -> bool:
        """Return whether it draws a picture from an embedding."""
        return isinstance(self.model, ConvolutionalAutoencoder)

    @property
    def device(self) -> str:
        """Return the device that it computes on."""
        return str(device_of(self.model))

    def to(self, device: str) -> Self:
        """Move the network to a device; return it.

        Raises:
            ConfigurationError: torch has no such device here.
        """
        try:
            self.model.to(device)
        except (RuntimeError, AssertionError, TypeError) as error:
            raise ConfigurationError(
                f"The network cannot compute on device {str(device)!r}: {one_line(error)}", key="device"
            ) from error
        return self

    def embed(self, pixels: Floats) -> Floats:
        """Embed (N, 3, S, S) processed pictures: (N, D) float32."""
        return self._ask(self.model.embed, pixels)

    def log_probabilities(self, embeddings: Floats) -> Floats:
        """Classify (N, D) embeddings: (N, C) log-probabilities.

        Raises:
            QueryError: the network is no classifier.
        """
        if not isinstance(self.model, Classifier):
            raise QueryError(f"A {type(self.model).__name__} has no classes: load a repo of a classifier.")
        return self._ask(self.model.classify, embeddings)

    def decode(self, codes: Floats) -> Floats:
        """Decode (N, D) codes: (N, 3, S, S), on the scale that the network takes.

        Raises:
            QueryError: the network is no autoencoder.
        """
        if not isinstance(self.model, ConvolutionalAutoencoder):
            raise QueryError(f"A {type(self.model).__name__} has no decoder: only an autoencoder's codes can be drawn.")
        return self._ask(self.model.decode, codes)

    def _ask(self, work: Callable[[Tensor], Tensor], rows: Floats) -> Floats:
        if self.model.training:
            self.model.eval()
        weight = next(self.model.parameters(), torch.empty(0))
        with torch.inference_mode():
            given = torch.from_numpy(
                np.require(rows, np.float32, ["C", "W"])
            )  # torch warns of memory that it may not write
            found: Floats = work(given.to(weight.device, weight.dtype)).float().cpu().numpy()
        return found

    def map_batches(self, work: Callable[[_Batch], _Result], batches: Iterable[_Batch]) -> Iterator[_Result]:
        """Apply a function that asks this network to many batches, in their order; on the CPU to several at once.

        Threads that compute one batch together wait for each other after each layer, and one of them is held up
        whenever pictures are decoded beside. So there are as many batches at work as torch has threads, each with one
        thread.

        Args:
            work: of a batch.
            batches: taken as they are needed.

        Yields:
            The result of each batch.
        """
        threads = torch.get_num_threads()
        if device_of(self.model).type != "cpu" or threads == 1:
            yield from map(work, batches)
            return
        keep_freed_memory()
        ahead: deque[Future[_Result]] = deque()
        pool = ThreadPoolExecutor(
            threads, thread_name_prefix="visim-embed", initializer=torch.set_num_threads, initargs=(1,)
        )
        try:
            for batch in batches:
                ahead.append(pool.submit(work, batch))
                if len(ahead) > threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)  # what threads that start later are given

    def write_files(self, draft: RepoDraft) -> None:
        """Write config.json and model.safetensors into a draft."""
        self.model.write_files(draft)


def prepared(model: _Model) -> _Model:
    """Prepare a network to embed, in place; return it."""
    # oneDNN's convolutions are faster with the channels last.
    return model.eval().to(memory_format=torch.channels_last)


def device_of(model: PretrainedModel) -> torch.device:
    """Return the device that a network computes on."""
    return next((weight.device for weight in model.parameters()), torch.device("cpu"))


def keep_freed_memory() -> None:
    """Let glibc keep the memory of a network's activations from batch to batch, up to 64 MiB.

    Freed memory goes back to the system where more than twice the largest block that was ever freed (of up to 32 MiB)
    is free, and is faulted in again: with batches of 16 car photographs, a fifth of the time. One block of nearly that
    size, freed untouched, raises the limit for the rest of the process. Other allocators are not affected.
    """
    torch.empty(_LARGEST_DYNAMIC_BLOCK, dtype=torch.uint8)


def load_model(repo: RepoFolder) -> PretrainedModel:
    """Load the network of a repo folder, on the CPU, in float32 and evaluation mode.

    Raises:
        ConfigurationError: config.json is missing, names no network of visim, or has a missing, unknown or wrong key.
        WeightsError: model.safetensors is missing, damaged, or of another network.
    """
    model_type = repo.json(CONFIG).get("model_type")
    if not isinstance(model_type, str) or model_type not in MODEL_TYPES:
        raise ConfigurationError(
            f"{repo / CONFIG}: model_type is {model_type!r}, but must be one of {sorted(MODEL_TYPES)}.",
            path=repo / CONFIG,
            key="model_type",
        )
    return MODEL_TYPES[model_type].from_pretrained(repo)
