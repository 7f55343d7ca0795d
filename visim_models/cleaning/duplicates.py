"""Find groups of copies within a set of pictures, and one of each to keep.

Pairs are put forward by their embeddings and their pixels, placed on each other by their thumbnails, and, where the
files are at hand, compared closely. A member of a group is a copy of the picture that is kept, so chains do not join.
"""

import io
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from visim_models.cleaning.alignment import Placement, Placements, grey_levels, oriented, place_pairs
from visim_models.cleaning.comparison import LARGEST, Comparison, compare_pictures
from visim_models.cleaning.neighbours import medoid_groups, near_pairs, nearest_in, unit_rows
from visim_models.cleaning.quality import HARD
from visim_models.cleaning.survey import local_squares
from visim_models.errors import ImageDecodeError, VisimError
from visim_models.galleries.near_duplicates import area_scaled
from visim_models.galleries.picture_table import PictureTable
from visim_models.gallery import Gallery
from visim_models.sources.store import ImageStore

__all__ = ["BY_EMBEDDING", "BY_PICTURE", "Group", "Grouping", "Member", "alike_pairs", "candidates", "find_duplicates"]

Indices = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Order: TypeAlias = Callable[[Sequence[int]], list[int]]
"""Sorts pictures that show the same: the one to keep first."""
Reader: TypeAlias = Callable[[int], Image.Image]
"""Returns a picture by its index, its longest side at most `comparison.LARGEST`."""
Relation: TypeAlias = Literal["kept", "file", "same", "look"]

BY_PICTURE: Final = 0.85
"""Least correlation of two pictures, placed on each other."""
BY_EMBEDDING: Final = 0.95
"""Least cosine of embeddings, where the pictures are not at hand."""

_MOST_DIFFERENT: Final = 0.4
_BY_EMBEDDINGS: Final = 8
_BY_PIXELS: Final = 6
_LIKE_PIXELS: Final = 0.92
_SMALL: Final = 8
_BLOCK: Final = 2048
_MOST_SWAPS: Final = 4
_FRAMES: Final = 6
_MOST_HELD: Final = 256
"""Pictures of one set of connected ones that are held in memory, some 0.5 MB each."""


@dataclass(frozen=True)
class Group:
    """Pictures that are near-duplicates of one of them, the medoid.

    Attributes:
        file_names: the medoid first, then the others, those most like it first.
        scores: of each with the medoid; 1 for itself and for exact copies.
        indices: of the pictures in the gallery.
    """

    file_names: tuple[str, ...]
    scores: tuple[float, ...]
    indices: tuple[int, ...]

    @property
    def medoid(self) -> str:
        """Return the name of the picture that all others are like."""
        return self.file_names[0]

    def __len__(self) -> int:
        return len(self.file_names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.file_names)

    def __contains__(self, file_name: object) -> bool:
        return file_name in self.file_names


@dataclass(frozen=True)
class Member:
    """A picture of a group.

    Attributes:
        index: of the picture.
        relation: the one that is kept; the same file; the same picture; or alike, for a person to look at.
        score: with the one that is kept, 0 to 1.
        reason: what differs; "" where nothing does.
        orientation: in which it is like the one that is kept; odd if mirrored.
        is_worse: it surely is the other one with less, or with something added.
    """

    index: int
    relation: Relation
    score: float = 1.0
    reason: str = ""
    orientation: int = 0
    is_worse: bool = False


