"""Fetching pictures by their web address: a few at once, a few more that wait, and the others refused at once."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from visim_models import ImageSourceError
from visim_models.sources.download import download

__all__ = ["FetchBusyError", "FetchLimit", "check_for_room", "fetch", "fetch_slot"]

_SECONDS = 8.0
_MAX_LENGTH = 2000


class FetchBusyError(ImageSourceError):
    """So many pictures are being fetched that another one does not even wait."""


class FetchLimit:
    """A small queue of its own for fetching: slow hosts hold up other fetches, and never a query with an upload.

    Args:
        at_once: how many fetches run at the same time.
        waiting: how many more may wait.
    """

    def __init__(self, *, at_once: int, waiting: int) -> None:
        self._running = threading.BoundedSemaphore(at_once)
        self._room = at_once + waiting
        self._lock = threading.Lock()

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Wait until a fetch may run, and hold its slot.

        Raises:
            FetchBusyError: too many wait already.
        """
        with self._lock:
            self.check()
            self._room -= 1
        try:
            with self._running:
                yield
        finally:
            with self._lock:
                self._room += 1

    def check(self) -> None:
        """Check that there is room for another fetch, to run or to wait.

        Raises:
            FetchBusyError: there is none.
        """
        if self._room <= 0:
            raise FetchBusyError(
                "too many pictures are being fetched: try again in some seconds, or upload the file itself."
            )


_limit = FetchLimit(at_once=4, waiting=8)  # of the whole process, which has one connection to the outside


def fetch_slot() -> AbstractContextManager[None]:
    """Hold one of the process's slots for fetching, and for the work on the picture that no other limit covers.

    Raises:
        FetchBusyError: too many wait already.
    """
    return _limit.slot()


def check_for_room() -> None:
    """Check that another fetch may run, or wait, in this process.

    Raises:
        FetchBusyError: too many wait already.
    """
    _limit.check()


def fetch(address: str | None) -> bytes:
    """Fetch the file at a public web address; to be called inside `fetch_slot`.

    Raises:
        ImageSourceError: the address is refused, or cannot be reached in time.
    """
    if not (url := (address or "").strip()):
        raise ImageSourceError("no address was given: paste one like https://host/picture.jpg.", key="address")
    if len(url) > _MAX_LENGTH:
        raise ImageSourceError(
            f"the address is longer than {_MAX_LENGTH} characters: give a shorter one.", key="address"
        )
    try:
        return download(url, timeout=_SECONDS)
    except FileNotFoundError:
        refusal = ImageSourceError(f"{url} leads to no file: check the address.", path=url)
    except ImageSourceError as error:
        refusal = type(error)(str(error), path=url)
    raise refusal  # a new one: the frames of the first hold all that was read, and others may keep it for a while
