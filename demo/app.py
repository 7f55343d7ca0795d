"""The program that serves the demo: `python demo/app.py`. Options: `python demo/app.py --help`."""

import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["launch_options", "main"]

if __name__ == "__main__":
    # A Space starts this file as a program: then its own folder is on the path, and the packages beside it are not.
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before Gradio is imported

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from demo.collection import load_collections
from demo.page import build_demo, look
from demo.settings import Settings, parse_settings
from visim_models import VisimError

_log = logging.getLogger("demo")

_SESSIONS = 500
"""Visits that Gradio remembers, at about 150 kB each. A query to an endpoint is one of its own, and Gradio would keep
10,000: 1.5 GB."""


def main(arguments: Sequence[str]) -> int:
    """Serve the demo until it is stopped; the exit status."""
    settings = parse_settings(arguments, os.environ)
    logging.basicConfig(format="%(asctime)s %(name)s %(message)s", level=logging.WARNING)
    _log.setLevel(logging.INFO)
    try:
        demo = build_demo(load_collections(settings))
    except VisimError as error:
        print(f"The demo cannot start. {error}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stopped as by Ctrl-C, so that temporary files go
    demo.queue(default_concurrency_limit=settings.concurrency, max_size=64 * settings.concurrency)
    try:
        demo.launch(**launch_options(settings))
    except OSError as error:
        print(f"Cannot listen on {settings.host}:{settings.port}: {error} Choose another with --port.", file=sys.stderr)
        return 1
    return 0


def launch_options(settings: Settings) -> dict[str, Any]:
    """The arguments of `gr.Blocks.launch`."""
    return {
        "server_name": settings.host,
        "server_port": settings.port,
        "root_path": settings.root_path or None,
        "share": settings.share,
        "auth": settings.auth,
        "max_file_size": f"{settings.max_size}mb",
        "app_kwargs": {"routes": [Route("/healthz", _healthz)]},
        "run_history": False,
        "state_session_capacity": _SESSIONS,
        **look(),
    }


async def _healthz(_: Request) -> Response:
    """Answers once the page is served, to visitors without a password, too."""
    return PlainTextResponse("ok")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