def find_duplicates(gallery: Gallery, *, at: float | None = None, progress: bool = False) -> list[Group]:
    """Find groups of duplicates and near-duplicates in a gallery.

    Where the image root is a folder or zip on this machine, the pictures are read and compared, too: that finds copies
    that are cropped, framed, turned or mirrored, and tells different things of one kind apart.

    Args:
        gallery: the pictures.
        at: least score within a group, 0 to 1; by default 0.85 between pictures, 0.95 between embeddings.
        progress: show progress bars.

    Returns:
        Groups of at least two pictures, the largest first; no picture is in two.

    Example:
        >>> for group in find_duplicates(photos.gallery):
        ...     print(group.medoid, group.file_names, group.scores)
    """
    squares = local_squares(gallery, progress=progress)
    table = PictureTable(gallery.file_names, {"embeddings": gallery.embeddings})
    if squares is None:
        found = _by_embedding(table, BY_EMBEDDING if at is None else at, progress=progress)
    else:
        store = ImageStore(gallery.image_root)
        grouping = Grouping(
            table.with_arrays(squares=squares),
            at=BY_PICTURE if at is None else at,
            read=lambda index: small_picture(store, gallery.file_names[index]),
            progress=progress,
        )
        found = [[(member.index, member.score) for member in group] for group in grouping.groups()]
    return [
        Group(
            tuple(gallery.file_names[index] for index, _ in group),
            tuple(score for _, score in group),
            tuple(index for index, _ in group),
        )
        for group in found
    ]


def small_picture(store: ImageStore, file_name: str) -> Image.Image:
    """Read a picture for a close comparison; raises a VisimError where it cannot be read."""
    image = store.decode(file_name)
    if max(image.size) > LARGEST:
        image.thumbnail((LARGEST, LARGEST), Image.Resampling.BICUBIC, reducing_gap=3.0)
    return image


def some_frames(store: ImageStore, file_name: str) -> list[Image.Image]:
    """Read up to six frames of an animation, evenly spaced; raises a VisimError where it cannot be read."""
    content = store.read(file_name)
    found = []
    try:
        with Image.open(io.BytesIO(content)) as image:
            count = getattr(image, "n_frames", 1)
            for number in sorted({round(step * (count - 1) / (_FRAMES - 1)) for step in range(_FRAMES)}):
                image.seek(number)
                frame = image.convert("RGB")
                frame.thumbnail((LARGEST, LARGEST), Image.Resampling.BICUBIC)
                found.append(frame)
    except Exception as error:  # Pillow raises a dozen kinds on a damaged frame
        raise ImageDecodeError(f"{file_name} has a damaged frame ({error}).", path=file_name) from error
    return found


def _by_embedding(table: PictureTable, at: float, *, progress: bool) -> list[list[tuple[int, float]]]:
    """Group pictures by the cosine of their embeddings alone."""
    classes = _equal_rows(table["embeddings"])
    first = np.array([members[0] for members in classes], np.int64)
    groups = medoid_groups(near_pairs(table["embeddings"][first], at_least=at, progress=progress))
    found = [[(copy, score) for index, score in group for copy in classes[index]] for group in groups]
    grouped = {index for group in groups for index, _ in group}
    found += [
        [(copy, 1.0) for copy in same] for index, same in enumerate(classes) if len(same) > 1 and index not in grouped
    ]
    return sorted(found, key=lambda group: (-len(group), group[0][0]))


def _equal_rows(rows: npt.NDArray[np.generic]) -> list[list[int]]:
    """Return the indices of (N, W) rows, equal ones together, in the order of the first of each."""
    same: dict[bytes, list[int]] = {}
    for index, row in enumerate(rows):
        same.setdefault(row.tobytes(), []).append(index)
    return list(same.values())


# --- pairs


def candidates(first: PictureTable, second: PictureTable, *, progress: bool = False) -> tuple[Indices, Indices]:
    """Return the (P,) indices of pairs of two sets that embeddings or pixels put forward, each pair once.

    Args:
        first: N pictures, with embeddings and squares.
        second: M pictures; may be the same set: then no picture is paired with itself.
        progress: show progress bars.
    """
    is_same = first is second
    near = nearest_in(first["embeddings"], second["embeddings"], top_k=_BY_EMBEDDINGS + is_same, progress=progress)[1]
    rows = np.arange(len(first)).repeat(near.shape[1])  # (N * k,)
    more_rows, more_columns = _like_by_pixels(first["squares"], second["squares"])
    rows, columns = np.concatenate([rows, more_rows]), np.concatenate([near.ravel(), more_columns])
    if is_same:
        rows, columns = np.minimum(rows, columns), np.maximum(rows, columns)
        rows, columns = rows[rows < columns], columns[rows < columns]
    keys = np.unique(rows * len(second) + columns)
    return keys // max(len(second), 1), keys % max(len(second), 1)


