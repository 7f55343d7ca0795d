"""Check the file names of pictures, which come from files that anyone may have written."""

from pathlib import PurePosixPath
from typing import Final

from visim_models.errors import ImageSourceError

__all__ = ["check_file_name", "is_picture_name"]

_PICTURE_SUFFIXES: Final = {
    ".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp",
}  # fmt: skip


def check_file_name(name: str) -> None:
    """Refuse a file name that is not a plain relative path with forward slashes.

    Raises:
        ImageSourceError: the name is empty or absolute, leaves its root, or has an empty part or odd characters.
    """
    if _fault_of(name):
        raise ImageSourceError(
            f"The file name {name!r} {_fault_of(name)}: use a relative path with forward slashes.",
            path=name,
        )


def _fault_of(name: str) -> str:
    """Return what is wrong with a name; "" if nothing is."""
    parts = name.split("/")
    if {"", ".", ".."} & set(parts):
        return "is empty, absolute or leaves the image root"
    if "\\" in name or ":" in parts[0]:
        return "has odd characters, a backslash or a colon in its first part"
    if name.isprintable():
        return ""
    is_utf8 = not any("\ud800" <= letter <= "\udfff" for letter in name)
    return "has a character that cannot be printed" if is_utf8 else "is not UTF-8"


def is_picture_name(name: str) -> bool:
    """Return whether a name ends like that of a picture file."""
    return PurePosixPath(name).suffix.lower() in _PICTURE_SUFFIXES
