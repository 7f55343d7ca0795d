"""The article's first weights, and a start from principal components that reconstructs before any training."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lab.training.autoencoder import principal_components_, xavier_
from visim_models import CarClassifier, ConvolutionalAutoencoder


def smooth_pictures(count: int, size: int, seed: int) -> Tensor:
    """(count, 3, size, size) in [-1, 1], with little detail: a few random numbers stretched over the square."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 3, 3, generator=generator) * 2 - 1
    return F.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=True)


def psnr(network: ConvolutionalAutoencoder, pixels: Tensor) -> float:
    with torch.inference_mode():
        return 10 * torch.log10(4 / F.mse_loss(network(pixels), pixels)).item()


def test_xavier_as_in_the_article() -> None:
    network = ConvolutionalAutoencoder(image_size=16, base_channels=8, latent_dim=64)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    torch.manual_seed(0)
    xavier_(network)
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            assert (module.bias == 0.01).all(), name
            fan = module.weight[0].numel() + module.weight.shape[0] * module.weight[0, 0].numel()
            bound = (6 / fan) ** 0.5
            assert module.weight.abs().max() <= bound
            assert module.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.15)
        elif isinstance(module, nn.ConvTranspose2d):
            assert torch.equal(module.weight, before[f"{name}.weight"]), name
            assert torch.equal(module.bias, before[f"{name}.bias"]), name


def test_xavier_leaves_batch_norms() -> None:
    network = CarClassifier()
    xavier_(network)
    assert (network.batchnorm_conv1.weight == 1).all()
    assert (network.batchnorm_conv1.bias == 0).all()
    assert (network.fc3.bias == 0.01).all()


@pytest.mark.parametrize(("size", "stages"), [(16, 1), (16, 2), (32, 3)])
def test_principal_components_reconstruct_before_training(size: int, stages: int) -> None:
    arguments = {"image_size": size, "stages": stages, "base_channels": 16, "latent_dim": 200}
    torch.manual_seed(0)
    random, started = ConvolutionalAutoencoder(**arguments).eval(), ConvolutionalAutoencoder(**arguments).eval()
    xavier_(random)
    principal_components_(started, smooth_pictures(300, size, seed=1))
    unseen = smooth_pictures(50, size, seed=2)
    assert psnr(started, unseen) > 25
    assert psnr(started, unseen) > psnr(random, unseen) + 12


def test_few_pictures_are_enough_to_start() -> None:
    network = ConvolutionalAutoencoder(image_size=16, base_channels=16, stages=1, latent_dim=100).eval()
    pixels = smooth_pictures(5, 16, seed=1)
    principal_components_(network, pixels)
    assert all(tensor.isfinite().all() for tensor in network.state_dict().values())
    assert psnr(network, pixels) > 20


def test_parameters_can_still_be_trained() -> None:
    network = ConvolutionalAutoencoder(image_size=16, base_channels=16, stages=1, latent_dim=100)
    pixels = smooth_pictures(64, 16, seed=1)
    principal_components_(network, pixels)
    assert all(parameter.requires_grad for parameter in network.parameters())
    F.mse_loss(network(pixels), pixels).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
