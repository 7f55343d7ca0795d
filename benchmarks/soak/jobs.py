"""The jobs that the soak kills: the commands that write repo folders, and one that only reads them."""

import resource
import signal
from pathlib import Path

import hub.publish
from lab.export import export_run
from lab.train import main as train
from visim_models.galleries import build

__all__ = ["build_gallery", "build_gallery_on_a_small_disk", "export", "publish", "train_briefly"]


def train_briefly(pictures: Path, run: Path) -> None:
    """Train an autoencoder for one epoch."""
    if train(["autoencoder", "--data", str(pictures), "--out", str(run), "--epochs", "1", "--device", "cpu"]):
        raise RuntimeError("the training failed")


def export(run: Path, pictures: Path, out: Path, limit: int) -> None:
    """Export a run, as `python -m lab.export` does."""
    export_run(run, out, gallery=str(pictures), limit=limit)


def build_gallery(model: Path, pictures: Path, out: Path) -> None:
    """Make `out` a gallery of these pictures, whatever it was before, as `visim build --sync` does."""
    build(pictures, out, model=model, image_root="", remove_missing=True, progress=False)


def build_gallery_on_a_small_disk(model: Path, pictures: Path, out: Path, largest_file: int) -> None:
    """Build a gallery where no file may grow beyond `largest_file` bytes: writing more fails as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    build_gallery(model, pictures, out)


def publish(pretrained: Path) -> None:
    """Do all that publishing does on this machine, as `python -m hub publish --dry-run` does."""
    hub.publish.publish("someone", dry_run=True, only=sorted(hub.REPO_NAMES), pretrained=pretrained)
