"""What the soak does in processes of their own: the steps that write, or only read, repo folders."""

import resource
import signal
from pathlib import Path

import hub.publish
from lab.export import export_run
from lab.train import main as train
from visim_models.build import build

__all__ = ["build_gallery", "build_gallery_on_a_small_disk", "export", "publish", "train_briefly"]


def train_briefly(pictures: Path, run: Path) -> None:
    """One epoch of an autoencoder."""
    if train(["autoencoder", "--data", str(pictures), "--out", str(run), "--epochs", "1", "--device", "cpu"]):
        raise RuntimeError("the training failed")


def export(run: Path, pictures: Path, out: Path, limit: int) -> None:
    """`python -m lab.export`."""
    export_run(run, out, gallery=str(pictures), limit=limit)


def build_gallery(model: Path, pictures: Path, out: Path) -> None:
    """`visim build --sync`: `out` becomes a gallery of these pictures, whatever it was before."""
    build(pictures, out, model=model, image_root="", remove_missing=True, progress=False)


def build_gallery_on_a_small_disk(model: Path, pictures: Path, out: Path, largest_file: int) -> None:
    """The same, where no file may grow beyond so many bytes: writing more fails as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    build_gallery(model, pictures, out)


def publish(pretrained: Path) -> None:
    """`python -m hub publish --dry-run`: all that publishing does on this machine."""
    hub.publish.publish("someone", dry_run=True, only=sorted(hub.REPO_NAMES), pretrained=pretrained)