def _like_by_pixels(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]) -> tuple[Indices, Indices]:
    """Return pairs whose tiny grey pictures are alike in any orientation, at most a few of each picture of `first`."""
    small = area_scaled(grey_levels(second), _SMALL)  # (M, 8, 8)
    views = [_centred(oriented(small, turn)) for turn in range(8)]
    rows, columns = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for start in range(0, len(first), _BLOCK):
        mine = _centred(area_scaled(grey_levels(first[start : start + _BLOCK]), _SMALL))
        products = mine @ views[0].T  # (B, M)
        for view in views[1:]:
            np.maximum(products, mine @ view.T, out=products)
        if first is second:
            products[np.arange(len(mine)), np.arange(start, start + len(mine))] = -1
        count = (products >= _LIKE_PIXELS).sum(axis=1)
        for row in (count > _BY_PIXELS).nonzero()[0]:
            best = np.argpartition(-products[row], _BY_PIXELS)[:_BY_PIXELS]
            rest = np.ones(products.shape[1], bool)
            rest[best] = False
            products[row, rest] = -1
        found = (products >= _LIKE_PIXELS).nonzero()
        rows.append(found[0] + start)
        columns.append(found[1])
    return np.concatenate(rows), np.concatenate(columns)


def _centred(grey: Floats | npt.NDArray[np.uint8]) -> Floats:
    values = np.asarray(grey, np.float32).reshape(len(grey), -1)
    return unit_rows(values - values.mean(axis=1, keepdims=True))


def alike_pairs(
    first: PictureTable, second: PictureTable, *, at: float, progress: bool = False
) -> tuple[Indices, Indices, Placements]:
    """Return the pairs of two sets that are alike by their thumbnails, and how each second lies on its first.

    Args:
        first: N pictures, with embeddings and squares.
        second: M pictures; may be the same set.
        at: least score.
        progress: show progress bars.

    Returns:
        rows: (P,) indices of `first`.
        columns: (P,) indices of `second`.
        placements: of these P pairs.
    """
    rows, columns = candidates(first, second, progress=progress)
    placed = place_pairs(first["squares"], second["squares"], rows, columns, progress=progress)
    chosen = is_alike(placed, at)
    return rows[chosen], columns[chosen], placed.chosen(chosen)


def is_alike(placed: Placements, at: float) -> npt.NDArray[np.bool_]:
    """Return which placed pairs are worth a close look."""
    return (placed.scores >= at) & (placed.differences <= _MOST_DIFFERENT)


# --- groups


