"""The autoencoder has the first article's layers, names and numbers, and other sizes by its configuration."""

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.article import ArticleAutoencoder
from tests.builders import TINY_NETWORK, tiny_autoencoder
from visim_models import ConfigurationError, ConvolutionalAutoencoder, Decoder, Encoder
from visim_models.measurements import measure_network
from visim_models.models import TorchNetwork


@pytest.fixture(scope="module")
def default() -> ConvolutionalAutoencoder:
    return ConvolutionalAutoencoder().eval()


def test_names_and_shapes_are_the_articles(default: ConvolutionalAutoencoder) -> None:
    ours = {name: tuple(tensor.shape) for name, tensor in default.state_dict().items()}
    assert ours == {name: tuple(tensor.shape) for name, tensor in ArticleAutoencoder().state_dict().items()}
    assert next(iter(ours)) == "encoder.net.0.weight"
    assert list(ours)[-1] == "decoder.conv.10.bias"


def test_layers_by_hand(default: ConvolutionalAutoencoder) -> None:
    convolutions = [layer for layer in default.encoder.net if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [16, 16, 32, 32, 64, 64]
    assert [layer.stride[0] for layer in convolutions] == [1, 1, 2, 1, 2, 1]
    assert isinstance(default.encoder.net[-1], nn.ReLU)
    assert not isinstance(default.decoder.conv[-1], nn.ReLU)


def test_weights_go_both_ways_and_give_the_same_numbers(default: ConvolutionalAutoencoder) -> None:
    article, ours = ArticleAutoencoder().eval(), ConvolutionalAutoencoder().eval()
    ours.load_weights(article.state_dict())
    pixels = torch.rand(3, 3, 32, 32) * 2 - 1
    with torch.inference_mode():
        torch.testing.assert_close(ours(pixels), article(pixels), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(ours.encode(pixels), article.encoder(pixels), rtol=1e-5, atol=1e-6)
        article.load_state_dict(default.state_dict(), strict=True)
        torch.testing.assert_close(default(pixels), article(pixels), rtol=1e-5, atol=1e-6)


def test_the_three_calls(default: ConvolutionalAutoencoder) -> None:
    pixels = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        codes = default.encode(pixels)
        assert codes.shape == (2, 1000)
        assert (codes >= 0).all()
        assert default.decode(codes).shape == (2, 3, 32, 32)
        assert torch.equal(default(pixels), default.decode(codes))
        assert torch.equal(default.embed(pixels), codes)


@pytest.mark.parametrize(
    ("image_size", "stages", "in_channels", "latent_dim"), [(8, 1, 3, 5), (64, 3, 3, 20), (12, 2, 1, 7), (32, 5, 3, 9)]
)
def test_other_sizes(image_size: int, stages: int, in_channels: int, latent_dim: int) -> None:
    network = ConvolutionalAutoencoder(
        image_size=image_size, stages=stages, in_channels=in_channels, latent_dim=latent_dim, base_channels=2
    )
    pixels = torch.rand(2, in_channels, image_size, image_size)
    assert network.encode(pixels).shape == (2, latent_dim)
    assert network(pixels).shape == pixels.shape


def test_the_reconstruction_error_is_the_mean_squared_error() -> None:
    network, pixels = tiny_autoencoder(), torch.rand(3, 3, 8, 8)
    with torch.inference_mode():
        codes = network.encode(pixels)
        (name, errors), = measure_network(TorchNetwork(network), pixels.numpy(), codes.numpy()).items()  # fmt: skip
        by_hand = [((network(pixels)[index] - pixels[index]) ** 2).mean() for index in range(3)]
    assert name == "reconstruction_error"
    np.testing.assert_allclose(errors, torch.stack(by_hand), rtol=1e-5)


@pytest.mark.parametrize("key", sorted(TINY_NETWORK))
@pytest.mark.parametrize("value", [0, -1])
def test_sizes_must_be_positive(key: str, value: int) -> None:
    with pytest.raises(ConfigurationError, match=key):
        ConvolutionalAutoencoder(**{**TINY_NETWORK, key: value})


def test_the_side_must_be_divisible() -> None:
    with pytest.raises(ConfigurationError, match=r"multiple of 2 \*\* 3"):
        ConvolutionalAutoencoder(image_size=36, stages=3)


def test_arguments_are_keyword_only() -> None:
    for network in (Encoder, Decoder, ConvolutionalAutoencoder):
        with pytest.raises(TypeError):
            network(32)  # type: ignore[misc]
