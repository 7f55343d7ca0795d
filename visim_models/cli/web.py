"""`visim web`: write galleries as a static page, which needs no server of its own."""

import argparse

from visim_models.cli import REPO_HELP, Commands
from visim_models.galleries.site import SitePage, find_assets, find_runtime, write_site
from visim_models.gallery import Gallery
from visim_models.repo_folder import RepoFolder
from visim_models.repo_folder.manifest import CONFIG

__all__ = ["add_web", "own_page"]

_EXAMPLES = """\
examples:
  visim web my-gallery --out site
  visim web my-gallery --with-pictures --out site
  python -m http.server --directory site 8000"""


def add_web(commands: Commands) -> None:
    """Add the command `web`."""
    parser = commands.add_parser(
        "web",
        help="write galleries as a static page",
        description="Write a folder of plain files that any web server, or a static Space, can serve. The networks run "
        "in the visitor's browser, and nothing is uploaded.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("repos", metavar="REPO", nargs="+", help=f"repos with a gallery: {REPO_HELP}")
    parser.add_argument(
        "--out", metavar="FOLDER", default="site", help="a new or empty folder, or an older site [%(default)s]"
    )
    parser.add_argument("--title", default="", help="of the page [that of the gallery]")
    parser.add_argument(
        "--with-pictures",
        action="store_true",
        help="put small copies of the pictures into the site; else they are fetched from the image root, where that is "
        "on the web",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    pages = []
    for number, source in enumerate(options.repos):
        repo = RepoFolder.find(source)
        pages.append(own_page(repo, key=f"gallery{number or ''}", with_pictures=options.with_pictures))
    assets = find_assets()
    report = write_site(pages, options.out, assets=assets, runtime=find_runtime(assets), title=options.title)
    print("\n".join(report.lines()))
    print(f"Serve it, for example, with: python -m http.server --directory {options.out} 8000")
    return 0


def own_page(repo: RepoFolder, *, key: str, with_pictures: bool) -> SitePage:
    """Return the page of a maker's gallery."""
    gallery = Gallery.load(repo, sample=True)
    is_autoencoder = repo.json(CONFIG).get("model_type") == "convolutional-autoencoder"
    return SitePage(
        key=key,
        ways={"by features": repo},
        painter=repo if is_autoencoder else None,
        pictures=gallery.image_root if with_pictures else None,
    )
