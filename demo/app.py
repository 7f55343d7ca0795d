"""The program that serves the demo: `python demo/app.py`. Options: `python demo/app.py --help`."""

import importlib
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["launch_options", "main", "mark_for_zero_gpu", "queue_options"]

if __name__ == "__main__":
    # A Space starts this file as a program: then its own folder is on the path, and the packages beside it are not.
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    # Before Gradio is imported, which reads these.
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", str(10**9))  # else it sums up all queries at every error
    from demo.settings import keep_proxies_away
    from demo.temporary import use_private_folder

    for name in keep_proxies_away(os.environ):
        print(f"{name} is a SOCKS proxy, which needs `pip install 'httpx[socks]'`: it is left out.", file=sys.stderr)
    use_private_folder()

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from demo.api import search_route
from demo.collection import Collection, load_collections
from demo.guard import Guard, Preview
from demo.heading import USUAL_HEADING, Heading, draw_preview, make_heading, preview_route, read_logo
from demo.page import build_demo, page_theme
from demo.settings import Settings, keep_proxies_away, parse_settings
from demo.temporary import start_sweeping
from demo.uploads import KeptUploads
from visim_models import VisimError
from visim_models.images import limited

_log = logging.getLogger("demo")

_SESSIONS = 500
"""Visits that Gradio remembers, at about 150 kB each. A query to an endpoint is one of its own, and Gradio would keep
10,000: 1.5 GB."""


def main(arguments: Sequence[str]) -> int:
    """Serve the demo until it is stopped, and return the exit status."""
    settings = parse_settings(arguments, os.environ)
    logging.basicConfig(format="%(asctime)s %(name)s %(message)s", level=logging.WARNING)
    _log.setLevel(logging.INFO)
    keep_proxies_away(os.environ, settings.host)
    mark_for_zero_gpu()
    if not limited.limits_available():
        _log.warning("NOT SAFE FOR STRANGERS: this system cannot limit what a bad picture takes. Serve only yourself.")
    limited.start()  # before the first upload
    start_sweeping(keep_seconds=settings.keep)
    try:
        logo = read_logo(settings.logo)  # a wrong name is told before a gallery is built
        collections = load_collections(settings)
        heading = make_heading(settings, collections, logo=logo)
        kept = KeptUploads(settings.keep_uploads) if settings.keep_uploads else None
        demo = build_demo(collections, heading=heading, keep_seconds=settings.keep, kept=kept)
    except VisimError as error:
        print(f"The demo cannot start. {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted. The same command goes on with the gallery where it stopped.", file=sys.stderr)
        return 130
    if kept:
        start_sweeping(kept.folder, keep_seconds=3600 * kept.hours)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stopped as by Ctrl-C, so that temporary files go
    demo.queue(**queue_options(settings))
    if settings.auth and os.environ.get("GRADIO_MCP_SERVER", "").lower() == "true":
        _log.warning("with --auth no tool of MCP can be called: Gradio calls them through a client without a login")
    try:
        picture = draw_preview(heading, collections[0])
        demo.launch(**launch_options(settings, collections, heading=heading, preview=picture))
    except OSError as error:
        print(f"Cannot listen on {settings.host}:{settings.port}: {error} Choose another with --port.", file=sys.stderr)
        return 1
    return 0


def queue_options(settings: Settings) -> dict[str, Any]:
    """Return the arguments of `gr.Blocks.queue`."""
    return {
        "default_concurrency_limit": settings.concurrency,
        "max_size": 64 * settings.concurrency,
        "api_open": False,  # no function of the queue can be called past it
    }


def launch_options(
    settings: Settings,
    collections: Sequence[Collection] = (),
    *,
    heading: Heading = USUAL_HEADING,
    preview: bytes | None = None,
) -> dict[str, Any]:
    """Return the arguments of `gr.Blocks.launch`.

    The collections are those that programs can search by one request; heading and preview, a PNG file, are for where
    the link to the page is passed on.
    """
    is_ipv6 = ":" in settings.host and not settings.host.startswith("[")
    return {
        "server_name": f"[{settings.host}]" if is_ipv6 else settings.host,  # as in an address
        "server_port": settings.port,
        "root_path": settings.root_path,
        "share": settings.share,
        "auth": settings.auth,
        "max_file_size": f"{settings.max_size}mb",
        "app_kwargs": {
            "routes": [
                Route("/healthz", _healthz),
                preview_route(preview or draw_preview(heading)),
                search_route(collections, concurrency=settings.concurrency),
            ],
            "middleware": [
                Middleware(Preview, heading=heading, root_path=settings.root_path),
                Middleware(Guard, max_upload=settings.max_size * 2**20),
            ],
        },
        "ssr_mode": False,  # on a Space, a page that is rendered on the server would answer for every address
        "run_history": False,
        "enable_monitoring": False,
        "num_workers": 0,  # the guard would not see the requests that other processes answer
        "state_session_capacity": _SESSIONS,
        **page_theme(),
    }


def mark_for_zero_gpu() -> None:
    """Mark one function as one that runs on a GPU; a ZeroGPU Space does not start without any.

    No query calls it. A marked function asks for a GPU at each call, at the cost of the visitor's quota, and visim
    computes on the CPU. Where the package `spaces` is not installed, nothing happens.

    Source: https://huggingface.co/docs/hub/spaces-zerogpu
    """
    try:
        spaces = importlib.import_module("spaces")
    except ImportError:
        return
    spaces.GPU(_never_called)


def _never_called() -> None:
    """Do nothing."""


async def _healthz(_: Request) -> Response:
    """Answer once the page is served, also to visitors without a password."""
    return PlainTextResponse("ok")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
