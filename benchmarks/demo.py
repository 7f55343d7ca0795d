"""Rows: the start and the memory of the demo, queries through it by one visitor, and by many at once."""

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from gradio_client import Client, handle_file

import hub
from benchmarks.measuring import Row, Work, interleaved, median, medians, percentile
from benchmarks.processes import RefusedError, Visitor, resident_memory
from benchmarks.queries import query_parts, time_floors
from benchmarks.scale import Scale, jpegs, upload

__all__ = ["Crowd", "serving_rows", "startup_rows", "user_rows"]

_MOST_SECONDS = 10.0
_MOST_BYTES = 1.2e9
_IMPORTS = "import torch, gradio; print(open('/proc/self/status').read().split('VmRSS:')[1].split()[0])"


def startup_rows(scale: Scale) -> Iterator[Row]:
    """Measure the time and the memory of a start, with a warm file cache."""
    picture = upload("cars", data=scale.data)
    demo, imports = [], []
    if not scale.is_quick:
        _start_demo(picture, scale)  # fills the file cache
    for _ in range(scale.long_rounds):
        demo.append(_start_demo(picture, scale))
        imports.append(_import())
    seconds, memory = (median(values) for values in zip(*demo, strict=True))
    their_seconds, their_memory = (median(values) for values in zip(*imports, strict=True))
    yield Row(
        what="python demo/app.py to its first answer",
        measured=seconds,
        unit="s",
        baseline_name="import torch, gradio",
        baseline=their_seconds,
        ratio_unit="times as long",
        target=f"< {_MOST_SECONDS:.0f} s",
        met=seconds < _MOST_SECONDS,
    )
    yield Row(
        what="resident memory of the demo after it",
        measured=memory / 1e6,
        unit="MB",
        baseline_name="import torch, gradio",
        baseline=their_memory / 1e6,
        ratio_unit="times as much",
        target=f"< {_MOST_BYTES / 1e6:,.0f} MB",
        met=memory < _MOST_BYTES,
    )


def _start_demo(picture: bytes, scale: Scale) -> tuple[float, float]:
    """Return the seconds to the first answer, and the bytes that are resident after it."""
    with tempfile.TemporaryDirectory(prefix="visim-bench-") as folder:
        start = time.perf_counter()
        with scale.serve(Path(folder)) as demo, Visitor(demo.url) as visitor:
            visitor.search(picture, tab="cars")
            return time.perf_counter() - start, float(resident_memory(demo.pid))


def _import() -> tuple[float, float]:
    """Return the seconds of a process that imports both, and the bytes that are resident in it."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", _IMPORTS], check=True, capture_output=True, text=True)
    return time.perf_counter() - start, 1024.0 * int(done.stdout)


_MOST_MILLISECONDS = 100.0
_USERS = (1, 10, 50)
_TAB = "cars"
_CLIENT = "gradio_client"
_HTTP = "plain HTTP"


def serving_rows(scale: Scale) -> Iterator[Row]:
    """Measure one user's query through the demo, by `gradio_client` and by plain HTTP, against the library call."""
    similarity = hub.load(dict(scale.repos)[_TAB])
    picture = upload(_TAB, data=scale.data)
    parts = query_parts(similarity, picture)
    with tempfile.TemporaryDirectory(prefix="visim-bench-") as name:
        folder = Path(name)
        path = folder / "upload.jpg"
        path.write_bytes(picture)
        with scale.serve(folder) as demo, Visitor(demo.url) as visitor:
            client = Client(demo.url, verbose=False, ssl_verify=False)  # over plain http there is nothing to verify
            works: dict[str, Work] = {
                "library": lambda: similarity.search(picture),
                _CLIENT: lambda: client.predict(handle_file(path), 4, api_name=f"/search_{_TAB}"),
                _HTTP: lambda: visitor.ask(picture, tab=_TAB),
                **parts,
            }
            seconds = interleaved(works, rounds=scale.rounds, each=dict.fromkeys(works, max(scale.queries // 2, 1)))
            client.close()
    times = medians(seconds, scale=1e3)
    for way in (_CLIENT, _HTTP):
        yield Row(
            what=f"a query through the demo, {way}, one user",
            measured=times[way],
            unit="ms",
            baseline_name="the library call",
            baseline=times["library"],
            ratio_unit="times as long",
            floors=time_floors(times, parts),
            target=f"< {_MOST_MILLISECONDS:.0f} ms",
            met=times[way] < _MOST_MILLISECONDS,
            note=f"p95 {percentile(seconds[way], 0.95) * 1e3:.0f} ms",
        )


@dataclass
class Crowd:
    """Visitors who each ask one query after the other, for a while.

    Args:
        url: of the demo.
        ask: asks one query. It gets the visitor and a number that no other query of any visitor has.

    Attributes:
        seconds: the time of each answer, of all uses.
        errors: of all uses.
        rates: answers a second, of each use.
    """

    url: str
    ask: Callable[[Visitor, int], object]
    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)

    def use(self, users: int, *, duration: float) -> "Crowd":
        """Let visitors ask until the time is over, and wait for the last answer of each.

        Args:
            users: how many visitors there are.
            duration: in seconds.
        """
        start, before = time.perf_counter(), len(self.seconds)
        deadline = start + duration
        threads = [threading.Thread(target=self._visit, args=(user, users, deadline)) for user in range(users)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.rates.append((len(self.seconds) - before) / (time.perf_counter() - start))
        return self

    @property
    def throughput(self) -> float:
        """Return the answers a second: the median of all uses."""
        return median(self.rates)

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
    """Measure 1, 10 and 50 users at once, in turns."""
    pictures = jpegs(_TAB, 40, data=scale.data)

    def ask(visitor: Visitor, number: int) -> object:
        return visitor.search(pictures[number % len(pictures)], tab=_TAB)

    with tempfile.TemporaryDirectory(prefix="visim-bench-") as name, scale.serve(Path(name)) as demo:
        Crowd(demo.url, ask).use(4, duration=scale.seconds / 3)  # the first answers start threads
        crowds = {users: Crowd(demo.url, ask) for users in _USERS}
        for _ in range(scale.long_rounds):
            for users, crowd in crowds.items():
                crowd.use(users, duration=scale.seconds)
    alone = crowds[1].throughput
    for users, crowd in crowds.items():
        ratio = crowd.throughput / alone
        p50, p95 = (percentile(crowd.seconds, share) * 1e3 for share in (0.5, 0.95))
        yield Row(
            what=f"{users} {'user' if users == 1 else 'users'} at once",
            measured=crowd.throughput,
            unit="answers/s",
            baseline_name="1 user",
            baseline=alone,
            ratio=ratio,
            ratio_unit="of its rate",
            target="no error" + (", >= 1 of its rate" if users == 10 else ""),
            met=not crowd.errors and (ratio >= 1 or users != 10),
            note=f"p50 {p50:.0f} ms, p95 {p95:.0f} ms, {len(crowd.errors)} errors of {len(crowd.seconds)}",
        )
