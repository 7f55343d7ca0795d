"""Rows: galleries of anything, as a maker builds them: are the matches of the kind, and does the verdict hold?"""

import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import hub
from benchmarks.measuring import Row, share_row
from benchmarks.scale import Scale
from visim_models import VisualSimilarity
from visim_models.galleries import build
from visim_models.galleries.calibration import check_figures, check_verdict
from visim_models.images.decode import decode_image

__all__ = ["gallery_rows"]

_KINDS, _SHOWN, _QUERIES, _TOP = 60, 25, 5, 4
_TARGET, _FOUND = 72.0, 95.0
_ALARMS = (3.0, 8.0)
_NARROW = {
    "coupes of dealers": ("cars/photos.zip", "coupe"),
    "convertibles in the wild": ("cars/wild.zip", "convertible"),
    "koalas at 32 pixels": ("not_cifar10/tiny_imagenet.zip", "koala"),
}
_NARROW_SIZE = 150
_PIXEL_SIDE = 32
_OTHER_THINGS = "not_cars/imagenet.zip"
_EVERYTHING = "not_cars/caltech101.zip"

Files = dict[str, bytes]
"""`label/name.jpg` -> content."""


def gallery_rows(scale: Scale) -> Iterator[Row]:
    """Measure galleries of Caltech-101's kinds and of one kind of thing; nothing without the real pictures."""
    if not (scale.data / _EVERYTHING).is_file():
        return
    kinds, each = (4, 6) if scale.is_quick else (_KINDS, _SHOWN)
    shown, asked = _kinds(scale.data, kinds, each)
    with tempfile.TemporaryDirectory(prefix="visim-bench-") as name:
        folder = Path(name)
        general = _built(shown, folder / "general", "general-extractor")
        found = general.search_batch(asked.values(), top_k=_TOP)
        share = _share(asked, [[match.label for match in result.matches] for result in found])
        cars = _built(shown, folder / "cars", "car-extractor").search_batch(asked.values(), top_k=_TOP)
        others = {
            "raw pixels": _share(asked, _by_pixels(general, shown, asked)),
            "the car extractor": _share(asked, [[match.label for match in result.matches] for result in cars]),
        }
        what = f"top {_TOP} of the query's kind: {kinds} kinds of Caltech-101, {len(shown):,} in the gallery"
        for baseline, value in others.items():
            met = share >= _TARGET if baseline == "raw pixels" else None
            yield share_row(
                what, share, baseline, value, target=f">= {_TARGET:g} %" if met is not None else "", met=met
            )
        alarms = 100 * float(np.mean([result.ood.is_ood for result in found]))
        low, high = _ALARMS
        yield share_row("its own kinds' held-out pictures called strange", alarms, "set for", 5.0, target="3 to 8 %",
                   met=low <= alarms <= high)  # fmt: skip
        check = check_verdict(general.network, general.processor, general.gallery, general.ood)
        for figure in check_figures(general.ood.checked(check)):
            yield share_row(f"found: {figure.name.rpartition('_')[2]}", figure.value, "aimed at", _FOUND,
                       target=f">= {_FOUND:g} %", met=figure.value >= _FOUND)  # fmt: skip
        yield from _narrow_rows(scale, folder)


def _narrow_rows(scale: Scale, folder: Path) -> Iterator[Row]:
    """Measure verdicts of galleries of one kind of thing, by photographs of other things."""
    size = 20 if scale.is_quick else _NARROW_SIZE
    strangers = list(_read(scale.data / _OTHER_THINGS).values())[:: 10 if scale.is_quick else 1]
    for number, (what, (file, label)) in enumerate(_NARROW.items()):
        own = _read(scale.data / file, partial(_is_of, label))
        names = sorted(own)[:: max(1, len(own) // (2 * size))]
        similarity = _built(
            {name: own[name] for name in names[:size]}, folder / f"narrow-{number}", "general-extractor"
        )
        found = 100 * _called_strange(similarity, strangers)
        alarms = 100 * _called_strange(similarity, [own[name] for name in names[size:]] or [own[names[0]]])
        yield share_row(
            f"photographs of other things found by a gallery of {min(size, len(names))} {what}",
            found, "aimed at", _FOUND, target=f">= {_FOUND:g} %", met=found >= _FOUND,
            note=f"own pictures that are not in it called strange: {alarms:.1f} %",
        )  # fmt: skip


def _kinds(data: Path, kinds: int, each: int) -> tuple[Files, Files]:
    """Choose kinds, evenly spaced over the sorted names, and of each the pictures to show and to ask with."""
    pictures = _read(data / _EVERYTHING)
    labels = sorted({name.partition("/")[0] for name in pictures})
    chosen = [labels[index] for index in np.linspace(0, len(labels) - 1, kinds).astype(int)]
    shown: Files = {}
    asked: Files = {}
    for label in chosen:
        names = sorted(name for name in pictures if name.startswith(f"{label}/"))
        shown |= {name: pictures[name] for name in names[:each]}
        asked |= {name: pictures[name] for name in names[each : each + _QUERIES]}
    return shown, asked


def _read(archive: Path, choose: Callable[[str], bool] = lambda _: True) -> Files:
    with zipfile.ZipFile(archive) as file:
        return {name: file.read(name) for name in sorted(file.namelist()) if name.endswith(".jpg") and choose(name)}


def _is_of(label: str, name: str) -> bool:
    return name.startswith(f"{label}/")


def _built(pictures: Files, folder: Path, model: str) -> VisualSimilarity:
    for name, content in pictures.items():
        path = folder / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    build(folder / "pictures", folder / "gallery", model=hub.locate(model), progress=False)
    return hub.load(folder / "gallery")


def _by_pixels(similarity: VisualSimilarity, shown: Files, asked: Files) -> list[list[str]]:
    def rows(files: Iterable[bytes]) -> torch.Tensor:
        squares = torch.stack(
            [torch.from_numpy(similarity.processor.resize(decode_image(content))) for content in files]
        ).float()
        return F.interpolate(squares, size=_PIXEL_SIDE, mode="area").flatten(1)  # (N, 3 * 32 * 32)

    labels = [name.partition("/")[0] for name in shown]
    distances = torch.cdist(rows(asked.values()), rows(shown.values()))  # (Q, N)
    found = distances.topk(_TOP, largest=False).indices
    return [[labels[index] for index in row] for row in found.tolist()]


def _share(asked: Files, found: Sequence[Sequence[str]]) -> float:
    """Return the percentage of the matches that have the label of their query."""
    right = [match == name.partition("/")[0] for name, row in zip(asked, found, strict=True) for match in row]
    return 100 * float(np.mean(right))


def _called_strange(similarity: VisualSimilarity, pictures: Sequence[bytes]) -> float:
    results = similarity.search_batch(pictures, top_k=1)
    return float(np.mean([result.ood.is_ood for result in results]))
