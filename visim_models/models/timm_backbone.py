"""Any network of timm, without its head: a picture -> the features before the last layer.

"timm:NAME", "timm:hf-hub:namespace/name[@revision]" and "timm:local-dir:PATH" name one. timm keeps it as config.json,
with the architecture and the `pretrained_cfg` that says how its pictures are made, and model.safetensors. They become a
repo folder without a gallery, which loads again without timm's files and without a network. A pickle is never read.

Source: Wightman, "PyTorch Image Models", https://github.com/huggingface/pytorch-image-models; timm/models/_hub.py.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import torch
from huggingface_hub import metadata_load
from torch import Tensor

from visim_models.errors import ConfigurationError, MissingExtraError, RepositoryError, VisimError, WeightsError
from visim_models.models.base import PretrainedModel, as_tensors
from visim_models.processing import ImageProcessor
from visim_models.repo_folder import RepoFolder, drafting
from visim_models.repo_folder.formats import file_sha256, read_json, read_tensors
from visim_models.repo_folder.hub_repo import download_snapshot
from visim_models.repo_folder.manifest import CARD, CONFIG, WEIGHTS

__all__ = ["TimmBackbone", "timm_repo"]

_PREFIX: Final = "timm:"
_HUB: Final = "hf-hub:"
_LOCAL: Final = "local-dir:"
_RESAMPLE: Final = {"nearest": 0, "bilinear": 2, "random": 2, "bicubic": 3}
_REVISION_DIGITS: Final = 16
_CROP: Final = 0.875
"""Where a network says nothing of it, by timm."""

_converted: dict[str, TemporaryDirectory[str]] = {}
"""Repos that this process has made, by source; they go when it ends."""

_ARGUMENTS: Final = frozenset(
    {
        "depth", "depths", "dims", "embed_dim", "embed_dims", "global_pool", "img_size", "init_values", "layers",
        "mlp_ratio", "no_embed_class", "num_heads", "patch_size", "reg_tokens", "width_multiplier",
    }
)  # fmt: skip
"""Arguments of timm's networks that give them their shape. Others make timm read files."""


class TimmBackbone(PretrainedModel):
    """A network that timm builds, cut before its classifier.

    Args:
        architecture: timm's name of the network, such as "tf_efficientnet_lite0".
        image_size: side of the square pictures that it takes, in pixels.
        arguments: further arguments of the network, as a JSON object; "" for none.
        source: where the weights are from.
        revision: the exact version of the source; "" if it has none.
        license: SPDX id of the weights' licence; "" if unknown.

    Raises:
        MissingExtraError: timm is not installed.
        ConfigurationError: timm has no such network, or not with these arguments.
    """

    model_type = "timm-backbone"

    def __init__(
        self,
        *,
        architecture: str,
        image_size: int,
        arguments: str = "",
        source: str = "",
        revision: str = "",
        license: str = "",
    ) -> None:
        super().__init__(
            {
                "architecture": architecture,
                "image_size": image_size,
                "arguments": arguments,
                "source": source,
                "revision": revision,
                "license": license,
            }
        )
        self.network = _build(architecture, arguments, classes=0)
        self.image_size = image_size
        self.embedding_dim = int(getattr(self.network, "head_hidden_size", None) or self.network.num_features)

    def embed(self, pixels: Tensor) -> Tensor:
        """Embed pictures: (N, 3, S, S) pixels -> (N, D) features."""
        features: Tensor = self.network(pixels)
        return features

    def forward(self, pixels: Tensor) -> Tensor:
        """Embed pictures: (N, 3, S, S) pixels -> (N, D) features."""
        return self.embed(pixels)

    def take_timm_weights(self, tensors: dict[str, Tensor], *, classes: int, name: str) -> None:
        """Copy the weights of timm's network with its classifier; every one must be there, and no other.

        Args:
            tensors: the weights by timm's names.
            classes: of the classifier, which is left out.
            name: the file that messages name.

        Raises:
            WeightsError: they are not those of this network.
        """
        try:
            whole = _build(self.config["architecture"], self.config["arguments"], classes=classes)
            whole.load_state_dict(tensors, strict=True)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise WeightsError(f"{name} does not fit {self.config['architecture']} ({reason}).") from error
        whole.reset_classifier(0)
        self.load_weights({f"network.{key}": tensor for key, tensor in whole.state_dict().items()}, name=name)


def _build(architecture: str, arguments: str, *, classes: int) -> Any:
    """Build a network of timm with random weights; nothing is read or downloaded."""
    try:
        import timm
    except ImportError as error:
        raise MissingExtraError("timm", extra="timm", purpose="This network") from error
    if not timm.is_model(architecture):  # a name with a prefix would make timm ask the Hub
        raise ConfigurationError(f"timm has no network {architecture!r}: see timm.list_models().", key="architecture")
    try:
        given = json.loads(arguments) if arguments else {}
        if unknown := set(given) - _ARGUMENTS:
            raise ValueError(f"unknown arguments {sorted(unknown)}")
        return timm.create_model(architecture, pretrained=False, num_classes=classes, **given)
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        raise ConfigurationError(
            f"timm builds no network {architecture!r} with the arguments {arguments or 'none'} ({error}).",
            key="architecture",
        ) from error


@dataclass(frozen=True)
class _Files:
    """A network as timm keeps it.

    Attributes:
        folder: has config.json and model.safetensors.
        source: where it is from, without a path of this machine.
        revision: the exact version: a commit, or the beginning of the SHA-256 of the weights.
    """

    folder: Path
    source: str
    revision: str


