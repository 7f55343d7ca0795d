"""What a check of the soak raises where visim did not stand it."""

__all__ = ["SoakError"]


class SoakError(Exception):
    """A promise was not kept; the message says which, and how."""
