"""A network of timm is built by name alone, from nothing but its own arguments."""

from pathlib import Path

import pytest
import torch

from visim_models import ConfigurationError, TimmBackbone, WeightsError
from visim_models.models.torch_network import load_model
from visim_models.repo_folder import RepoFolder

timm = pytest.importorskip("timm")

SMALL = {"architecture": "test_vit", "image_size": 160}


def test_its_features_are_those_of_timm_without_the_classifier() -> None:
    torch.manual_seed(0)
    whole = timm.create_model("test_vit", num_classes=5).eval()
    model = TimmBackbone(**SMALL)
    model.take_timm_weights(whole.state_dict(), classes=5, name="weights")
    pixels = torch.randn(2, 3, 160, 160)
    with torch.inference_mode():
        expected = whole.forward_head(whole.forward_features(pixels), pre_logits=True)
        torch.testing.assert_close(model.eval()(pixels), expected)
    assert model.embedding_dim == expected.shape[1]


@pytest.mark.parametrize("architecture", ["test_vit", "test_efficientnet", "test_convnext"])
def test_round_trip(architecture: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = TimmBackbone(architecture=architecture, image_size=160, source="here", revision="1", license="mit").eval()
    model.save_pretrained(tmp_path)
    again = load_model(RepoFolder(tmp_path))
    assert again.config == model.config
    pixels = torch.randn(1, 3, 160, 160)
    with torch.inference_mode():
        torch.testing.assert_close(again.embed(pixels), model.embed(pixels), atol=2e-2, rtol=2e-2)  # float16 on disk


def test_arguments_give_a_network_its_shape() -> None:
    model = TimmBackbone(architecture="test_vit", image_size=64, arguments='{"img_size":64,"depth":2}')
    assert model(torch.zeros(1, 3, 64, 64)).shape == (1, model.embedding_dim)


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": "no_such_network"},
        {"architecture": "hf-hub:timm/test_vit.r160_in1k"},  # would ask the Hub
        {"architecture": "local-dir:."},
        {"arguments": '{"pretrained": true}'},
        {"arguments": '{"checkpoint_path": "x.pth"}'},
        {"arguments": '{"img_size": "large"}'},
        {"arguments": "{"},
        {"arguments": "[1]"},
    ],
    ids=str,
)
def test_networks_that_cannot_be(changes: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        TimmBackbone(**{**SMALL, **changes})


def test_weights_of_another_network_are_refused() -> None:
    other = timm.create_model("test_vit2", num_classes=5).state_dict()
    with pytest.raises(WeightsError, match="does not fit test_vit"):
        TimmBackbone(**SMALL).take_timm_weights(other, classes=5, name="weights")
