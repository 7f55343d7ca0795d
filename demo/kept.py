"""Uploads that are kept so that the link to a search works: where the host allows it, for the hours that it says."""

import re
import secrets
import tempfile
import threading
import time
from pathlib import Path

from PIL import Image

from demo.temporary import sweep
from visim_models import ImageDecodeError, decode_image

__all__ = ["KeptUploads"]

_TOKEN = re.compile(r"[A-Za-z0-9_-]{22}")
_SIDE = 1024
_MAX_BYTES = 2**30
_SWEEP_SECONDS = 30.0


class KeptUploads:
    """A folder of uploads, each found by a random token of 128 bits alone, and deleted when its time is over.

    What is kept is a copy of the pixels, of at most 1024 a side: what else a file holds, such as the place where a
    photograph was taken, is not in it.

    Args:
        hours: how long an upload is kept.
        folder: for the copies; by default a new one in the temporary folder of the process.
        max_bytes: all copies together; then the oldest go.
    """

    def __init__(self, hours: float, *, folder: Path | None = None, max_bytes: int = _MAX_BYTES) -> None:
        self.hours = hours
        self._folder = folder or Path(tempfile.mkdtemp(prefix="visim-kept-"))
        self._max_bytes = max_bytes

    def keep(self, picture: Image.Image) -> str:
        """Keep a copy of a picture and return its token."""
        copy = picture.convert("RGB")
        copy.thumbnail((_SIDE, _SIDE))
        token = secrets.token_urlsafe(16)
        clean = Image.new("RGB", copy.size)
        clean.paste(copy)
        clean.save(self._path(token), "PNG")
        self.delete_old()
        return token

    def open(self, token: str) -> Image.Image:
        """Return the picture of a token.

        Raises:
            ImageDecodeError: there is none, or its time is over.
        """
        path = self._path(token) if _TOKEN.fullmatch(token) else None
        try:
            if path is None or time.time() - path.stat().st_mtime > 3600 * self.hours:
                raise FileNotFoundError
            return decode_image(path.read_bytes())
        except OSError as error:
            raise ImageDecodeError("the picture of this link is no longer kept: give it again.") from error

    def delete_old(self) -> None:
        """Delete the copies whose time is over."""
        sweep(self._folder, keep_seconds=3600 * self.hours, max_bytes=self._max_bytes)

    def start_deleting(self) -> None:
        """Delete the copies whose time is over from now on, every half minute."""

        def run() -> None:
            while True:
                time.sleep(_SWEEP_SECONDS)
                self.delete_old()

        threading.Thread(target=run, name="kept", daemon=True).start()

    def _path(self, token: str) -> Path:
        return self._folder / f"{token}.png"
