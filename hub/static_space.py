"""Publish the static page of a gallery as a Space: plain files, which need no paid plan."""

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Final

from huggingface_hub import HfApi, SpaceCardData

import visim_models
from hub.space import checked_repo_id
from visim_models.cli.build import own_page
from visim_models.errors import RepositoryError
from visim_models.galleries.site import find_assets, find_runtime, write_site
from visim_models.gallery import GalleryAbout
from visim_models.repo_folder import RepoFolder, is_repo
from visim_models.repo_folder.card import escaped, mark_card
from visim_models.repo_folder.hub_repo import HubRepo, hub_client
from visim_models.repo_folder.manifest import CARD, EMBEDDINGS

__all__ = ["publish_static"]

_PATTERNS: Final = (CARD, "index.html", "*.js", "*.css", "texts.json", "site.json", "ort/*", "gallery*/*")
"""Files of a static Space, whose page `visim_models.galleries.site` writes."""
_BODY: Final = """\
# {title}

{description}Give it a picture: it shows the pictures of the gallery that look most like it, with a percentage, and says
so when yours is not the kind of picture that it knows. The network runs in your browser, and nothing is uploaded.

Made with visim.
"""


def publish_static(
    namespace: str,
    gallery: Path,
    *,
    pictures: str | os.PathLike[str] | None = None,
    name: str | None = None,
    private: bool = False,
    dry_run: bool = False,
    api: HfApi | None = None,
) -> list[str]:
    """Publish the static page of a gallery as a Space, which needs no paid plan; return and print its address.

    Args:
        namespace: user or organisation.
        gallery: the folder, which `visim build` made. It stays as it is.
        pictures: a folder or a zip with the gallery's pictures, small copies of which are part of the page; None for
            pictures that are fetched from the gallery's image root.
        name: of the Space on the Hub; by default that of the folder.
        private: make a new Space private; one that exists stays as it is.
        dry_run: only print the files that would be sent.
        api: a client with a token; by default one with the token that `hf auth login` left.

    Raises:
        RepositoryError: the folder is no gallery, the name is none for a repo, there is no token, or the Hub refuses.
        VisimError: a file of the gallery is damaged, or its network cannot be written as ONNX.
    """
    repo_id = checked_repo_id(namespace, name or gallery.resolve().name)
    if not is_repo(gallery) or not (gallery / EMBEDDINGS).is_file():
        raise RepositoryError(f"{gallery} has no gallery: make one with visim build PICTURES --out {gallery}")
    repo, assets = RepoFolder(gallery), find_assets()
    with tempfile.TemporaryDirectory(prefix="visim-publish-") as work:
        folder = Path(work) / "page"
        copied = None if pictures is None else os.fspath(pictures)
        page = replace(own_page(repo, key="gallery", with_pictures=False), pictures=copied)
        report = write_site([page], folder, assets=assets, runtime=find_runtime(assets))
        _write_readme(folder, gallery_id=repo_id, about=GalleryAbout.load(repo))
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        files = {path.relative_to(folder).as_posix(): path.stat().st_size for path in paths}
        size = sum(files.values())
        print(f"space {repo_id}: {len(files)} files, {size:,} bytes, from {gallery}", *report.notes, sep="\n")
        if dry_run:
            print("\n".join(f"  {each:>12,}  {name}" for name, each in files.items()))
            print(f"dry run: {size:,} bytes in 1 repo; nothing was sent")
            return []
        space = HubRepo(api or hub_client(), repo_id, kind="space", sdk="static")
        address = space.send(
            folder,
            mark="site.json",
            owned=_PATTERNS,
            keeps_edited_card=True,
            message=f"visim {visim_models.__version__}",
            private=private,
        )
    print("".join(f"note: {note}\n" for note in space.notes) + address)
    return [address]


def _write_readme(target: Path, *, gallery_id: str, about: GalleryAbout) -> None:
    """Write the README of a static Space beside its page."""
    title = " ".join(about.title.split()) or gallery_id.rpartition("/")[2]
    front = SpaceCardData(
        title=title,
        emoji="🔎",
        colorFrom="green",
        colorTo="blue",
        sdk="static",
        app_file="index.html",
        tags=["visual-similarity", "image-retrieval", "visim"],
        short_description="Find the pictures that look most like yours",
        # An isolated page has threads in WebAssembly; where a browser does not isolate it, it works with one.
        custom_headers={
            "cross-origin-embedder-policy": "credentialless",
            "cross-origin-opener-policy": "same-origin",
        },
    )
    description = escaped(about.description)
    body = _BODY.format(title=escaped(title), description=f"{description}\n\n" if description else "")
    text = mark_card(f"---\n{front.to_yaml()}\n---\n\n{body}")
    (target / CARD).write_text(text, encoding="utf-8", newline="\n")
