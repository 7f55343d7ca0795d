"""A Space that shows one gallery, without visim's own models: the files of the app, and a program that starts it."""

import re
import shutil
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from huggingface_hub import SpaceCardData

from hub.publish_plan import check_space, read_front_matter, space_files
from visim_models.about import GalleryAbout
from visim_models.errors import ConfigurationError, RepositoryError
from visim_models.galleries.card import escaped
from visim_models.repo_folder.card_mark import mark_card
from visim_models.repo_folder.manifest import CARD

__all__ = ["GALLERY_SPACE_PATTERNS", "PROGRAM", "stage_gallery_space"]

PROGRAM: Final = "visim_app.py"
"""File of the Space that the Hub starts."""

GALLERY_SPACE_PATTERNS: Final = (
    CARD, PROGRAM, "LICENSE", "requirements.txt", "demo/*", "hub/*", "visim_models/*",
)  # fmt: skip
"""Files of the Space that publishing may replace or delete, as fnmatch reads them."""

_OF_THE_PROJECT: Final = ("sdk", "sdk_version", "python_version", "suggested_hardware", "license")
"""Keys that the front matter has from the project's own."""

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


def stage_gallery_space(
    project: Path,
    target: Path,
    *,
    gallery_id: str,
    about: GalleryAbout,
    datasets: Sequence[str] = (),
    needs_timm: bool = False,
) -> None:
    """Write the files of a gallery's Space into an existing folder.

    Args:
        project: the project's own folder.
        target: the folder.
        gallery_id: of the gallery on the Hub, or a folder.
        about: how the gallery describes itself.
        datasets: of the Hub that have the gallery's pictures.
        needs_timm: whether the gallery's network is one of timm.

    Raises:
        ConfigurationError: the project's front matter is not that of a Space, or it names no version of timm.
        RepositoryError: a file cannot be copied.
    """
    check_space(project)
    names = [name for name in space_files(project) if not name.startswith(("hub/pretrained/", "docs/"))]
    try:
        for name in names:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(project / name, target / name)
        if needs_timm:
            with (target / "requirements.txt").open("a", encoding="utf-8", newline="\n") as file:
                file.write(f"{_timm_requirement(project)}\n")
        (target / PROGRAM).write_text(_SOURCE.format(gallery_id=gallery_id), encoding="utf-8", newline="\n")
        readme = _readme(project, gallery_id, about, datasets)
        (target / CARD).write_text(readme, encoding="utf-8", newline="\n")
    except (OSError, ValueError) as error:
        if isinstance(error, ConfigurationError):
            raise
        raise RepositoryError(f"The Space's files cannot be gathered in {target} ({error}).") from error


def _readme(project: Path, gallery_id: str, about: GalleryAbout, datasets: Sequence[str]) -> str:
    title = " ".join(about.title.split()) or gallery_id.rpartition("/")[2]
    front = SpaceCardData(
        title=title,
        emoji="🔎",
        colorFrom="green",
        colorTo="blue",
        app_file=PROGRAM,
        models=[gallery_id],
        datasets=list(datasets) or None,
        tags=["visual-similarity", "image-retrieval", "visim"],
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
