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
    parts = name.split("/")
    if {"", ".", ".."} & set(parts) or "\\" in name or ":" in parts[0] or not name.isprintable():
        raise ImageSourceError(
            f"The file name {name!r} is empty, absolute, leaves the image root, or has odd characters: "
            "use a relative path with forward slashes.",
            path=name,
        )


def is_picture_name(name: str) -> bool:
    """Return whether a name ends like that of a picture file."""
    return PurePosixPath(name).suffix.lower() in _PICTURE_SUFFIXES
