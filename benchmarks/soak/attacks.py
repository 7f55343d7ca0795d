"""Attacks on the demo by its own routes: while each runs, another visitor is answered within three seconds."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.demo_process import DemoProcess, running_demo
from benchmarks.process_memory import resident_memory
from benchmarks.soak.bad_host import BadHost
from benchmarks.soak.errors import SoakError
from benchmarks.soak.traffic import Question, questions
from benchmarks.visitor import RefusedError, Visitor

__all__ = ["Attack", "answer_during", "attacks", "check_attack", "check_attacks"]

_LONGEST = 3.0
_ATTACKERS = 24
_GROWTH = 800e6  # of all attacks together: the buffers of four fetches, and the heaps that their threads keep
_TIMEOUT = 20.0

Request = tuple[str, dict[str, Any]]
"""Path below the demo's address, and the JSON body."""


@dataclass(frozen=True)
class Attack:
    """Requests that many attackers send over and over.

    Attributes:
        name: of the attack.
        host: the behaviour of the host that the requests name, a key of `BEHAVIOURS`.
        make: (demo's address, address of a picture on the host) -> the requests, sent in turn.
    """

    name: str
    host: str
    make: Callable[[str, str], list[Request]]

    @contextmanager
    def running(self, url: str) -> Iterator[dict[str, int]]:
        """Attack until the block ends.

        Yields:
            Kind of answer ("200", "503", "timeout", ...) -> how often it came, counted while the attack runs.
        """
        over, counts, lock = threading.Event(), dict[str, int](), threading.Lock()
        with BadHost(self.host) as host, _client(url) as client:
            requests = self.make(url, host.address)

            def attack(number: int) -> None:
                while not over.is_set():
                    kind = _send(client, *requests[number % len(requests)])
                    number += 1
                    with lock:
                        counts[kind] = counts.get(kind, 0) + 1

            threads = [threading.Thread(target=attack, args=(number,)) for number in range(_ATTACKERS)]
            for thread in threads:
                thread.start()
            try:
                yield counts
            finally:
                over.set()
                host.hang_up()  # the attackers need not wait for the demo's own deadline
                for thread in threads:
                    thread.join()


def attacks() -> list[Attack]:
    """List the attacks, from one call that is answered without an end to floods of all kinds at once."""
    return [
        Attack("a file without an end, by address", "endless", lambda _, picture: [_endpoint(picture)]),
        *(
            Attack(f"a host that is {behaviour}, in the page and at an endpoint", behaviour, _both)
            for behaviour in ("dripping a header", "processing (102)", "dripping a chunk", "silent")
        ),
        Attack("direct calls past the queue", "silent", _direct),
        Attack("fetching functions put into the queue", "silent", lambda url, picture: [_queued(url, picture)]),
    ]


def check_attacks(folder: Path, *, seconds: float) -> list[str]:
    """Attack a demo of its own in each way for so many seconds, and search meanwhile.

    Raises:
        SoakError: another visitor waited for too long or got a wrong answer, or the memory of the demo grew.
    """
    ordinary, _ = questions(hostile=False)
    with running_demo(folder, program="benchmarks/soak/loopback_demo.py") as demo:
        with Visitor(demo.url) as visitor:
            for question in ordinary[:8]:
                question.ask(visitor)  # the first answers start threads
        before = resident_memory(demo.pid)
        facts = [check_attack(demo, attack, ordinary, seconds) for attack in attacks()]
        growth = resident_memory(demo.pid) - before
    fact = f"the memory of the demo grew by {growth / 1e6:,.0f} MB in all attacks"
    if growth > _GROWTH:
        raise SoakError("; ".join([fact, *facts]))
    return [*facts, fact]


def check_attack(demo: DemoProcess, attack: Attack, asked: list[Question], seconds: float) -> str:
    """Search while an attack runs, and return the facts in words.

    Raises:
        SoakError: an answer was wrong or took too long.
    """
    try:
        taken, got = answer_during(demo, attack, asked, seconds)
    except (AssertionError, RefusedError, httpx.HTTPError) as error:
        raise SoakError(f"{attack.name}: another visitor got no right answer: {error!r}") from error
    fact = (
        f"{attack.name}: {len(taken)} answers to another visitor, the slowest in {max(taken):.2f} s; "
        f"the attackers got {got}"
    )
    if max(taken) > _LONGEST:
        raise SoakError(fact)
    return fact


def answer_during(demo: DemoProcess, attack: Attack, asked: list[Question], seconds: float) -> tuple[list[float], str]:
    """Search again and again while an attack runs.

    Returns:
        The seconds of each answer, and the answers that the attackers got.

    Raises:
        AssertionError: an answer is wrong.
        RefusedError: the demo refuses a query.
    """
    taken: list[float] = []
    with attack.running(demo.url) as counts, Visitor(demo.url, timeout=_TIMEOUT) as visitor:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            start = time.monotonic()
            asked[len(taken) % len(asked)].ask(visitor)
            taken.append(time.monotonic() - start)
        got = ", ".join(f"{count} x {kind}" for kind, count in sorted(counts.items())) or "nothing"
    return taken, got


def _client(url: str) -> httpx.Client:
    limits = httpx.Limits(max_connections=None)
    return httpx.Client(base_url=url, timeout=_TIMEOUT, limits=limits, verify=False)  # plain http: no CAs to load


def _send(client: httpx.Client, path: str, body: dict[str, Any]) -> str:
    try:
        return str(client.post(f"gradio_api/{path}", json=body).status_code)
    except httpx.TimeoutException:
        return "timeout"
    except httpx.HTTPError:
        return "no answer"


def _endpoint(picture: str) -> Request:
    file = {"path": picture, "url": picture, "meta": {"_type": "gradio.FileData"}}
    return "call/search_cars", {"data": [file, 4]}


def _page_function(url: str, name: str) -> int:
    config = httpx.get(f"{url}config", timeout=_TIMEOUT, verify=False).json()
    return int(next(function["id"] for function in config["dependencies"] if function["api_name"] == name))


def _fetch_in_page(url: str, picture: str) -> dict[str, Any]:
    index = _page_function(url, "_on_address")
    return {"data": [picture, "by look", "", 4], "fn_index": index, "session_hash": "attacker"}


def _both(url: str, picture: str) -> list[Request]:
    return [("run/_on_address", _fetch_in_page(url, picture)), _endpoint(picture)]


def _direct(url: str, _: str) -> list[Request]:
    index = _page_function(url, "_on_upload")
    search = {"data": [None, None, "by look", "", 4], "fn_index": index, "session_hash": "attacker"}
    return [("run/_on_upload", search), ("run/search_cars", {"data": [None, 4]}), ("api/search_cars", {"data": [3, 4]})]


def _queued(url: str, picture: str) -> Request:
    return "queue/join", _fetch_in_page(url, picture)
