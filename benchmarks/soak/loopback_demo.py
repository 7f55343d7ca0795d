"""The demo as `demo/app.py` serves it, except that it fetches pictures from this machine, too.

The hosts of the attacks are all on loopback, where the demo itself would never fetch from.
"""

import runpy
import sys
from pathlib import Path

__all__ = ["main"]

PROJECT = Path(__file__).resolve().parents[2]

if __name__ == "__main__":
    sys.path[0] = str(PROJECT)  # a program's own folder is on the path, and the packages are not


def main() -> None:
    """Serve the demo, with the options of the command line."""
    import demo.fetching
    from visim_models.sources.download import download, origin

    def fetch(url: str, *, timeout: float) -> bytes:
        return download(url, timeout=timeout, trusted_origin=origin(url))

    vars(demo.fetching)["download"] = fetch
    runpy.run_path(str(PROJECT / "demo" / "app.py"), run_name="__main__")


if __name__ == "__main__":
    main()
