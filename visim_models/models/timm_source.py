"""Networks of timm as repos of visim: "timm:NAME", "timm:hf-hub:namespace/name[@revision]", "timm:local-dir:PATH".

timm keeps a network as config.json, with the architecture and the `pretrained_cfg` that says how its pictures are made,
and model.safetensors. They become a repo folder without a gallery, which loads again without timm's files and without a
network. A pickle (pytorch_model.bin) is never read.

Source of the form: timm/models/_hub.py of https://github.com/huggingface/pytorch-image-models.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeGuard

import torch
from huggingface_hub import metadata_load

from visim_models.errors import ConfigurationError, MissingExtraError, RepositoryError, VisimError, WeightsError
from visim_models.models.base import as_tensors
from visim_models.models.timm_backbone import TimmBackbone
from visim_models.processing import ImageProcessor
from visim_models.repo_folder import RepoFolder, drafting
from visim_models.repo_folder.formats import file_sha256, read_json, read_tensors
from visim_models.repo_folder.hub_repo import download_snapshot
from visim_models.repo_folder.manifest import CARD, CONFIG, WEIGHTS

__all__ = ["is_timm_name", "timm_repo"]

_PREFIX: Final = "timm:"
_HUB: Final = "hf-hub:"
_LOCAL: Final = "local-dir:"
_RESAMPLE: Final = {"nearest": 0, "bilinear": 2, "random": 2, "bicubic": 3}
_REVISION_DIGITS: Final = 16
_CROP: Final = 0.875
"""Where a network says nothing of it, by timm."""

_converted: dict[str, TemporaryDirectory[str]] = {}
"""Repos that this process has made, by source; they go when it ends."""


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


def is_timm_name(source: object) -> TypeGuard[str]:
    """Return whether a source of a network names one of timm."""
    return isinstance(source, str) and source.startswith(_PREFIX)
