"""visim on the Hugging Face Hub: finding a repo by its short name, exporting one, and writing its card."""

from hub.locate import REPO_NAMES, load, locate

__all__ = ["REPO_NAMES", "load", "locate"]
