"""The network that answers gives the numbers of the network that was trained."""

import pytest
import torch
from torch import nn
from visim_models.inference import inference_network, pictures_at_once

from tests.builders import tiny_autoencoder
from visim_models import CarClassifier, CarFeatureExtractor, ConvolutionalAutoencoder


def used(kind: type[CarClassifier] | type[CarFeatureExtractor]) -> CarClassifier | CarFeatureExtractor:
    """A car network whose batch norms have statistics and scales of their own, as training leaves them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        model = kind()
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                nn.init.normal_(layer.running_mean, std=0.3)
                nn.init.uniform_(layer.running_var, 0.5, 2)
                nn.init.uniform_(layer.weight, 0.5, 2)
                nn.init.normal_(layer.bias, std=0.3)
        return model.eval()


@pytest.mark.parametrize("kind", [CarClassifier, CarFeatureExtractor])
def test_a_car_network_is_folded_and_gives_the_same(kind: type[CarClassifier] | type[CarFeatureExtractor]) -> None:
    model = used(kind)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    network = inference_network(model)
    assert not [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]
    pixels = torch.rand(3, 3, 100, 100, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        torch.testing.assert_close(network(pixels), model(pixels), rtol=1e-4, atol=1e-4)
        embeddings = model.embed(pixels)
        ours, theirs = network.strangeness(pixels, embeddings), model.strangeness(pixels, embeddings)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_an_autoencoder_gives_the_same() -> None:
    model = tiny_autoencoder()
    network = inference_network(model)
    assert isinstance(network, ConvolutionalAutoencoder)
    pixels = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        torch.testing.assert_close(network(pixels), model(pixels), rtol=1e-4, atol=1e-5)


def test_it_answers_only() -> None:
    model = used(CarFeatureExtractor).train()
    network = inference_network(model)
    assert model.training
    assert not network.training
    assert not any(weight.requires_grad for weight in network.parameters())
    assert all(weight.requires_grad for weight in model.parameters())


def test_large_pictures_go_through_in_smaller_batches() -> None:
    assert [pictures_at_once(size) for size in (8, 32, 100, 4096)] == [256, 156, 16, 1]