@dataclass
class Grouping:
    """Puts pictures that show the same into groups, each with one that is kept.

    Args:
        table: N pictures with embeddings and squares, and with sha256 where files are to be compared by it.
        at: least score.
        read: reads a picture for a close comparison; None where only the thumbnails are to be compared.
        order: which picture of several to keep; by default the one that is like the most others.
        frames: reads some frames of an animation; None where there are none.
        decided: what a person has said of a pair: True if they are the same, False if not; None if nothing.
        progress: show progress bars.
    """

    table: PictureTable
    at: float = BY_PICTURE
    read: Reader | None = None
    order: Order | None = None
    frames: Callable[[int], list[Image.Image]] | None = None
    decided: Callable[[int, int], bool | None] = lambda _, __: None
    progress: bool = False
    _links: dict[int, dict[int, tuple[Placement, float]]] = field(default_factory=lambda: defaultdict(dict), init=False)
    _pictures: dict[int, Image.Image] = field(default_factory=dict, init=False)
    _seen: dict[tuple[int, int], Comparison] = field(default_factory=dict, init=False)

    def groups(self) -> list[list[Member]]:
        """Return groups of at least two pictures, the largest first: the one that is kept, then those most like it."""
        by_content = self.table["sha256"] if "sha256" in self.table.arrays else self.table["embeddings"]
        self._classes = {members[0]: members for members in _equal_rows(by_content)}
        self._link(np.array(list(self._classes), np.int64))
        found = []
        components = self._components()
        for pool in tqdm(components, desc="checking", unit="group", disable=not self.progress or not components):
            found += self._grouped(pool)
        linked = {index for pool in components for index in pool}
        found += [self._with_files([self._kept(first)]) for first, same in self._classes.items()
                  if len(same) > 1 and first not in linked]  # fmt: skip
        return sorted(found, key=lambda group: (-len(group), group[0].index))

    def _link(self, indices: Indices) -> None:
        """Find the pairs of pictures of different contents that are alike."""
        part = self.table.subset(indices)
        rows, columns, placed = alike_pairs(part, part, at=self.at, progress=self.progress)
        for number, (row, column) in enumerate(zip(indices[rows].tolist(), indices[columns].tolist(), strict=True)):
            self._links[row][column] = placed[number], float(placed.scores[number])
            self._links[column].setdefault(row, (placed[number].reversed(), float(placed.scores[number])))

    def _link_with(self, first: int, pool: Sequence[int]) -> None:
        """Look for more that are like a picture that many are like: only so many neighbours of each were compared."""
        others = [index for index in pool if index != first and index not in self._links[first]]
        if not others or len(pool) - len(others) <= _BY_EMBEDDINGS // 2:
            return
        columns = np.array(others, np.int64)
        squares = self.table["squares"]
        placed = place_pairs(squares, squares, np.full(len(others), first, np.int64), columns)
        for number in is_alike(placed, self.at).nonzero()[0].tolist():
            self._links[first][others[number]] = placed[number], float(placed.scores[number])

    def _components(self) -> list[list[int]]:
        """Return the pictures that are connected by pairs."""
        found, seen = [], set()
        for start in sorted(self._links):
            if start in seen:
                continue
            waiting, members = [start], []
            seen.add(start)
            while waiting:
                members.append(index := waiting.pop())
                fresh = [other for other in self._links[index] if other not in seen]
                seen.update(fresh)
                waiting += fresh
            found.append(sorted(members))
        return found

    def _grouped(self, pool: list[int]) -> list[list[Member]]:
        """Take groups out of connected pictures until no two are left that show the same, then those that are alike."""
        found: list[list[Member]] = []
        left: list[int] = []
        while pool:
            first, members = self._with_the_best_first(pool)
            same = [member for member, _ in members.values() if member.relation == "same"]
            taken = {first, *(member.index for member in same)}
            pool = [index for index in pool if index not in taken]
            if same or len(self._classes[first]) > 1:
                found.append([self._kept(first), *same])
            else:
                left.append(first)
        found += [[self._kept(index)] for index in left if len(self._classes[index]) > 1]
        left = [index for index in left if len(self._classes[index]) == 1]
        firsts = [group[0].index for group in found]
        for group in found:
            alike = [member for member, _ in self._members(group[0].index, left).values() if member.relation == "look"]
            group += alike
            left = [index for index in left if index not in {member.index for member in alike}]
        while len(left) > 1:
            first, members = self._with_the_best_first(left)
            left = [index for index in left if index != first and index not in members]
            if members and first not in firsts:
                found.append([self._kept(first), *(member for member, _ in members.values())])
        self._pictures.clear()
        self._seen.clear()
        return [self._with_files(group) for group in found]

    def _with_the_best_first(self, pool: Sequence[int]) -> tuple[int, dict[int, tuple[Member, str | None]]]:
        """Return the picture of a pool to keep, and those that are like it: none of them is surely the better one."""
        first = self._best(pool)
        members = self._members(first, pool)
        for _ in range(_MOST_SWAPS):
            better = [
                index for index, (member, worse) in members.items() if worse == "first" and member.relation == "same"
            ]
            if not better:
                break
            first = self._best(better)
            members = self._members(first, pool)
        return first, members

    def _best(self, pool: Sequence[int]) -> int:
        if self.order is None:
            return max(pool, key=lambda index: (len(self._links[index]), -index))
        files = [copy for index in pool for copy in self._classes[index]]
        best = self.order(files)[0]
        return next(index for index in pool if best in self._classes[index])

    def _members(self, first: int, pool: Sequence[int]) -> dict[int, tuple[Member, str | None]]:
        """Return the pictures of a pool that show the same as the first, and which of both is surely the worse."""
        found: dict[int, tuple[Member, str | None]] = {}
        self._link_with(first, pool)
        for other in pool:
            if other == first or (said := self.decided(first, other)) is False:
                continue
            placement, score = self._links[first].get(other, (Placement(), 0.0))
            if said:
                found[other] = Member(other, "same", 1.0, "you said so"), None
            elif other in self._links[first]:
                seen = self._compared(first, other, placement)
                if seen.relation != "different":
                    reason = seen.reason or (seen.why_worse if seen.worse == "second" else "")
                    relation: Relation = "look" if seen.relation == "look" else "same"
                    if placement.orientation and seen.is_drawing and relation == "same":
                        relation, reason = "look", "it is turned or mirrored, and a drawing"
                    is_worse = seen.worse == "second"
                    member = Member(other, relation, min(score, 1.0), reason, placement.orientation, is_worse)
                    found[other] = member, seen.worse
        return found

    def _compared(self, first: int, second: int, placement: Placement) -> Comparison:
        if (first, second) not in self._seen:
            self._seen[first, second] = self._looked_at(first, second, placement)
        return self._seen[first, second]

    def _looked_at(self, first: int, second: int, placement: Placement) -> Comparison:
        if self.read is None:
            return Comparison("same")
        try:
            if self.frames and (self._count(first) > 1 or self._count(second) > 1):
                return self._compared_frames(first, second, placement)
            found = compare_pictures(
                self._picture(first), self._picture(second), placement, pixels=self._sizes(first, second)
            )
            return self._without_smoothing(found, first, second)
        except VisimError:  # gone since: nothing is said of it
            return Comparison("different", "it cannot be read")

    def _without_smoothing(self, found: Comparison, first: int, second: int) -> Comparison:
        """Return a comparison in which grain is no noise beside a copy that strong compression has made smooth."""
        if found.spoiled is None or "compression" not in self.table.arrays:
            return found
        own, other = (first, second) if found.spoiled == "first" else (second, first)
        pixels = self.table["width"] * self.table["height"]
        is_enlarged = pixels[own] > 1.3 * pixels[other]
        is_smooth = self.table["compression"][other] > 1.4 * max(float(self.table["compression"][own]), HARD)
        return found if is_enlarged or not is_smooth else replace(found, spoiled=None)

    def _count(self, index: int) -> int:
        """Return the number of frames of a picture."""
        return int(self.table["frames"][index]) if "frames" in self.table.arrays else 1

    def _compared_frames(self, first: int, second: int, placement: Placement) -> Comparison:
        """Compare two animations frame by frame: they are the same if all frames are."""
        assert self.frames is not None
        if self._count(first) != self._count(second):
            return Comparison("different", "one is an animation, or has other frames")
        found = [
            compare_pictures(one, two, placement, pixels=self._sizes(first, second))
            for one, two in zip(self.frames(first), self.frames(second), strict=True)
        ]
        if all(each.relation == "same" for each in found):
            return found[0]
        return Comparison("different", "other frames")

    def _sizes(self, first: int, second: int) -> tuple[float, float] | None:
        if "width" not in self.table.arrays:
            return None
        pixels = self.table["width"] * self.table["height"]
        return float(pixels[first]), float(pixels[second])

    def _picture(self, index: int) -> Image.Image:
        assert self.read is not None
        if index not in self._pictures:
            if len(self._pictures) >= _MOST_HELD:
                self._pictures.pop(next(iter(self._pictures)))
            self._pictures[index] = self.read(index)
        return self._pictures[index]

    def _kept(self, index: int) -> Member:
        return Member(index, "kept")

    def _with_files(self, group: list[Member]) -> list[Member]:
        """Add the files of the same content to the members of a group; of the kept one, the best file is kept."""
        first = group[0].index
        files = self.order(self._classes[first]) if self.order else self._classes[first]
        found = [Member(files[0], "kept"), *(Member(index, "file") for index in files[1:])]
        for member in sorted(group[1:], key=lambda item: (-item.score, item.index)):
            found += [replace(member, index=index) for index in self._classes[member.index]]
        return found
