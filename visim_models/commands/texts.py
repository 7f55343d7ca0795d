"""What the commands share: the words for a repo."""

import argparse
from typing import TypeAlias

__all__ = ["REPO_HELP", "Commands"]

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

REPO_HELP = "a folder, namespace/repo on the Hub, or a short name such as car-extractor"
