"""The difference between a gallery and the pictures that it shall have, found by content."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Changes", "Row", "plan"]


@dataclass(frozen=True)
class Row:
    """A picture of the next gallery.

    Attributes:
        embedding: index in the old gallery of a picture with the same content; None for one that must be embedded.
        description: index in the old gallery of the picture whose label and further columns it keeps; None for none.
    """

    embedding: int | None
    description: int | None


@dataclass(frozen=True)
class Changes:
    """The next gallery, and how it differs from the old one.

    Attributes:
        rows: file name -> picture of the next gallery.
        added: new names.
        changed: names whose content has changed.
        renamed: new name -> old name of the same content.
        removed: old names that are in the next gallery under no name.
        differing: names whose content has changed, where the gallery keeps the old one.
    """

    rows: dict[str, Row] = field(default_factory=dict)
    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)

    @property
    def to_embed(self) -> list[str]:
        """Return the sorted names of the pictures that must be embedded."""
        return sorted(name for name, row in self.rows.items() if row.embedding is None)

    @property
    def is_nothing(self) -> bool:
        """Return whether the gallery stays as it is."""
        return not (self.added or self.changed or self.renamed or self.removed)

    def without(self, file_names: Collection[str], old: Sequence[str]) -> "Changes":
        """Return the changes where some pictures could not be embedded: the gallery keeps its old ones, if any.

        Args:
            file_names: the pictures.
            old: the names of the old gallery.
        """
        failed = set(file_names)
        index = {name: number for number, name in enumerate(old)}
        rows = {name: row for name, row in self.rows.items() if name not in failed}
        rows |= {name: Row(index[name], index[name]) for name in self.changed if name in failed}
        return Changes(
            rows,
            [name for name in self.added if name not in failed],
            [name for name in self.changed if name not in failed],
            self.renamed,
            self.removed,
            self.differing,
        )


def plan(
    old: Mapping[str, str], found: Mapping[str, str], *, removed: Collection[str] = (), replaces: bool = False
) -> Changes:
    """Plan the next gallery.

    Args:
        old: file name -> SHA-256, of the gallery in order.
        found: file name -> SHA-256, of the pictures that it shall have, too.
        removed: names that it shall not have any more, unless they are in `found`.
        replaces: a picture of `found` replaces one of the same name and another content.
    """
    index = {name: number for number, name in enumerate(old)}
    by_content = {sha256: number for number, sha256 in reversed(list(enumerate(old.values())))}
    gone: dict[str, list[str]] = defaultdict(list)
    for name in sorted(set(removed)):
        gone[old[name]].append(name)
    changes = Changes({name: Row(index[name], index[name]) for name in old if name not in set(removed)})
    for name, sha256 in sorted(found.items()):
        if name in changes.rows:
            if old[name] != sha256 and replaces:
                changes.rows[name] = Row(by_content.get(sha256), index[name])
                changes.changed.append(name)
            elif old[name] != sha256:
                changes.differing.append(name)
            continue
        sources = gone[sha256]
        source = name if name in sources else sources[0] if sources else None
        changes.rows[name] = Row(by_content.get(sha256), None if source is None else index[source])
        if source is None:
            changes.added.append(name)
            continue
        sources.remove(source)
        if source != name:
            changes.renamed[name] = source
    changes.removed.extend(sorted(name for names in gone.values() for name in names))
    return changes
