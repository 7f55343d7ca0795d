"""visim on the Hugging Face Hub: find a repo by its short name, export one, write its card, publish it."""

from hub.locate import REPO_NAMES, load, locate

__all__ = ["REPO_NAMES", "load", "locate"]
