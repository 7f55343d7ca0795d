"""One processor makes every tensor: resizing, channel order, normalising, and a strict preprocessor_config.json."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.builders import drawn_picture, edit_json, write_part
from tests.processes import ROOT
from visim_models import ConfigurationError, ImageProcessor, VisimError
from visim_models.repo_folder import RepoFolder
from visim_models.repo_folder.formats import file_sha256, write_json
from visim_models.repo_folder.manifest import PROCESSOR, PROCESSOR_KEYS

PLAIN = ImageProcessor(size=4, image_mean=(0.0, 0.0, 0.0), image_std=(1.0, 1.0, 1.0))


def test_the_articles_scale_by_hand() -> None:
    picture = np.array([[[0, 51, 255], [255, 0, 102]], [[10, 20, 30], [255, 255, 255]]], np.uint8)
    tensor = ImageProcessor(size=2)(picture)
    assert tensor.shape == (3, 2, 2)
    assert tensor.dtype == np.float32
    np.testing.assert_allclose(tensor.transpose(1, 2, 0), picture / 127.5 - 1, atol=1e-6)


def test_bgr_for_the_car_articles_weights() -> None:
    picture = np.zeros((2, 2, 3), np.uint8)
    picture[..., 0] = 255  # red
    processor = ImageProcessor(
        size=2, image_mean=(0.0, 0.0, 0.0), image_std=(1.0, 1.0, 1.0), do_flip_channel_order=True
    )
    tensor = processor(picture)
    assert tensor[:, 0, 0].tolist() == [0, 0, 1]
    assert processor.denormalize(tensor)[:, 0, 0].tolist() == [255, 0, 0]


def test_mean_and_std_are_in_the_networks_order() -> None:
    processor = ImageProcessor(
        size=1, image_mean=(0.1, 0.2, 0.3), image_std=(1.0, 2.0, 4.0), do_flip_channel_order=True
    )
    tensor = processor(np.array([[[255, 0, 0]]], np.uint8))[:, 0, 0]
    np.testing.assert_allclose(tensor, [-0.1 / 1, -0.2 / 2, 0.7 / 4], atol=1e-6)


@pytest.mark.parametrize("shape", [(9, 30), (30, 9), (4, 4), (1, 1)])
def test_sides_are_scaled_apart(shape: tuple[int, int]) -> None:
    tensor = PLAIN(np.full((*shape, 3), 102, np.uint8))
    assert tensor.shape == (3, 4, 4)
    np.testing.assert_allclose(tensor, 0.4, rtol=1e-6)


def test_antialias_averages_and_its_lack_does_not() -> None:
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::8] = 255  # an eighth is white
    averaged = PLAIN(stripes)
    sampled = ImageProcessor(size=4, antialias=False, image_mean=(0.0,) * 3, image_std=(1.0,) * 3)(stripes)
    assert abs(averaged.mean().item() - 1 / 8) < 0.01
    assert abs(sampled.mean().item() - 1 / 8) > 0.05


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize(("resample", "mode"), [(2, "bilinear"), (3, "bicubic")])
@pytest.mark.parametrize("shape", [(480, 640), (31, 7), (8, 200), (1, 1), (2, 3)])
def test_the_pixels_are_torchs_to_a_level(shape: tuple[int, int], resample: int, mode: str, antialias: bool) -> None:
    array = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    pixels = torch.from_numpy(array).permute(2, 0, 1)[None]
    pixels = pixels if antialias else pixels.float()  # of bytes, torch rounds its weights coarsely without antialias
    theirs = F.interpolate(pixels, (24, 24), mode=mode, align_corners=False, antialias=antialias)[0].clamp(0, 255)
    ours = ImageProcessor(size=24, resample=resample, antialias=antialias).resize(Image.fromarray(array))
    assert np.abs(ours - theirs.numpy().astype(np.float32)).max() <= 1


def test_nearest_invents_no_colour() -> None:
    picture = drawn_picture(3)
    picture[...] = np.where(picture > 127, 255, 0)
    tensor = ImageProcessor(size=7, resample=0, image_mean=(0.0,) * 3, image_std=(1.0,) * 3)(picture)
    assert set(tensor.ravel().tolist()) <= {0.0, 1.0}


def test_denormalize_is_the_inverse_and_clamps() -> None:
    processor = ImageProcessor(size=48)
    picture = drawn_picture(1)
    assert np.array_equal(processor.denormalize(processor(picture)).transpose(1, 2, 0), picture)
    assert set(processor.denormalize(np.full((3, 1, 1), 9.0, np.float32)).ravel()) == {255}
    assert set(processor.denormalize(np.full((3, 1, 1), -9.0, np.float32)).ravel()) == {0}


@pytest.mark.parametrize(
    "processor",
    [
        ImageProcessor(size=100),
        ImageProcessor(
            size=32, resample=3, antialias=False, image_mean=(0.0, 0.1, 0.2), image_std=(1.0, 2.0, 3.0),
            rescale_factor=1.0, do_flip_channel_order=True,
        ),
    ],
)  # fmt: skip
def test_round_trip(processor: ImageProcessor, tmp_path: Path) -> None:
    write_part(processor, tmp_path)
    assert ImageProcessor.load(RepoFolder(tmp_path)) == processor
    first = (tmp_path / PROCESSOR).read_bytes()
    write_part(ImageProcessor.load(RepoFolder(tmp_path)), tmp_path)
    assert (tmp_path / PROCESSOR).read_bytes() == first


def test_keys_are_those_of_the_field() -> None:
    values = ImageProcessor(size=100).to_dict()
    assert values["size"] == {"height": 100, "width": 100}
    assert {"resample", "rescale_factor", "image_mean", "image_std", "do_flip_channel_order"} < set(values)


BAD_VALUES = [
    ("size", 32),
    ("size", {"height": 32}),
    ("size", {"height": 32, "width": 31}),
    ("size", {"height": 32, "width": 32, "depth": 3}),
    ("size", {"height": 0, "width": 0}),
    ("size", {"height": True, "width": True}),
    ("size", {"height": 32.0, "width": 32.0}),
    ("size", {"height": 100_000, "width": 100_000}),
    ("resample", 1),
    ("resample", "bilinear"),
    ("resample", [2]),
    ("antialias", 1),
    ("do_flip_channel_order", "no"),
    ("rescale_factor", 0),
    ("rescale_factor", None),
    ("rescale_factor", float("nan")),
    ("rescale_factor", float("inf")),
    ("rescale_factor", 10**400),
    ("image_mean", 0.5),
    ("image_mean", "0.5"),
    ("image_mean", [0.5, 0.5]),
    ("image_mean", [0.5, 0.5, "0.5"]),
    ("image_mean", [0.5, 0.5, 10**400]),
    ("image_std", [0.5, 0.0, 0.5]),
    ("image_std", [0.5, float("nan"), 0.5]),
    ("image_std", [True, True, True]),
    ("image_std", {}),
    ("do_resize", False),
    ("image_processor_type", "CLIPImageProcessor"),
    ("crop_pct", 0.9),
    ("crop_size", {"height": 32, "width": 32}),
]


@pytest.mark.parametrize(("key", "value"), BAD_VALUES, ids=lambda part: str(part)[:30])
def test_values_that_do_not_fit(key: str, value: Any, tmp_path: Path) -> None:
    write_part(ImageProcessor(size=32), tmp_path)
    edit_json(tmp_path / PROCESSOR, **{key: value})
    with pytest.raises(ConfigurationError, match=f"{key}|no finite number|do_center_crop"):
        ImageProcessor.load(RepoFolder(tmp_path))


@pytest.mark.parametrize("key", PROCESSOR_KEYS[:7])
def test_each_key_must_be_there(key: str, tmp_path: Path) -> None:
    write_part(ImageProcessor(size=32), tmp_path)
    edit_json(tmp_path / PROCESSOR, **{key: ...})
    with pytest.raises(ConfigurationError, match=f"{key}|no finite number"):
        ImageProcessor.load(RepoFolder(tmp_path))


def test_a_file_of_an_earlier_version_is_read_and_has_the_same_hash(tmp_path: Path) -> None:
    """It had no keys for transformers, and the size of the result where a crop came first."""
    for crop in (None, 0.875):
        processor = ImageProcessor(size=32, center_crop=crop)
        write_part(processor, tmp_path)
        sha256 = RepoFolder(tmp_path).sha256(PROCESSOR)
        new = processor.to_dict() | {"size": {"height": 32, "width": 32}}
        old = {key: new[key] for key in PROCESSOR_KEYS if key in new}
        write_json(tmp_path / PROCESSOR, old)
        assert ImageProcessor.load(RepoFolder(tmp_path)) == processor
        assert RepoFolder(tmp_path).sha256(PROCESSOR) == sha256 == file_sha256(tmp_path / PROCESSOR)
    edit_json(tmp_path / PROCESSOR, size={"shortest_edge": 40}, crop_size={"height": 32, "width": 32})
    with pytest.raises(ConfigurationError, match="'shortest_edge': 36"):
        ImageProcessor.load(RepoFolder(tmp_path))


TRANSFORMERS = """
import sys
import numpy as np
from PIL import Image
from transformers import AutoImageProcessor
from visim_models import ImageProcessor
folder, picture = sys.argv[1:]
image = Image.open(picture)
theirs = AutoImageProcessor.from_pretrained(folder)(image, return_tensors="np")["pixel_values"][0]
ours = ImageProcessor.from_pretrained(folder)(image)
print(np.abs(theirs - ours).mean())
"""


def test_transformers_reads_the_file_and_makes_the_same_pixels(tmp_path: Path) -> None:
    drawn = Image.fromarray(drawn_picture(3)).resize((150, 90), Image.Resampling.BICUBIC)
    drawn.save(tmp_path / "drawn.png")
    found = []
    for processor in (ImageProcessor(size=64), ImageProcessor(size=64, resample=3, center_crop=0.875)):
        write_part(processor, tmp_path)
        arguments = [sys.executable, "-c", TRANSFORMERS, str(tmp_path), str(tmp_path / "drawn.png")]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True)
        found.append(float(done.stdout))
    assert max(found) < 0.005, found
    for processor in (ImageProcessor(size=64, antialias=False), ImageProcessor(size=64, do_flip_channel_order=True)):
        assert "image_processor_type" not in processor.to_dict()  # it would do something else


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(10**300, 10**310) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["height", "width", "x"]), inner),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.dictionaries(st.sampled_from([*ImageProcessor(size=1).to_dict(), "other"]), JSON, max_size=3))
def test_whatever_the_file_says_only_a_visim_error_comes_out(changes: dict[str, Any]) -> None:
    values = json.loads(json.dumps({**ImageProcessor(size=3).to_dict(), **changes}))
    try:
        tensor = ImageProcessor.from_dict(values)(np.zeros((2, 2, 3), np.uint8))
    except VisimError:
        return
    assert np.isfinite(tensor).all()
