"""Check that the demo, or the page of a gallery, would run as a Space: a clean environment, its files alone, queries.

The environment gets the packages that the Hub's builder installs: requirements.txt, and beside it the Gradio of the
README's front matter with two of its extras, whose own requirements must fit. Its Python is the one that the front
matter names where this machine has it. ZeroGPU is not imitated: the function that is marked for it runs on the CPU.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hub.space import (
    PROGRAM,
    PROJECT,
    check_space,
    read_front_matter,
    stage_gallery_space,
    stage_space,
    torch_note,
    zero_gpu_note,
)
from hub.space_probe import ENDPOINTS, Probe, probe_app
from visim_models import VisualSimilarity
from visim_models.errors import DataError

__all__ = ["SpaceReport", "add_arguments", "check", "find_python", "run"]


@dataclass(frozen=True)
class SpaceReport:
    """The outcome of the check.

    Attributes:
        python: version of the Python that it ran on.
        is_named_python: whether the front matter names that version.
        repository_bytes: of the files that the Space's repository holds.
        environment_bytes: of the installed packages.
        probe: the time and memory that starting and querying took.
    """

    python: str
    is_named_python: bool
    repository_bytes: int
    environment_bytes: int
    probe: Probe

    def lines(self) -> list[str]:
        """Format the report, a line a measurement."""
        note = "" if self.is_named_python else " (not the one that the README names)"
        memory = self.probe.peak_memory
        return [
            f"python           {self.python}{note}",
            f"repository       {self.repository_bytes / 1e6:.1f} MB",
            f"environment      {self.environment_bytes / 1e6:.0f} MB",
            f"start to page    {self.probe.start_seconds:.1f} s",
            *(f"{endpoint:<16} {seconds:.2f} s" for endpoint, seconds in self.probe.query_seconds.items()),
            f"peak memory      {f'{memory / 1e6:.0f} MB' if memory else 'not measured on this system'}",
        ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `python -m hub space-check`."""
    parser.add_argument("--python", type=Path, help="interpreter to use instead of the one that the README names")
    parser.add_argument(
        "--gallery",
        type=Path,
        metavar="FOLDER",
        help="check the Space that shows this gallery alone, as `publish --gallery` makes it, instead of visim's own",
    )
    parser.add_argument("--timeout", type=float, default=300, help="seconds that the page may take to appear")


def run(options: argparse.Namespace) -> None:
    """Check as the options say."""
    print("\n".join(check(python=options.python, gallery=options.gallery, timeout=options.timeout).lines()))


def check(
    project: Path = PROJECT, *, python: Path | None = None, gallery: Path | None = None, timeout: float = 300
) -> SpaceReport:
    """Install the Space's files and requirements, start the demo, query it, measure, and clean up.

    Args:
        project: the project's own folder.
        python: interpreter for the environment; by default the one that the front matter names, else this one.
        gallery: folder of the gallery that the Space shows alone; None for visim's own Space.
        timeout: seconds that the page may take to appear, and each answer.

    Raises:
        ConfigurationError: the README's front matter is not that of a Space.
        VisimError: the gallery cannot be loaded.
        DataError: the requirements cannot be installed, or the app does not start or answer.
    """
    check_space(project)
    front = read_front_matter(project)
    print("\n".join(note for note in (torch_note(), zero_gpu_note(project)) if note))
    named = str(front["python_version"])
    base = python or find_python(named) or Path(sys.executable)
    version = _version(base)
    if version is None:
        raise DataError(f"{base} is no Python that runs.")
    with tempfile.TemporaryDirectory(prefix="visim-space-check-") as name:
        folder, environment = Path(name) / "space", Path(name) / "environment"
        folder.mkdir()
        if gallery:
            similarity = VisualSimilarity.from_pretrained(gallery)
            about, needs_timm = similarity.gallery.about, similarity.network.model_type == "timm-backbone"
            gallery_id = str(gallery.resolve())
            stage_gallery_space(project, folder, gallery_id=gallery_id, about=about, needs_timm=needs_timm)
        else:
            stage_space(project, folder)
        print(f"installing requirements.txt and gradio {front['sdk_version']} with Python {version}: minutes")
        installed = _install(base, environment, folder, str(front["sdk_version"]))
        program, endpoints = (PROGRAM, None) if gallery else (str(front["app_file"]), ENDPOINTS)
        probe = probe_app(installed, folder, program, endpoints=endpoints, timeout=timeout)
        return SpaceReport(
            python=version,
            is_named_python=f"{version}.".startswith(f"{'.'.join(named.split('.')[:2])}."),
            repository_bytes=sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file()),
            environment_bytes=sum(path.lstat().st_size for path in environment.rglob("*") if path.is_file()),
            probe=probe,
        )


def find_python(version: str) -> Path | None:
    """Find an interpreter of a version (3.12 or 3.12.4) by its name on the path or among pyenv's; None if none runs."""
    minor = ".".join(version.split(".")[:2])
    found = shutil.which(f"python{minor}")
    candidates = [Path(found)] if found else []
    candidates += sorted(Path(os.path.expanduser("~/.pyenv/versions")).glob(f"{minor}*/bin/python"), reverse=True)
    return next((path for path in candidates if f"{_version(path)}.".startswith(f"{minor}.")), None)


def _version(python: Path) -> str | None:
    try:
        answer = subprocess.run(
            [python, "-c", "import platform; print(platform.python_version())"],
            capture_output=True,
            text=True,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None if answer.returncode == 0 else None


def _install(base: Path, environment: Path, folder: Path, gradio: str) -> Path:
    """Make a virtual environment with the packages that the Hub's builder installs; return its interpreter."""
    python = environment / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    steps: list[list[str | Path]] = [
        [base, "-m", "venv", environment],
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement",
         folder / "requirements.txt", f"gradio[oauth,mcp]=={gradio}", "uvicorn>=0.14.0", "websockets>=10.4", "spaces"],
    ]  # fmt: skip
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise DataError(f"The requirements cannot be installed:\n{(done.stderr or done.stdout)[-2000:]}")
    return python
