"""Networks of timm by name: from a folder, or from a Hub that runs here. No pickle, nothing but what the files say."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.builders import edit_json, write_pictures
from visim_models import (
    ConfigurationError,
    ImageProcessor,
    RepositoryError,
    VisimError,
    VisualSimilarity,
    WeightsError,
)
from visim_models.galleries import build
from visim_models.models.timm_source import is_timm_name, timm_repo
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
    assert is_timm_name("timm:resnet50")
    assert not is_timm_name(tmp_path)
