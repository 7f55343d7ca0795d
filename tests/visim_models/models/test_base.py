"""Networks are saved and loaded strictly: all or nothing."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.builders import TINY_NETWORK, edit_json, files_of, tiny_autoencoder
from visim_models import (
    CarFeatureExtractor,
    ConfigurationError,
    ConvolutionalAutoencoder,
    VisimError,
    WeightsError,
)
from visim_models.models.torch_network import TorchNetwork
from visim_models.repo_folder import formats
from visim_models.repo_folder.manifest import CONFIG, WEIGHTS

FIRST = "encoder.net.0.weight"


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    tiny_autoencoder().save_pretrained(tmp_path / "repo")
    return tmp_path / "repo"


def rewrite(folder: Path, **changes: Tensor | None) -> None:
    """Replace weights (`None` takes one out); double underscores stand for dots."""
    tensors = formats.read_tensors(folder / WEIGHTS)
    tensors.update({name.replace("__", "."): each.numpy() for name, each in changes.items() if each is not None})
    gone = {name.replace("__", ".") for name, tensor in changes.items() if tensor is None}
    kept = {name: tensor for name, tensor in tensors.items() if name not in gone}
    formats.write_tensors(folder / WEIGHTS, kept)


def test_round_trip(saved: Path) -> None:
    model = ConvolutionalAutoencoder.from_pretrained(saved)
    assert model.config == TINY_NETWORK
    assert not model.training
    for name, tensor in tiny_autoencoder().state_dict().items():
        assert model.state_dict()[name].dtype == torch.float32
        assert torch.equal(model.state_dict()[name], tensor.half().float())


def test_saving_again_gives_the_same_bytes(saved: Path, tmp_path: Path) -> None:
    assert sorted(files_of(saved)) == [CONFIG, WEIGHTS]
    ConvolutionalAutoencoder.from_pretrained(saved).save_pretrained(tmp_path / "again")
    assert files_of(tmp_path / "again") == files_of(saved)


def test_weights_are_float16_on_disk(saved: Path) -> None:
    assert {tensor.dtype for tensor in formats.read_tensors(saved / WEIGHTS).values()} == {np.dtype(np.float16)}
    whole = 2 * sum(tensor.numel() for tensor in tiny_autoencoder().state_dict().values())
    assert whole < (saved / WEIGHTS).stat().st_size < whole + 4000


def test_loading_changes_no_random_numbers_and_needs_none(saved: Path) -> None:
    torch.manual_seed(3)
    first = ConvolutionalAutoencoder.from_pretrained(saved).state_dict()
    torch.manual_seed(4)
    second = ConvolutionalAutoencoder.from_pretrained(saved).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


@contextmanager
def torch_defaults(dtype: torch.dtype, device: str) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
        torch.set_default_device(None)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_torchs_defaults_change_no_network(saved: Path, dtype: torch.dtype, device: str) -> None:
    pixels = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    expected = TorchNetwork(ConvolutionalAutoencoder.from_pretrained(saved)).embed(pixels)
    with torch_defaults(dtype, device):
        network = TorchNetwork(ConvolutionalAutoencoder.from_pretrained(saved))
        found = network.embed(pixels)
        network.decode(found)
        assert torch.get_default_dtype() == dtype
    assert {(each.dtype, each.device.type) for each in network.model.parameters()} == {(torch.float32, "cpu")}
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_a_network_of_another_type_is_asked_in_its_own(saved: Path, dtype: torch.dtype) -> None:
    network = TorchNetwork(ConvolutionalAutoencoder.from_pretrained(saved))
    pixels = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    expected = network.embed(pixels)
    network.model.to(dtype)
    found = network.embed(pixels)
    assert (found.dtype, network.decode(found).dtype) == (np.float32, np.float32)
    np.testing.assert_allclose(found, expected, atol=0.05)


NOT_WHOLE = {
    "missing": ({FIRST: None}, "lacks"),
    "unexpected": ({"extra.weight": torch.ones(1)}, "unexpected"),
    "renamed": ({FIRST: None, "encoder.net.00.weight": torch.ones(4, 3, 3, 3)}, "lacks"),
    "transposed": ({FIRST: torch.ones(3, 4, 3, 3)}, "has shape"),
    "broadcast": ({FIRST: torch.ones(1, 3, 3, 3)}, "has shape"),
    "NaN": ({FIRST: torch.full((4, 3, 3, 3), float("nan"))}, "not finite"),
    "infinity": ({FIRST: torch.full((4, 3, 3, 3), float("inf"))}, "not finite"),
    "beyond float32": ({FIRST: torch.full((4, 3, 3, 3), 1e300, dtype=torch.float64)}, "not finite"),
    "whole numbers": ({FIRST: torch.ones(4, 3, 3, 3, dtype=torch.int64)}, "wrong type"),
    "complex": ({FIRST: torch.ones(4, 3, 3, 3, dtype=torch.complex64)}, "wrong type"),
}


@pytest.mark.parametrize(("changes", "message"), NOT_WHOLE.values(), ids=NOT_WHOLE.keys())
def test_weights_that_do_not_fit(changes: dict[str, Tensor | None], message: str, saved: Path) -> None:
    rewrite(saved, **changes)
    with pytest.raises(WeightsError, match=message) as caught:
        ConvolutionalAutoencoder.from_pretrained(saved)
    assert str(saved / WEIGHTS) in str(caught.value)


@pytest.mark.parametrize("fault", ["unexpected", "infinity"])
def test_nothing_is_half_loaded(fault: str) -> None:
    changes, message = NOT_WHOLE[fault]
    model = tiny_autoencoder(seed=1)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    offered = {**tiny_autoencoder(seed=2).state_dict(), **{k: v for k, v in changes.items() if v is not None}}
    offered = {name: tensor for name, tensor in offered.items() if changes.get(name, tensor) is not None}
    with pytest.raises(WeightsError, match=message):
        model.load_weights(offered)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn])
def test_weights_of_any_float_type(dtype: torch.dtype) -> None:
    model, weights = tiny_autoencoder(seed=1), tiny_autoencoder(seed=2).state_dict()
    model.load_weights({name: tensor.to(dtype) for name, tensor in weights.items()})
    assert torch.equal(model.state_dict()[FIRST], weights[FIRST].to(dtype).float())


def test_a_statistic_must_not_be_a_float(tmp_path: Path) -> None:
    extractor = CarFeatureExtractor()
    weights = dict(extractor.state_dict())
    assert weights["batchnorm_conv1.num_batches_tracked"].dtype == torch.int64
    with pytest.raises(WeightsError, match="num_batches_tracked"):
        extractor.load_weights({**weights, "batchnorm_conv1.num_batches_tracked": torch.tensor(1.0)})


def test_a_message_does_not_list_every_weight() -> None:
    with pytest.raises(WeightsError, match=r"batchnorm_conv1\.bias.* and \d+ more: it is not of a CarF") as caught:
        CarFeatureExtractor().load_weights(dict(tiny_autoencoder().state_dict()))
    assert len(str(caught.value)) < 300


def test_a_variance_must_not_be_negative() -> None:
    extractor = CarFeatureExtractor()
    weights = dict(extractor.state_dict())
    variances = weights["batchnorm_conv3.running_var"].clone()
    variances[5] = -1e-3
    with pytest.raises(WeightsError, match=r"batchnorm_conv3\.running_var has negative values"):
        extractor.load_weights({**weights, "batchnorm_conv3.running_var": variances})
    variances[5] = 0
    extractor.load_weights({**weights, "batchnorm_conv3.running_var": variances})


BAD_CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "missing key": ({"stages": ...}, "lacks.*stages"),
    "no model_type": ({"model_type": ...}, "lacks.*model_type"),
    "unknown key": ({"dropout": 1}, "unknown keys.*dropout"),
    "another network": ({"model_type": "car-classifier"}, "car-classifier"),
    "type of no text": ({"model_type": 3}, "loads a"),
    "text": ({"stages": "1"}, "stages"),
    "float": ({"stages": 1.0}, "stages"),
    "true": ({"stages": True}, "stages"),
    "null": ({"latent_dim": None}, "latent_dim"),
    "list": ({"image_size": [8, 8]}, "image_size"),
    "zero": ({"latent_dim": 0}, "latent_dim"),
    "negative": ({"base_channels": -4}, "base_channels"),
    "enormous": ({"latent_dim": 10**400}, "latent_dim"),
    "many stages": ({"stages": 2**14}, "cannot be halved"),
    "more memory than there is": (
        {"image_size": 2**14, "base_channels": 16, "stages": 1, "latent_dim": 2**14}, "image_size|parameters",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), BAD_CONFIGS.values(), ids=BAD_CONFIGS.keys())
def test_configurations_that_do_not_fit(changes: dict[str, Any], message: str, saved: Path) -> None:
    edit_json(saved / CONFIG, **changes)
    with pytest.raises(ConfigurationError, match=message) as caught:
        ConvolutionalAutoencoder.from_pretrained(saved)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("content", [b"\x80\x02}q\x00.", b"PK\x03\x04" + b"\0" * 60, b""])
def test_a_pickle_in_place_of_the_weights(content: bytes, saved: Path) -> None:
    (saved / WEIGHTS).write_bytes(content)
    with pytest.raises(WeightsError, match="no pickle"):
        ConvolutionalAutoencoder.from_pretrained(saved)


def test_a_network_beyond_float16_is_not_half_written(saved: Path) -> None:
    before = files_of(saved)
    model = tiny_autoencoder()
    with torch.no_grad():
        model.encoder.net[0].bias.fill_(1e5)  # type: ignore[union-attr, operator]
    with pytest.raises(WeightsError, match=r"encoder\.net\.0\.bias"):
        model.save_pretrained(saved)
    assert files_of(saved) == before


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 12) | st.integers(2**20) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.dictionaries(st.sampled_from(["model_type", *TINY_NETWORK, "other"]), JSON, max_size=2))
def test_fuzzed_configuration(changes: dict[str, Any]) -> None:
    config = {"model_type": ConvolutionalAutoencoder.model_type, **TINY_NETWORK, **changes}
    try:
        ConvolutionalAutoencoder.from_config(json.loads(json.dumps(config)))
    except VisimError:
        pass
    else:
        assert config.keys() == {"model_type", *TINY_NETWORK}
