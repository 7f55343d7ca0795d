"""The files of a Space: visim's own, which is the project itself, or one that shows a single gallery."""

import re
import shutil
import tomllib
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from huggingface_hub import SpaceCardData, metadata_load

from hub.locate import REPO_NAMES
from visim_models.errors import ConfigurationError, RepositoryError
from visim_models.gallery import GalleryAbout
from visim_models.repo_folder.card import escaped, mark_card
from visim_models.repo_folder.manifest import CARD

__all__ = [
    "GALLERY_SPACE_PATTERNS",
    "LEFT_OUT",
    "PICTURES",
    "PROGRAM",
    "PROJECT",
    "SPACE_NAME",
    "SPACE_PATTERNS",
    "ZERO_GPU_TORCH",
    "check_space",
    "checked_repo_id",
    "copy_files",
    "read_front_matter",
    "space_files",
    "stage_gallery_space",
    "stage_space",
    "torch_note",
    "zero_gpu_note",
]

SPACE_NAME: Final = "visim"
PICTURES: Final = "pictures"
"""Ends the name of the data set with a gallery's pictures."""
_LONGEST_ID: Final = 96
_NAME: Final = re.compile(r"(?!.*(--|\.\.))\w([\w.-]*\w)?", re.ASCII)
"""Name that the Hub takes for a repo. Source: https://huggingface.co/docs/huggingface_hub, `validate_repo_id`."""
PROJECT: Final = Path(__file__).resolve().parents[1]
PROGRAM: Final = "visim_app.py"
"""File of a gallery's Space that the Hub starts."""

_REQUIREMENTS: Final = "requirements.txt"
_OF_THE_APP: Final = (CARD, "LICENSE", _REQUIREMENTS, "demo/*", "hub/*", "visim_models/*")
SPACE_PATTERNS: Final = (*_OF_THE_APP, "docs/*.png")
"""Files of visim's own Space, as fnmatch reads them: what the app needs to run, and what its README shows."""
GALLERY_SPACE_PATTERNS: Final = (*_OF_THE_APP, PROGRAM)
"""Files of a gallery's Space. Publishing may replace or delete these, and no others."""

LEFT_OUT: Final = ("*__pycache__/*", "*.pyc", "*.pyo", "*/.*", ".*")
"""Files that a repo does not get, as fnmatch reads them: `*` matches slashes, too."""

_PLACEHOLDER: Final = "NAMESPACE/"
"""Stands in the README's front matter for the namespace that the models are published under."""
_ZERO_GPU_PYTHONS: Final = ("3.10", "3.12")
"""Those that ZeroGPU has. Asked for another one, it takes 3.10. Source: https://huggingface.co/docs/hub/spaces-zerogpu"""
ZERO_GPU_TORCH: Final = {"2.9.1": "0.24.1", "2.10.0": "0.25.0", "2.11.0": "0.26.0"}
"""Versions of torch that ZeroGPU lists and visim takes -> the torchvision beside each. Others may be built, and fail.

Source: docs/hub/spaces-zerogpu.md of https://github.com/huggingface/hub-docs, as read in November 2026. The page listed
2.8.0 to 2.13.0 by September 2026; torchvision does not import beside the CPU build of 2.13.0, and visim needs 2.9.
"""
_MCP_TAG: Final = "mcp-server"
_NEEDED: Final = (
    "title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "python_version", "app_file",
)  # fmt: skip
_OF_THE_PROJECT: Final = ("sdk", "sdk_version", "python_version", "suggested_hardware", "license")
"""Keys that a gallery's Space has from the project's own front matter."""
_LONGEST_DESCRIPTION: Final = 60

_SOURCE: Final = '''\
"""Start the demo with this gallery alone. A variable in the Space's settings wins over one that is set here."""

import os
import runpy
from pathlib import Path

os.environ.setdefault("VISIM_GALLERIES", {gallery_id!r})
os.environ.setdefault("VISIM_ONLY", "1")
runpy.run_path(str(Path(__file__).resolve().parent / "demo" / "app.py"), run_name="__main__")
'''
_BODY: Final = """\
# {title}

{description}Give it a picture: it shows the pictures of the gallery [{gallery_id}](https://huggingface.co/{gallery_id})
that look most like it, with a percentage, and says so when yours is not the kind of picture that it knows.

Made with visim.
"""


