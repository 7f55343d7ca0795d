"""Plan what publishing sends to the Hub: repos, files and sizes. Nothing is sent here."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from huggingface_hub import metadata_load

from hub.locate import BUNDLED, REPO_NAMES
from visim_models.errors import ConfigurationError, RepositoryError
from visim_models.repo_folder.manifest import MANIFEST, METADATA, PROCESSOR

__all__ = [
    "LEFT_OUT",
    "PARTS",
    "PROJECT",
    "SPACE",
    "SPACE_NAME",
    "RepoPlan",
    "check_space",
    "make_plan",
    "read_front_matter",
    "space_files",
    "stage_space",
    "zero_gpu_note",
]

PROJECT: Final = Path(__file__).resolve().parents[1]
SPACE: Final = "space"
PARTS: Final = (*REPO_NAMES, SPACE)
"""The values of `--only`: the short names of the model repos, and the Space."""

SPACE_NAME: Final = "visim"
PLACEHOLDER: Final = "NAMESPACE/"
"""Placeholder in the README's front matter for the namespace that the models are published under."""

ZERO_GPU_PYTHONS: Final = ("3.10", "3.12")
"""Those that ZeroGPU has. Asked for another one, it takes 3.10. Source: https://huggingface.co/docs/hub/spaces-zerogpu"""

LEFT_OUT: Final = ("*__pycache__/*", "*.pyc", "*.pyo", "*/.*", ".*")
"""Files that no repo gets, as fnmatch reads them: `*` matches slashes, too."""

# The files that the app needs to run and that its README shows. Tests, runs and set-up are left out.
_SPACE_PATTERNS: Final = ("README.md", "LICENSE", "requirements.txt", "demo/*", "hub/*", "visim_models/*", "docs/*.png")
_FORMER_FILES: Final = ("held_out.csv",)  # of repos that earlier versions published
_NEEDED_OF_A_MODEL: Final = (
    "config.json",
    "model.safetensors",
    "preprocessor_config.json",
    "README.md",
)
_NEEDED_OF_A_GALLERY: Final = ("gallery/metadata.csv", "gallery/embeddings.safetensors", "ood.json", "ood.safetensors")
_NEEDED_OF_A_SPACE: Final = (
    "title",
    "emoji",
    "colorFrom",
    "colorTo",
    "sdk",
    "sdk_version",
    "python_version",
    "app_file",
)


@dataclass(frozen=True, kw_only=True)
class RepoPlan:
    """One repo and the files that it gets.

    Attributes:
        part: one of `PARTS`, or a part of a gallery that is published.
        repo_id: namespace/name.
        kind: "model", "dataset" or "space", as the Hub calls them.
        folder: the folder with the files.
        files: paths in it, sorted.
        patterns: the files that publishing may replace or delete in the repo, as fnmatch reads them.
        mark: the file by which a repo that visim published is known.
        listing: the file that lists those that may be replaced or deleted, instead of `patterns`; "" for none.
        keeps_edited_card: whether a README.md that was edited on the Hub stays.
        source: the name of the folder for people; "" for its path.
    """

    part: str
    repo_id: str
    kind: str
    folder: Path
    files: list[str]
    patterns: tuple[str, ...] = ()
    mark: str
    listing: str = ""
    keeps_edited_card: bool = False
    source: str = ""

    @property
    def size(self) -> int:
        """Return the size of all files, in bytes."""
        return sum(self.size_of(name) for name in self.files)

    def size_of(self, name: str) -> int:
        """Return the size of one file as it is sent, in bytes."""
        if self.part == SPACE and name == "README.md":
            return len(_space_readme(self.folder, self.repo_id.split("/")[0]).encode())
        return (self.folder / name).stat().st_size

    def lines(self) -> list[str]:
        """Format the plan, a line a file."""
        source = self.source or self.folder
        head = f"{self.kind} {self.repo_id}: {len(self.files)} files, {self.size:,} bytes, from {source}"
        return [head, *(f"  {self.size_of(name):>12,}  {name}" for name in self.files)]


def make_plan(
    namespace: str, *, only: Sequence[str] = (), pretrained: Path = BUNDLED, project: Path = PROJECT
) -> list[RepoPlan]:
    """List the repos to publish, models first: the Space's page shows links to them.

    Args:
        namespace: user or organisation on the Hub.
        only: some of `PARTS`; by default all.
        pretrained: the folder with the repo folders.
        project: the project's own folder, which is the Space.

    Raises:
        RepositoryError: a folder is missing, or lacks files.
        ConfigurationError: the README's front matter is not that of a Space.
    """
    if unknown := set(only) - set(PARTS):
        raise RepositoryError(f"There is nothing called {sorted(unknown)} to publish: choose from {list(PARTS)}.")
    plans = []
    for part, repo in REPO_NAMES.items():
        if not only or part in only:
            plans.append(_model_plan(part, f"{namespace}/{repo}", pretrained / repo))
    if not only or SPACE in only:
        check_space(project)
        plans.append(
            RepoPlan(
                part=SPACE,
                repo_id=f"{namespace}/{SPACE_NAME}",
                kind="space",
                folder=project,
                files=space_files(project),
                patterns=_SPACE_PATTERNS,
                mark="demo/app.py",
            )
        )
    return plans


