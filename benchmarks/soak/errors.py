"""Name the one error of the soak."""

__all__ = ["SoakError"]


class SoakError(Exception):
    """visim broke a promise; the message says which one, and how."""