def timm_repo(name: str) -> RepoFolder:
    """Return a network of timm as a repo folder, which is kept as long as this process runs.

    Args:
        name: "timm:" and the name of a network, a repo of the Hub, or a folder.

    Raises:
        MissingExtraError: timm is not installed.
        RepositoryError: there is no such repo or folder, or no network to ask.
        ConfigurationError: timm has no such network, or its pictures are made in a way that visim cannot.
        WeightsError: there are no safetensors, or they are not those of the network.
    """
    if name not in _converted:
        files = _find(name.removeprefix(_PREFIX))
        model, processor = _load(files)
        directory = TemporaryDirectory(prefix="visim-timm-")
        with drafting(directory.name) as draft:
            model.write_files(draft)
            processor.write_files(draft)
        _converted[name] = directory
    return RepoFolder(Path(_converted[name].name))


def _find(name: str) -> _Files:
    if name.startswith(_LOCAL):
        folder = Path(name.removeprefix(_LOCAL)).expanduser()
        if not folder.is_dir():
            raise RepositoryError(f"{folder} is no folder: give one with timm's config.json and model.safetensors.")
        return _Files(folder, folder.resolve().name, _weights_of(folder))
    if name.startswith(_HUB):
        return _download(name.removeprefix(_HUB))
    try:
        import timm
    except ImportError as error:
        raise MissingExtraError("timm", extra="timm", purpose="This network") from error
    if ":" in name or not timm.is_model(name.partition(".")[0]):
        raise ConfigurationError(
            f"timm has no network {name!r}: timm.list_models(pretrained=True) lists those that it has.", key="model"
        )
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        raise ConfigurationError(
            f"timm has no weights on the Hub for {name!r}: timm.list_models(pretrained=True) lists those that it has.",
            key="model",
        )
    return _download(config.hf_hub_id)


def _download(repo: str) -> _Files:
    repo_id, _, revision = repo.partition("@")
    folder = download_snapshot(repo_id, patterns=[CONFIG, WEIGHTS, CARD], revision=revision or None)
    _weights_of(folder)
    return _Files(folder, repo_id, folder.name)


def _weights_of(folder: Path) -> str:
    """Return the beginning of the SHA-256 of the weights."""
    if not (folder / WEIGHTS).is_file():
        raise WeightsError(
            f"{folder} has no {WEIGHTS}: visim reads no pickle. Save the network with safetensors.", path=folder
        )
    return file_sha256(folder / WEIGHTS)[:_REVISION_DIGITS]


def _load(files: _Files) -> tuple[TimmBackbone, ImageProcessor]:
    path = files.folder / CONFIG
    config = read_json(path)
    try:
        architecture, pretrained = config["architecture"], {**config["pretrained_cfg"]}
        classes = int(config.get("num_classes", pretrained.get("num_classes", 0)))
        processor = _processor(pretrained)
        arguments = {**(config.get("model_args") or {})}
        classes = int(arguments.pop("num_classes", classes))  # timm's own `save_for_hf` writes these two there as well
        if arguments.pop("in_chans", 3) != 3:
            raise ConfigurationError("model_args has in_chans that are not 3: visim makes pictures of three colours.")
        model = TimmBackbone(
            architecture=architecture,
            image_size=processor.size,
            arguments=json.dumps(arguments, separators=(",", ":")) if arguments else "",
            source=files.source,
            revision=files.revision,
            license=_license(files.folder, pretrained),
        )
    except VisimError as error:
        raise type(error)(f"{path}: {error}", path=path) from error
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{path} is not the configuration of a network of timm ({error!r}).", path=path
        ) from error
    model.take_timm_weights(
        as_tensors(read_tensors(files.folder / WEIGHTS)), classes=classes, name=str(files.folder / WEIGHTS)
    )
    return _checked(model.eval(), processor), processor


def _processor(config: Mapping[str, Any]) -> ImageProcessor:
    """Return the processor that makes pictures as a `pretrained_cfg` says."""
    channels, height, width = config["input_size"]
    if channels != 3 or height != width:
        raise ConfigurationError(f"input_size is {config['input_size']!r}: visim makes squares of three colours.")
    mode = config.get("crop_mode") or "center"
    if mode not in ("center", "squash"):
        raise ConfigurationError(f"crop_mode is {mode!r}: visim crops at the centre, or squashes.")
    return ImageProcessor(
        size=height,
        resample=_RESAMPLE[config.get("interpolation", "bicubic")],
        image_mean=tuple(config["mean"]),
        image_std=tuple(config["std"]),
        center_crop=float(config.get("crop_pct") or _CROP) if mode == "center" else None,
    )


def _license(folder: Path, config: Mapping[str, Any]) -> str:
    stated = config.get("license")
    if not stated and (folder / CARD).is_file():
        try:
            stated = (metadata_load(folder / CARD) or {}).get("license")
        except Exception:  # no YAML, or none that is a mapping
            stated = ""
    return stated if isinstance(stated, str) else ""


def _checked(model: TimmBackbone, processor: ImageProcessor) -> TimmBackbone:
    """Return the network, if it makes one vector of a picture of the processor's size."""
    blank = torch.zeros(1, 3, processor.size, processor.size)
    try:
        with torch.inference_mode():
            shape = tuple(model(blank).shape)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ConfigurationError(f"The network takes no pictures of {processor.size} pixels ({error}).") from error
    if shape != (1, model.embedding_dim):
        raise ConfigurationError(f"The network gives {shape} of a picture, not one vector: take another.")
    return model
