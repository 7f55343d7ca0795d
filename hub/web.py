"""Write the static page of the bundled galleries or of galleries of your own, and serve it on this machine."""

import argparse
import functools
import hashlib
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from hub.locate import locate
from visim_models.cli.build import own_page
from visim_models.galleries import build
from visim_models.galleries.site import SitePage, find_assets, find_runtime, write_site
from visim_models.repo_folder import RepoFolder

__all__ = ["SiteHandler", "add_arguments", "bundled_pages", "run"]

_OUT = Path(".visim") / "web"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--gallery", metavar="REPO", action="append", default=[], help="a gallery of your own; again for more"
    )
    parser.add_argument("--pictures", metavar="PICTURES", help="build a gallery of these pictures first")
    parser.add_argument("--with-pictures", action="store_true", help="put small copies of your pictures into the site")
    parser.add_argument(
        "--bundled", action="store_true", help="the cars and CIFAR-10, too, beside galleries of your own"
    )
    parser.add_argument("--title", default="", help="of the page")
    parser.add_argument("--out", metavar="FOLDER", default="site", help="[%(default)s]")
    parser.add_argument("--serve", metavar="PORT", type=int, help="serve it on 127.0.0.1 at this port")


def run(options: argparse.Namespace) -> None:
    """Write the site; serve it if that is asked for."""
    repos = list(options.gallery)
    if options.pictures:
        digest = hashlib.sha256(str(Path(options.pictures).resolve()).encode(errors="surrogateescape")).hexdigest()
        print("\n".join(build(options.pictures, _OUT / digest[:12], remove_missing=True).lines()))
        repos.insert(0, str(_OUT / digest[:12]))
    pages = [
        own_page(RepoFolder(locate(repo)), key=f"gallery{number or ''}", with_pictures=options.with_pictures)
        for number, repo in enumerate(repos)
    ]
    if options.bundled or not pages:
        pages += bundled_pages()
    assets = find_assets()
    report = write_site(pages, options.out, assets=assets, runtime=find_runtime(assets), title=options.title)
    print("\n".join(report.lines()))
    if options.serve is not None:
        _serve(options.out, options.serve)


def bundled_pages() -> list[SitePage]:
    """Return the pages of the bundled galleries, with the ways to compare that the demo has."""
    repo = {name: RepoFolder(locate(name)) for name in _NAMES}
    return [
        SitePage(key="cars", ways={"by body": repo["car-extractor"]}, painter=repo["car-autoencoder"], is_own=False),
        SitePage(
            key="cifar10",
            ways={"by kind": repo["cifar10-extractor"], "by look": repo["cifar10-autoencoder"]},
            judge="by kind",
            painter=repo["cifar10-autoencoder"],
            is_own=False,
        ),
    ]


_NAMES = ("car-extractor", "car-autoencoder", "cifar10-extractor", "cifar10-autoencoder")


class SiteHandler(SimpleHTTPRequestHandler):
    """Isolates the page from others, so that WebAssembly has threads, as `custom_headers` of a static Space do."""

    extensions_map = {  # noqa: RUF012
        **SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def end_headers(self) -> None:
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "credentialless")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing for each request."""


def _serve(folder: str, port: int) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", port), functools.partial(SiteHandler, directory=folder))
    print(f"Serving {folder} on http://127.0.0.1:{server.server_port} (Ctrl-C ends it)", flush=True)
    server.serve_forever()
