"""The keys of galleries, in the names of endpoints and elements and in links: made from the name of folder or repo."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

__all__ = ["BUNDLED_KEYS", "gallery_keys", "gallery_name"]

BUNDLED_KEYS: Final = ("cars", "cifar10")

_RESERVED: Final = {*BUNDLED_KEYS, "of", "way", "top_k", "view", "less", "deep_link"}
"""Keys that no other gallery may have: those of the bundled ones, and what else an address of the page may ask for."""
_LONGEST: Final = 40


def gallery_name(source: str) -> str:
    """Return the name of a source of pictures or of a repo: the last part of its path, without ".zip" or ".txt".

    Args:
        source: a folder, a zip, a list of addresses, an address, or namespace/repo.
    """
    if "://" in source:
        return source.rstrip("/").rpartition("/")[2].partition("@")[0]
    name = Path(source).name
    if name in ("", ".."):
        name = Path(source).resolve().name
    return name[:-4] if name.lower().endswith((".zip", ".txt")) else name


def gallery_keys(sources: Sequence[str]) -> list[str]:
    """Return a key for each source, each once, and none of a bundled gallery: lower-case letters, digits, underscores.

    Args:
        sources: as `gallery_name` takes them.
    """
    keys: list[str] = []
    for source in sources:
        key = re.sub(r"[^a-z0-9]+", "_", gallery_name(source).lower())[:_LONGEST].strip("_") or "gallery"
        first = f"gallery_{key}" if key[0].isdigit() else key
        key, number = first, 1
        while key in _RESERVED or key in keys:
            number += 1
            key = f"{first}_{number}"
        keys.append(key)
    return keys
