"""Make the material of the soak: drawn pictures, a tiny network, a short training run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from benchmarks.soak.children import run_whole
from benchmarks.soak.jobs import train_briefly
from tests.builders import files_of, tiny_repo, write_pictures

__all__ = ["Material", "files_of"]


@dataclass(frozen=True)
class Material:
    """The folders that the soak works with.

    Attributes:
        model: a tiny repo, for its network.
        pictures: 160 drawn pictures.
        others: 120 other ones.
        run: a training run on `pictures`.
    """

    model: Path
    pictures: Path
    others: Path
    run: Path

    @classmethod
    def make(cls, folder: Path) -> Self:
        """Make all of it in an existing folder."""
        pictures = write_pictures(folder / "pictures", 40, size=40)
        others = write_pictures(folder / "others", 30, size=40, seed=5)
        run = folder / "run"
        run_whole(train_briefly, pictures, run)
        return cls(tiny_repo(folder / "model"), pictures, others, run)