def checked_repo_id(namespace: str, name: str) -> str:
    """Return the id of a gallery's repo on the Hub.

    Raises:
        RepositoryError: the name is none for a repo, or that of one of visim's own.
    """
    repo_id = f"{namespace}/{name}"
    longest = len(repo_id) + len(PICTURES) + 1
    if not (_NAME.fullmatch(namespace) and _NAME.fullmatch(name)) or longest > _LONGEST_ID or name.endswith(".git"):
        raise RepositoryError(
            f"{repo_id!r} is no name for a repo of the Hub, which has letters, digits, '-', '_' and '.': choose "
            f"another {'with --name' if _NAME.fullmatch(namespace) else '--namespace'}."
        )
    if name in {SPACE_NAME, *REPO_NAMES.values()}:
        raise RepositoryError(f"{name!r} is the name of one of visim's own repos: choose another with --name.")
    return repo_id


def space_files(project: Path) -> list[str]:
    """List the files of the project that its Space needs, sorted."""
    paths = (path for pattern in SPACE_PATTERNS for path in project.glob(pattern.replace("/*", "/**/*")))
    names = (path.relative_to(project).as_posix() for path in paths if path.is_file())
    return sorted(name for name in names if not any(fnmatchcase(name, pattern) for pattern in LEFT_OUT))


def copy_files(source: Path, target: Path, names: Iterable[str]) -> None:
    """Copy files of a folder into another one.

    Raises:
        RepositoryError: a file cannot be read, or the folder not be written.
    """
    try:
        for name in names:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, target / name)
    except OSError as error:
        raise RepositoryError(f"The files of {source} cannot be gathered in {target} ({error}).") from error


def stage_space(project: Path, target: Path, *, namespace: str = "", mcp: bool = False) -> None:
    """Put the files of visim's own Space into an empty folder.

    Args:
        project: the project's own folder.
        target: the folder.
        namespace: that the front matter names the models of; "" leaves the placeholder there.
        mcp: tag it as a server of the Model Context Protocol.

    Raises:
        ConfigurationError: the project's front matter is not that of a Space.
        RepositoryError: a file cannot be read or written.
    """
    check_space(project)
    copy_files(project, target, space_files(project))
    _write(target / _REQUIREMENTS, _requirements(project))
    _, front, body = (project / CARD).read_text(encoding="utf-8").split("---\n", 2)
    if namespace:
        front = front.replace(_PLACEHOLDER, f"{namespace}/")
    if mcp:
        tags = [*read_front_matter(project).get("tags", []), _MCP_TAG]
        front = re.sub(r"(?m)^tags:\n( *- .*\n)*", "", front) + "tags:\n" + "".join(f"  - {tag}\n" for tag in tags)
    _write(target / CARD, "---\n".join(["", front, body]))


def stage_gallery_space(
    project: Path,
    target: Path,
    *,
    gallery_id: str,
    about: GalleryAbout,
    datasets: Sequence[str] = (),
    needs_timm: bool = False,
    mcp: bool = False,
) -> None:
    """Put the files of a gallery's Space into an empty folder.

    Args:
        project: the project's own folder.
        target: the folder.
        gallery_id: of the gallery on the Hub, or a folder.
        about: how the gallery describes itself.
        datasets: of the Hub that have the gallery's pictures.
        needs_timm: whether the gallery's network is one of timm.
        mcp: tag it as a server of the Model Context Protocol.

    Raises:
        ConfigurationError: the project's front matter is not that of a Space, or it names no version of timm.
        RepositoryError: a file cannot be read or written.
    """
    check_space(project)
    copy_files(
        project, target, (name for name in space_files(project) if not name.startswith(("hub/pretrained/", "docs/")))
    )
    timm = f"{_timm_requirement(project)}\n" if needs_timm else ""
    _write(target / _REQUIREMENTS, _requirements(project) + timm)
    _write(target / PROGRAM, _SOURCE.format(gallery_id=gallery_id))
    _write(target / CARD, _gallery_readme(project, gallery_id, about, datasets, mcp=mcp))


