"""Pictures to try in each tab: the gallery's own, or drawings and noise, which the project may ship."""

import shutil
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from PIL import Image, ImageChops, ImageStat

from demo.answer import mood_of, shortened
from demo.collection import Collection
from demo.files import enlarged
from visim_models import VisualSimilarity
from visim_models.galleries.synthetic import synthetic_outliers

__all__ = ["Example", "make_examples"]

_OWN = 5
_CAPTION = 24
_DRAWN = 4
_CANDIDATES = 40
"""Drawings of each label to choose from: those of the shortest codes, since a decoder draws pictures with little in
them best."""
_MATCHES = 4
_SIDE, _EDGE = 32, 6
"""Side of a reduced drawing, and how much of it is an edge, in pixels."""
_STEPS = ((1, 0), (0, 1))
"""To the neighbours of a pixel."""
_REFUSED = ("text", "plot", "noise")
"""Kinds of drawn pictures of which the first that is found to be of another kind is an example, too."""
_SEED = 5


class Example(NamedTuple):
    """A picture file, and the word for its subject."""

    path: str
    caption: str


def make_examples(collection: Collection, folder: Path) -> list[Example]:
    """Write the examples of a tab as PNG files; a host's own gallery gives its pictures, if they are at hand."""
    if collection.is_own:
        return _own_pictures(collection, folder)
    pictures = _drawings(collection, collection.decoder) if collection.decoder else []
    examples = []
    for number, (picture, caption) in enumerate([*pictures, _refused(collection)]):
        path = folder / f"{collection.key}-example-{number + 1}.png"
        picture.save(path)
        examples.append(Example(str(path), caption))
    return examples


def _refused(collection: Collection) -> tuple[Image.Image, str]:
    """Draw a picture of another kind that the verdict finds, and return it with the word for it."""
    judge = collection.usual_judge
    side = judge.processor.size  # finer noise would be averaged to grey
    drawn = [(enlarged(_synthetic(kind, side)), kind) for kind in _REFUSED]
    results = judge.search_batch([picture for picture, _ in drawn], top_k=1)
    found = [each for each, result in zip(drawn, results, strict=True) if result.ood.is_ood]
    return (found or drawn)[0]


def _synthetic(kind: str, side: int) -> Image.Image:
    return Image.fromarray(synthetic_outliers(kind, 1, side, seed=_SEED)[0].transpose(1, 2, 0))


def _own_pictures(collection: Collection, folder: Path) -> list[Example]:
    """Take pictures of a gallery with labels far apart in the list of labels, as far as they are at hand."""
    gallery = collection.usual.gallery
    ordered = sorted(zip(gallery.labels, gallery.file_names, strict=True))
    count = min(_OWN, len(ordered))
    # The middle of each of as many equal parts: of few labels, each has its share of the examples.
    chosen = [ordered[(2 * number + 1) * len(ordered) // (2 * count)] for number in range(count)]
    examples = []
    tiles = collection.tiles.make([file_name for _, file_name in chosen])
    for number, ((label, file_name), tile) in enumerate(zip(chosen, tiles, strict=True), start=1):
        if tile.is_drawn or tile.is_missing:
            continue
        path = folder / f"{collection.key}-example-{number}.png"
        shutil.copyfile(tile.path, path)
        examples.append(Example(str(path), shortened(label or PurePosixPath(file_name).stem, _CAPTION)))
    return examples


def _drawings(collection: Collection, decoder: VisualSimilarity) -> list[tuple[Image.Image, str]]:
    """Draw gallery pictures with labels far apart in the list of labels, and return them with their labels."""
    gallery = decoder.gallery
    by_label: dict[str, list[str]] = {}
    for _, file_name, label in sorted(zip(gallery.norms.tolist(), gallery.file_names, gallery.labels, strict=True)):
        by_label.setdefault(label, []).append(file_name)
    labels = sorted(by_label)
    chosen = [labels[number * len(labels) // _DRAWN] for number in range(_DRAWN)] if len(labels) > _DRAWN else labels
    found = []
    for label in chosen:
        candidates = by_label[label][:_CANDIDATES]
        drawings = [enlarged(Image.fromarray(decoder.decode_gallery(name))) for name in candidates]
        best, is_known = _best(collection, drawings, label)
        found.append((drawings[best], label, is_known))
    known = [(drawing, label) for drawing, label, is_known in found if is_known]
    return known or [(drawing, label) for drawing, label, _ in found]


def _best(collection: Collection, drawings: list[Image.Image], label: str) -> tuple[int, bool]:
    """Choose by what a visitor would see: no doubt, then matches of the same label; and say whether there is no doubt.

    A drawing is a little blurred, and some look strange to the detector, or like something else. Of those that are as
    good, the one with the calmest upper and lower edge is taken: sellers put banners there.
    """
    usual, judge = collection.usual, collection.usual_judge
    results = usual.search_batch(drawings, top_k=_MATCHES)
    judged = results if judge is usual else judge.search_batch(drawings, top_k=1)
    ranks = []
    for index, (result, verdict) in enumerate(zip(results, (each.ood for each in judged), strict=True)):
        alike = sum(match.label == label for match in result.matches)
        ranks.append((mood_of(verdict) == "known", alike, -_unrest(drawings[index]), index))
    is_known, *_, best = max(ranks)
    return best, is_known


def _unrest(drawing: Image.Image) -> float:
    """Return how much the grey levels change along the upper and lower edge of a picture."""
    grey = drawing.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    strips = [grey.crop((0, top, _SIDE, top + _EDGE)) for top in (0, _SIDE - _EDGE)]
    steps = [ImageChops.difference(strip, ImageChops.offset(strip, *step)) for strip in strips for step in _STEPS]
    return sum(ImageStat.Stat(step.crop((1, 1, _SIDE, _EDGE))).mean[0] for step in steps)
