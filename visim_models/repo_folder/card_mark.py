"""The mark in the last line of a card that visim wrote: by it, a card that nobody has edited is known."""

import hashlib
from typing import Final

__all__ = ["is_marked", "mark_card"]

_MARK: Final = "<!-- visim wrote this card and replaces it unless it is edited: {} -->"


def mark_card(text: str) -> str:
    """Return a card with its mark."""
    return f"{text}\n{_MARK.format(hashlib.sha256(text.encode()).hexdigest())}\n"


def is_marked(card: str) -> bool:
    """Return whether visim wrote a card and nobody has edited it since."""
    text, newline, mark = card.rstrip("\n").rpartition("\n")
    return bool(newline) and mark == _MARK.format(hashlib.sha256(text.encode()).hexdigest())