def space_files(project: Path) -> list[str]:
    """List the files of the project that its Space needs, sorted."""
    found = []
    for pattern in _SPACE_PATTERNS:
        top, _, rest = pattern.partition("/")
        paths = [project / top] if not rest else sorted((project / top).rglob("*"))
        names = [path.relative_to(project).as_posix() for path in paths if path.is_file()]
        found += [name for name in names if fnmatchcase(name, pattern)]
    return sorted(name for name in found if not any(fnmatchcase(name, pattern) for pattern in LEFT_OUT))


def stage_space(project: Path, target: Path, *, namespace: str | None = None) -> None:
    """Copy the files of a Space into an empty folder; `namespace` replaces the placeholder in the front matter.

    Raises:
        RepositoryError: a file cannot be copied.
    """
    try:
        for name in space_files(project):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(project / name, target / name)
        if namespace:
            (target / "README.md").write_text(_space_readme(project, namespace), encoding="utf-8", newline="\n")
    except (OSError, ValueError) as error:
        raise RepositoryError(f"The Space's files cannot be gathered in {target} ({error}).") from error


def read_front_matter(project: Path) -> dict[str, Any]:
    """Read the settings of the Space from the top of the project's README.

    Raises:
        ConfigurationError: there is no README, or no front matter in it that can be read.
    """
    path = project / "README.md"
    try:
        found = metadata_load(path)
    except Exception as error:  # no file, no YAML, YAML that is no mapping
        raise ConfigurationError(f"The front matter of {path} cannot be read ({error}).") from error
    if not found:
        raise ConfigurationError(f"{path} has no front matter: a Space is configured by it.")
    return found


def check_space(project: Path) -> None:
    """Check that the front matter makes the project a Gradio Space that can start.

    Raises:
        ConfigurationError: a setting is missing, or has a value that the Hub does not take.
    """
    front = read_front_matter(project)
    path = project / "README.md"
    if missing := [key for key in _NEEDED_OF_A_SPACE if key not in front]:
        raise ConfigurationError(f"The front matter of {path} lacks {missing}.")
    if not all(isinstance(front[key], str) for key in _NEEDED_OF_A_SPACE):
        raise ConfigurationError(
            f"The front matter of {path} needs quotes around its versions: 3.10 would be read as 3.1."
        )
    if front["sdk"] != "gradio":
        raise ConfigurationError(f"{path}: sdk is {front['sdk']!r}, but the demo is a gradio Space.")
    if front["app_file"] not in space_files(project):
        raise ConfigurationError(f"{path}: app_file is {front['app_file']!r}, and no such file goes to the Space.")
    if len(str(front.get("short_description", ""))) > 60:
        raise ConfigurationError(f"{path}: short_description is longer than the Hub's 60 characters.")


def zero_gpu_note(project: Path) -> str:
    """Say what to change before the Space runs on ZeroGPU, or "".

    Raises:
        ConfigurationError: the README's front matter cannot be read.
    """
    named = str(read_front_matter(project)["python_version"])
    if ".".join(named.split(".")[:2]) in ZERO_GPU_PYTHONS:
        return ""
    return (
        f"note: README.md names Python {named}, which ZeroGPU does not have: it would build the Space with 3.10, and "
        'visim needs 3.11. Write python_version: "3.12".'
    )


def _space_readme(project: Path, namespace: str) -> str:
    _, front, body = (project / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return "---\n".join(["", front.replace(PLACEHOLDER, f"{namespace}/"), body])


def _model_plan(part: str, repo_id: str, folder: Path) -> RepoPlan:
    if not folder.is_dir():
        raise RepositoryError(f"There is no {folder} to publish: make it with `python -m lab.export`.")
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
    names = [name for name in names if not any(fnmatchcase(name, pattern) for pattern in LEFT_OUT)]
    # The general extractor, which builds galleries, has none.
    has_gallery = "ood.json" in names or any(name.startswith("gallery/") for name in names)
    needed = (*_NEEDED_OF_A_MODEL, *(_NEEDED_OF_A_GALLERY if has_gallery else ()))
    if missing := sorted(set(needed) - set(names)):
        raise RepositoryError(f"{folder} lacks {missing}: it is not a whole repo; export it again.")
    return RepoPlan(
        part=part,
        repo_id=repo_id,
        kind="model",
        folder=folder,
        files=names,
        patterns=(*MANIFEST, *_FORMER_FILES),
        mark=METADATA if has_gallery else PROCESSOR,
    )