def read_front_matter(project: Path) -> dict[str, Any]:
    """Read the settings of the Space from the top of the project's README.

    Raises:
        ConfigurationError: there is no README, or no front matter in it that can be read.
    """
    path = project / CARD
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
    path = project / CARD
    if missing := [key for key in _NEEDED if key not in front]:
        raise ConfigurationError(f"The front matter of {path} lacks {missing}.")
    if not all(isinstance(front[key], str) for key in _NEEDED):
        raise ConfigurationError(
            f"The front matter of {path} needs quotes around its versions: 3.10 would be read as 3.1."
        )
    if front["sdk"] != "gradio":
        raise ConfigurationError(f"{path}: sdk is {front['sdk']!r}, but the demo is a gradio Space.")
    if front["app_file"] not in space_files(project):
        raise ConfigurationError(f"{path}: app_file is {front['app_file']!r}, and no such file goes to the Space.")
    if len(str(front.get("short_description", ""))) > _LONGEST_DESCRIPTION:
        raise ConfigurationError(f"{path}: short_description is longer than the Hub's {_LONGEST_DESCRIPTION} letters.")


def zero_gpu_note(project: Path) -> str:
    """Say what to change before the Space runs on ZeroGPU, or "".

    Raises:
        ConfigurationError: the README's front matter cannot be read.
    """
    named = str(read_front_matter(project)["python_version"])
    if ".".join(named.split(".")[:2]) in _ZERO_GPU_PYTHONS:
        return ""
    return (
        f"note: README.md names Python {named}, which ZeroGPU does not have: it would build the Space with 3.10, and "
        'visim needs 3.11. Write python_version: "3.12".'
    )


def torch_note() -> str:
    """Say which torch the Space's requirements name, and why."""
    torch, torchvision = _newest_torch()
    return f"note: the Space installs torch {torch} and torchvision {torchvision}: ZeroGPU lists that version."


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def _requirements(project: Path) -> str:
    """Return the project's requirements with the newest torch that ZeroGPU lists, and the torchvision beside it."""
    torch, torchvision = _newest_torch()
    text = (project / _REQUIREMENTS).read_text(encoding="utf-8")
    text = re.sub(r"(?m)^torch\b.*$", f"torch=={torch}", text)
    return re.sub(r"(?m)^torchvision\b.*$", f"torchvision=={torchvision}", text)


def _newest_torch() -> tuple[str, str]:
    return list(ZERO_GPU_TORCH.items())[-1]


def _gallery_readme(project: Path, gallery_id: str, about: GalleryAbout, datasets: Sequence[str], *, mcp: bool) -> str:
    title = " ".join(about.title.split()) or gallery_id.rpartition("/")[2]
    front = SpaceCardData(
        title=title,
        emoji="🔎",
        colorFrom="green",
        colorTo="blue",
        app_file=PROGRAM,
        models=[gallery_id],
        datasets=list(datasets) or None,
        tags=["visual-similarity", "image-retrieval", "visim", *([_MCP_TAG] if mcp else [])],
        short_description="Find the pictures that look most like yours",
        **{key: value for key, value in read_front_matter(project).items() if key in _OF_THE_PROJECT},
    )
    description = escaped(about.description)
    body = _BODY.format(
        title=escaped(title), description=f"{description}\n\n" if description else "", gallery_id=gallery_id
    )
    return mark_card(f"---\n{front.to_yaml()}\n---\n\n{body}")


def _timm_requirement(project: Path) -> str:
    """Return the line of requirements.txt for timm, as the project's extra of that name has it.

    Raises:
        ConfigurationError: there is no such extra.
    """
    path = project / "pyproject.toml"
    try:
        extras = tomllib.loads(path.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
        return next(str(line) for line in extras["timm"] if re.match(r"timm\b", line))
    except (OSError, KeyError, ValueError, StopIteration) as error:
        raise ConfigurationError(f"{path} has no extra 'timm', which the gallery's Space needs.", path=path) from error
