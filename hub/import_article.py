"""Turn the weights file of either article (a state dict saved by torch) and a folder of pictures into a repo folder.

The file is read with weights_only, so that nothing in it is run. Colours, scale and resizing become those of the
article's own code: the car project reads BGR and divides by 255, the autoencoder RGB normalized by 0.5 and 0.5, and
OpenCV's resize does not average over the area.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from visim_models import CarFeatureExtractor, ConvolutionalAutoencoder, ImageProcessor
from visim_models.errors import DataError, WeightsError
from visim_models.galleries import BuildReport, build
from visim_models.models import PretrainedModel
from visim_models.repo_folder import drafting
from visim_models.repo_folder.manifest import SKIPPED

__all__ = ["KINDS", "add_arguments", "import_article", "read_state_dict", "run"]

KINDS: Final = ("car", "autoencoder")
_MAX_BYTES: Final = 512 * 2**20

_PROCESSORS: Final = {
    "car": ImageProcessor(
        size=100, antialias=False, image_mean=(0.0, 0.0, 0.0), image_std=(1.0, 1.0, 1.0), do_flip_channel_order=True
    ),
    "autoencoder": ImageProcessor(size=32, antialias=False),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `python -m hub import-article`."""
    parser.add_argument("--kind", choices=KINDS, required=True, help="which article's network it is")
    parser.add_argument("--weights", type=Path, required=True, help="the .pt file with the state dict")
    parser.add_argument("--images", type=Path, required=True, help="pictures of the gallery: folder or zip")
    parser.add_argument("--image-root", help="where the pictures can be fetched from later; by default --images itself")
    parser.add_argument("--features", type=Path, help="the article's pickle of features: refused, with the reason")
    parser.add_argument("--out", type=Path, required=True, help="the repo folder to write")


def run(options: argparse.Namespace) -> None:
    """Import as the options say."""
    if options.features is not None:
        raise DataError(
            f"{options.features} is not read: a pickle is a program, which could do anything on this machine while it "
            "is loaded. Leave --features out; the gallery is embedded again from --images, with the same result."
        )
    report = import_article(options.kind, options.weights, options.images, options.out, image_root=options.image_root)
    print(f"{options.out}: {report.pictures:,} pictures, embedded by the article's own weights")
    if report.skipped:
        print(f"{len(report.skipped):,} left out, with the reasons in {options.out / SKIPPED}")


def import_article(
    kind: str, weights: Path, images: Path, out: Path, *, image_root: str | None = None, progress: bool = True
) -> BuildReport:
    """Write a repo folder that sees pictures as the article's own code does.

    Args:
        kind: car or autoencoder.
        weights: the state dict.
        images: folder or zip of pictures for the gallery; they calibrate the detector, too.
        out: the repo folder: new, empty, or one that was imported from the same weights.
        image_root: kept with the gallery; by default `images`.
        progress: show progress bars.

    Raises:
        WeightsError: the file is no state dict, or not of this network.
        VisimError: the pictures or the output cannot be used.
    """
    if kind not in KINDS:
        raise DataError(f"{kind!r} is no network of the articles: choose one of {list(KINDS)}.")
    model: PretrainedModel = CarFeatureExtractor() if kind == "car" else ConvolutionalAutoencoder()
    model.load_weights(read_state_dict(weights), name=str(weights))
    with tempfile.TemporaryDirectory(prefix="visim-import-") as name:
        repo = Path(name) / weights.stem
        with drafting(repo) as draft:
            model.write_files(draft)
            _PROCESSORS[kind].write_files(draft)
        return build(images, out, model=repo, image_root=image_root, progress=progress)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a state dict that torch saved, by name; nothing in the file is run.

    Raises:
        WeightsError: the file is missing, too large, or holds anything else than a state dict.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise WeightsError(f"{path} is larger than {_MAX_BYTES:,} bytes: it is no network of the articles.")
        found = torch.load(path, map_location="cpu", weights_only=True)
    except WeightsError:
        raise
    except FileNotFoundError as error:
        raise WeightsError(f"There is no {path}: name the article's .pt file.") from error
    except Exception as error:  # the restricted reader raises a dozen kinds on what it refuses or cannot read
        raise WeightsError(
            f"{path} is not a state dict that can be read without running code ({' '.join(str(error).split())[:160]}). "
            "Save it again with torch.save(model.state_dict(), ...)."
        ) from error
    if not isinstance(found, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in found.items()
    ):
        raise WeightsError(f"{path} holds no state dict (name -> tensor): save model.state_dict(), not the model.")
    return {key: value.detach() for key, value in found.items()}
