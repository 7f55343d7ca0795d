"""Pictures to try in each tab: the gallery's own, or drawings and noise, which the project may ship."""

import random
import shutil
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from PIL import Image

from demo.collection import Collection
from demo.facts import shortened
from demo.pixels import enlarged
from visim_models import VisualSimilarity

__all__ = ["Example", "make_examples"]

_OWN = 5
_CAPTION = 24
_DRAWN = 4
_CANDIDATES = 40
"""Drawings of each label to choose from: those of the shortest codes, since a decoder draws pictures with little in
them best. The one that looks most like the gallery's pictures is taken."""


class Example(NamedTuple):
    """A picture file, and the word for its subject."""

    path: str
    caption: str


def make_examples(collection: Collection, folder: Path) -> list[Example]:
    """Write the examples of a tab as PNG files.

    Args:
        collection: of the tab. A host's own gallery gives pictures of its own; none, where they are not at hand.
        folder: for the files; must exist.
    """
    if collection.is_own:
        return _own_pictures(collection, folder)
    pictures = _drawings(collection, collection.decoder) if collection.decoder else []
    side = collection.ways[collection.default_way].processor.size  # finer noise would be averaged to grey
    noise = enlarged(Image.frombytes("RGB", (side, side), random.Random(5).randbytes(side * side * 3)))
    examples = []
    for number, (picture, caption) in enumerate([*pictures, (noise, "noise")]):
        path = folder / f"{collection.key}-example-{number + 1}.png"
        picture.save(path)
        examples.append(Example(str(path), caption))
    return examples


def _own_pictures(collection: Collection, folder: Path) -> list[Example]:
    """Take pictures of a gallery with labels far apart in the list of labels, as far as they are at hand."""
    gallery = collection.ways[collection.default_way].gallery
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
        results = collection.ways[collection.default_way].search_batch(drawings, top_k=1)
        # A drawing is a little blurred, and some look strange to the detector, or like something else: such a one would
        # be a poor first try.
        best = max(
            range(len(drawings)),
            key=lambda index: (
                not results[index].ood.is_ood,
                results[index].matches[0].label == label,
                results[index].ood.p_value,
            ),
        )
        found.append((drawings[best], label))
    return found
