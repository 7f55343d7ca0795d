"""Networks of timm by name: from a folder, or from a Hub that runs here. No pickle, nothing but what the files say."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.builders import drawn_picture, edit_json, write_pictures
from visim_models import (
    ConfigurationError,
    ImageProcessor,
    RepositoryError,
    VisimError,
    VisualSimilarity,
    WeightsError,
)
from visim_models.galleries import build
from visim_models.models.timm_backbone import _find, _load, _processor, timm_repo
from visim_models.models.torch_network import load_model

timm = pytest.importorskip("timm")


def write_timm(folder: Path, **changes: Any) -> Path:
    """A network as timm's own `save_for_hf_hub` keeps it."""
    torch.manual_seed(0)
    folder.mkdir(parents=True)
    network = timm.create_model("test_vit", num_classes=7)
    config = {"architecture": "test_vit", "num_classes": 7, "pretrained_cfg": {**network.pretrained_cfg, **changes}}
    (folder / "config.json").write_text(json.dumps(config))
    save_file(network.state_dict(), folder / "model.safetensors")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_timm(tmp_path / "vit")


def test_its_configuration_makes_the_processor(folder: Path) -> None:
    repo = timm_repo(f"timm:local-dir:{folder}")
    assert ImageProcessor.load(repo) == ImageProcessor(
        size=160, resample=3, image_mean=(0.5, 0.5, 0.5), image_std=(0.5, 0.5, 0.5), center_crop=0.95
    )
    config = load_model(repo).config
    assert (config["source"], config["license"], len(config["revision"])) == ("vit", "apache-2.0", 16)


@pytest.mark.parametrize("saved_as", [{}, {"model_args": {"num_classes": 7, "in_chans": 3}}])
def test_what_timm_itself_saves(saved_as: dict[str, Any], tmp_path: Path) -> None:
    from timm.models import save_for_hf

    network = timm.create_model("test_efficientnet", num_classes=7, in_chans=3).eval()
    save_for_hf(network, tmp_path / "own", safe_serialization=True, **saved_as)
    repo = timm_repo(f"timm:local-dir:{tmp_path / 'own'}")
    pixels = torch.rand(1, 3, 160, 160)
    with torch.inference_mode():
        expected = network.forward_head(network.forward_features(pixels), pre_logits=True)
        torch.testing.assert_close(load_model(repo).embed(pixels), expected, rtol=2e-2, atol=2e-2)  # float16
    edit_json(tmp_path / "own" / "config.json", model_args={"in_chans": 1})
    with pytest.raises(ConfigurationError, match="in_chans"):
        _load(_find(f"local-dir:{tmp_path / 'own'}"))


NAMED = [
    "vit_small_patch14_dinov2.lvd142m",
    "vit_small_patch16_224.dino",
    "tf_efficientnet_lite0.in1k",
    "test_vit.r160_in1k",
]


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("size", [(640, 427), (333, 500), (150, 150)])
def test_pictures_are_made_as_timm_evaluates(name: str, size: tuple[int, int]) -> None:
    """To two levels of 255: cropping half a pixel beside costs up to 0.05 of the cosine."""
    from timm.data import create_transform, resolve_data_config

    config = timm.get_pretrained_cfg(name).to_dict()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = create_transform(**resolve_data_config(pretrained_cfg=config))
    picture = Image.fromarray(drawn_picture(3, size=640)).resize(size)
    processor = _processor(config)
    levels = np.abs(processor(picture) - theirs(picture).numpy()) * np.array(processor.image_std)[:, None, None] * 255
    assert levels.max() <= 2.01


def test_a_squashed_network_is_not_cropped(tmp_path: Path) -> None:
    folder = write_timm(tmp_path / "squashed", crop_mode="squash")
    assert ImageProcessor.load(timm_repo(f"timm:local-dir:{folder}")).center_crop is None


def test_a_gallery_of_it_needs_timms_files_no_more(folder: Path, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "pictures", 4)
    build(pictures, tmp_path / "mine", model=f"timm:local-dir:{folder}", progress=False)
    for path in (*folder.iterdir(), folder):
        path.unlink() if path.is_file() else path.rmdir()
    mine = VisualSimilarity.from_pretrained(tmp_path / "mine")
    name = mine.gallery.file_names[3]
    assert mine.search(pictures / name, top_k=1).matches[0].file_name == name
    assert "vit" in (tmp_path / "mine" / "README.md").read_text()
    build(pictures, tmp_path / "mine", progress=False)  # with its own network


def without(folder: Path, name: str) -> None:
    (folder / name).unlink()


BAD: dict[str, Any] = {
    "no weights": (lambda folder: without(folder, "model.safetensors"), WeightsError, "no pickle"),
    "no configuration": (lambda folder: without(folder, "config.json"), ConfigurationError, "config.json"),
    "no network of timm": (lambda f: edit_json(f / "config.json", architecture="none"), ConfigurationError, "none"),
    "a name that asks the Hub": (
        lambda f: edit_json(f / "config.json", architecture="hf-hub:a/b"), ConfigurationError, "hf-hub",
    ),
    "another network": (lambda f: edit_json(f / "config.json", architecture="test_vit2"), WeightsError, "does not fit"),
    "no pretrained_cfg": (lambda f: edit_json(f / "config.json", pretrained_cfg=...), ConfigurationError, "pretrained"),
    "a list": (lambda f: edit_json(f / "config.json", pretrained_cfg=[1]), ConfigurationError, "configuration"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD.values(), ids=BAD.keys())
def test_files_that_cannot_be_used(case: Any, folder: Path) -> None:
    change, error, message = case
    change(folder)
    with pytest.raises(error, match=message):
        timm_repo(f"timm:local-dir:{folder}")


@pytest.mark.parametrize(
    "changes",
    [{"input_size": (3, 160, 96)}, {"input_size": (1, 160, 160)}, {"crop_mode": "border"}, {"interpolation": "lanczos"},
     {"crop_pct": 7}, {"mean": (0.5,)}],
    ids=str,
)  # fmt: skip
def test_pictures_that_visim_cannot_make(changes: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(VisimError):
        timm_repo(f"timm:local-dir:{write_timm(tmp_path / 'x', **changes)}")


def test_names_that_lead_nowhere(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no network"):
        timm_repo("timm:no_such_network")
    with pytest.raises(RepositoryError, match="no folder"):
        timm_repo(f"timm:local-dir:{tmp_path / 'none'}")
    with pytest.raises(ConfigurationError, match="no network"):
        timm_repo("timm:somewhere:else")
