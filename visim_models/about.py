"""How a gallery describes itself: gallery/about.json of a repo folder, which its owner may edit by hand.

    {
      "title": "Oak & Sons",
      "one": "a chair",            what one picture of the gallery shows, with its article
      "many": "chairs",
      "description": "Chairs from our workshop, 1960 to today.",
      "columns": ["price"],        of gallery/metadata.csv, shown beside a match
      "link": "url"                the column whose value a match links to
    }

Every key may be left out. The texts are anyone's: who shows them escapes them.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Self

from visim_models.errors import ConfigurationError
from visim_models.repo_folder import RepoDraft, RepoFolder
from visim_models.repo_folder.formats import read_json
from visim_models.repo_folder.manifest import ABOUT

__all__ = ["GalleryAbout", "is_link"]

_LONGEST: Final = {"title": 120, "one": 60, "many": 60, "description": 2000, "link": 100}
_MOST_COLUMNS: Final = 20
_LONGEST_LINK: Final = 2000


@dataclass(frozen=True, kw_only=True)
class GalleryAbout:
    """What a gallery says of itself.

    Attributes:
        title: heading of its page; "" for none.
        one: what one of its pictures shows, in the singular with its article: "a chair".
        many: the same in the plural: "chairs".
        description: a few sentences; "" for none.
        columns: the further columns that are shown beside a match.
        link: the column with the address that a match links to; "" for none.

    Raises:
        ConfigurationError: a text is too long or cannot be printed, or a column is named twice.
    """

    title: str = ""
    one: str = "a picture like these"
    many: str = "pictures like these"
    description: str = ""
    columns: tuple[str, ...] = ()
    link: str = ""

    def __post_init__(self) -> None:
        for key, longest in _LONGEST.items():
            text = getattr(self, key)
            if not isinstance(text, str) or len(text) > longest or not text.replace("\n", "").isprintable():
                raise ConfigurationError(f"{key} must be a text of at most {longest} printable characters.", key=key)
        if not self.one or not self.many:
            raise ConfigurationError("one and many must not be empty: leave them out for the usual words.", key="one")
        if len(self.columns) > _MOST_COLUMNS or len(set(self.columns)) != len(self.columns):
            raise ConfigurationError(
                f"columns must be at most {_MOST_COLUMNS} names of columns, each once.", key="columns"
            )

    def check_fits(self, columns: Collection[str]) -> None:
        """Check that the columns that are shown exist.

        Raises:
            ConfigurationError: one does not.
        """
        for name in (*self.columns, self.link):
            if name and name not in columns:
                raise ConfigurationError(
                    f"There is no column {name!r} to show: the gallery has the columns {sorted(columns)}.", key=name
                )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read the content of about.json.

        Raises:
            ConfigurationError: a key is unknown or has a value that does not fit.
        """
        known = {each.name for each in fields(cls)}
        if unknown := set(values) - known:
            raise ConfigurationError(f"unknown keys {sorted(unknown)}: it may have {sorted(known)}.")
        columns = values.get("columns", [])
        if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
            raise ConfigurationError("columns must be a list of names.", key="columns")
        return cls(**{**values, "columns": tuple(columns)})

    @classmethod
    def load(cls, repo: RepoFolder) -> Self:
        """Load the description of a repo folder's gallery; the usual one where it has none.

        Raises:
            ConfigurationError: about.json has a key that is unknown or does not fit.
        """
        if not repo.has(ABOUT):
            return cls()
        try:
            return cls.from_dict(repo.json(ABOUT))
        except ConfigurationError as error:
            raise ConfigurationError(f"{repo / ABOUT}: {error}", path=repo / ABOUT, key=error.key) from error

    def to_dict(self) -> dict[str, Any]:
        """Return the content of about.json."""
        return {**asdict(self), "columns": list(self.columns)}

    def write_files(self, draft: RepoDraft) -> None:
        """Write gallery/about.json into a draft; one that says the same already stays as its owner wrote it."""
        old = draft.old(ABOUT)
        if old is None or type(self).from_dict(read_json(old)) != self:
            draft.write_json(ABOUT, self.to_dict())


def is_link(text: str) -> bool:
    """Return whether a text is an address that a page may link to: http or https, printable, without spaces."""
    is_address = text.startswith(("http://", "https://")) and text.isprintable() and " " not in text
    return is_address and len(text) <= _LONGEST_LINK
