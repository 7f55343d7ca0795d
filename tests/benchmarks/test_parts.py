"""The parts of a work run alone, and their floors add up."""

from pathlib import Path

import numpy as np
import pytest
import torch

import hub
from benchmarks.parts import DECODING, NETWORK, network_alone, query_parts, rate_floors, time_floors
from benchmarks.pictures import jpegs, upload
from benchmarks.scale import Scale
from visim_models import decode_image


def test_the_sum_of_times() -> None:
    floors = time_floors({"a": 1.5, "b": 2.0, "other": 9.0}, ["a", "b"])
    assert [(floor.name, floor.value) for floor in floors] == [("a", 1.5), ("b", 2.0), ("sum", 3.5)]


def test_rates_one_after_the_other() -> None:
    floors = rate_floors({DECODING: 300.0, NETWORK: 600.0, "folder": 1.0})
    assert [floor.value for floor in floors] == pytest.approx([300, 600, 200])


def test_the_parts_of_a_query(scale: Scale) -> None:
    similarity, calls = hub.load(dict(scale.repos)["cars"]), []
    similarity.model.register_forward_pre_hook(lambda *_: calls.append("forward"))
    embed = similarity.model.embed
    similarity.model.embed = lambda pixels: calls.append(tuple(pixels.shape)) or embed(pixels)  # type: ignore
    parts = query_parts(similarity, upload("cars", data=scale.data))
    assert list(parts) == ["decoding", "one forward pass", "one pass over the matrix"]
    parts["decoding"]()
    assert calls == []
    parts["one forward pass"]()
    assert calls == [(1, 3, 100, 100)]
    total = parts["one pass over the matrix"]()
    assert calls == [(1, 3, 100, 100)]
    assert float(total) == pytest.approx(similarity.gallery.embeddings.sum(), rel=1e-4)  # type: ignore[arg-type]


def test_the_network_alone_embeds_as_a_folder_is_embedded(scale: Scale) -> None:
    similarity = hub.load(dict(scale.repos)["cifar10"])
    pictures = jpegs("cifar10", 5, data=scale.data)
    pixels = torch.stack([similarity.processor(picture) for picture in pictures])
    np.testing.assert_allclose(
        network_alone(similarity.model, pixels).numpy(), similarity.embed_batch(pictures), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("tab", ["cars", "cifar10"])
def test_the_pictures(tab: str, tmp_path: Path) -> None:
    drawn = jpegs(tab, 5, data=tmp_path)
    assert len(set(drawn)) == 5
    assert len({decode_image(picture).size for picture in drawn}) == 1
    assert decode_image(upload(tab, data=tmp_path)).size == (640, 480)
