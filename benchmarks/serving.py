"""Rows: queries through the running demo, by one user and by many at once."""

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from gradio_client import Client, handle_file

import hub
from benchmarks.pictures import jpegs, upload
from benchmarks.scale import Scale
from benchmarks.table import Row
from benchmarks.timing import interleaved, percentile
from benchmarks.visitor import RefusedError, Visitor

__all__ = ["Crowd", "serving_rows", "user_rows"]

_MOST_MILLISECONDS = 100.0
_USERS = (1, 10, 50)
_TAB = "cars"


def serving_rows(scale: Scale) -> Iterator[Row]:
    """One user's query through the demo, by `gradio_client` and by plain HTTP, against the library call."""
    similarity = hub.load(dict(scale.repos)[_TAB])
    picture = upload(_TAB, data=scale.data)
    with tempfile.TemporaryDirectory(prefix="visim-bench-") as name:
        folder = Path(name)
        file = folder / "upload.jpg"
        file.write_bytes(picture)
        with scale.serve(folder) as demo, Visitor(demo.url) as visitor:
            client = Client(demo.url, verbose=False, ssl_verify=False)  # over plain http there is nothing to verify
            works: dict[str, Callable[[], object]] = {
                "library": lambda: similarity.search(picture),
                "gradio_client": lambda: client.predict(handle_file(file), 4, api_name=f"/search_{_TAB}"),
                "plain HTTP": lambda: visitor.search(picture, tab=_TAB),
            }
            seconds = interleaved(works, rounds=scale.rounds, each=dict.fromkeys(works, max(scale.queries // 2, 1)))
            client.close()
    times = {name: percentile(values, 0.5) * 1e3 for name, values in seconds.items()}
    for way in ("gradio_client", "plain HTTP"):
        yield Row(
            what=f"a query through the demo, {way}, one user", measured=times[way], unit="ms",
            baseline_name="the library call", baseline=times["library"], ratio=times[way] / times["library"],
            target=f"p50 < {_MOST_MILLISECONDS:.0f} ms", met=times[way] < _MOST_MILLISECONDS,
            note=f"p95 {percentile(seconds[way], 0.95) * 1e3:.0f} ms",
        )  # fmt: skip


@dataclass
class Crowd:
    """Visitors who each ask one query after the other, for a while.

    Args:
        url: of the demo.
        ask: one query of one visitor; it gets the visitor and a running number, other ones for each visitor.
    """

    url: str
    ask: Callable[[Visitor, int], object]
    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    elapsed: float = 0.0

    def use(self, users: int, *, duration: float) -> "Crowd":
        """Let so many visitors ask until the time is over, and each have its last answer."""
        start = time.perf_counter()
        deadline = start + duration
        threads = [threading.Thread(target=self._visit, args=(user, users, deadline)) for user in range(users)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.elapsed = time.perf_counter() - start
        return self

    @property
    def throughput(self) -> float:
        """Answers a second."""
        return len(self.seconds) / self.elapsed

    def _visit(self, user: int, users: int, deadline: float) -> None:
        number = user
        with Visitor(self.url) as visitor:
            while number == user or time.perf_counter() < deadline:
                start = time.perf_counter()
                try:
                    self.ask(visitor, number)
                except (RefusedError, httpx.HTTPError, AssertionError) as error:
                    self.errors.append(f"{type(error).__name__}: {error}")
                self.seconds.append(time.perf_counter() - start)
                number += users


def user_rows(scale: Scale) -> Iterator[Row]:
    """1, 10 and 50 users at once."""
    pictures = jpegs(_TAB, 40, data=scale.data)
    with (
        tempfile.TemporaryDirectory(prefix="visim-bench-") as name,
        scale.serve(Path(name)) as demo,
    ):

        def ask(visitor: Visitor, number: int) -> object:
            return visitor.search(pictures[number % len(pictures)], tab=_TAB)

        Crowd(demo.url, ask).use(4, duration=scale.seconds / 3)  # the first answers start threads
        crowds = {users: Crowd(demo.url, ask).use(users, duration=scale.seconds) for users in _USERS}
    for users, crowd in crowds.items():
        alone = crowds[1].throughput
        p50, p95 = (percentile(crowd.seconds, share) * 1e3 for share in (0.5, 0.95))
        enough = crowd.throughput >= alone if users == 10 else True
        yield Row(
            what=f"{users} {'user' if users == 1 else 'users'} at once", measured=crowd.throughput, unit="answers/s",
            baseline_name="1 user", baseline=alone, ratio=crowd.throughput / alone,
            target="no error" + (", >= 1x" if users == 10 else ""), met=not crowd.errors and enough,
            note=f"p50 {p50:.0f} ms, p95 {p95:.0f} ms, {len(crowd.errors)} errors of {len(crowd.seconds)}",
        )  # fmt: skip
