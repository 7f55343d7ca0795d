"""Many users at once, a tenth of their uploads hostile: each answer is its own picture's, and memory stays flat."""

import statistics
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hub
from benchmarks.demo_process import running_demo
from benchmarks.pictures import jpegs
from benchmarks.process_memory import resident_memory
from benchmarks.serving import Crowd
from benchmarks.soak.errors import SoakError
from benchmarks.timing import percentile
from benchmarks.visitor import RefusedError, Visitor
from tests.hostile_images import hostile_uploads
from visim_models import ImageDecodeError, SimilarityResult

__all__ = ["Question", "check_traffic", "questions"]

_TABS = {"cars": "car-extractor", "cifar10": "cifar10-autoencoder"}
_PICTURES = 60
_GROWTH = 1.1


@dataclass(frozen=True)
class Question:
    """An upload, and what must come of it.

    Attributes:
        name: of the upload.
        picture: its bytes.
        tab: where it is searched.
        expected: what the library finds, or None where it must be refused.
    """

    name: str
    picture: bytes
    tab: str
    expected: SimilarityResult | None

    def ask(self, visitor: Visitor) -> None:
        """Ask the demo.

        Raises:
            AssertionError: the answer is not this picture's.
        """
        try:
            answer = visitor.search(self.picture, tab=self.tab)
        except RefusedError as error:
            said = str(error)
            assert self.expected is None, f"{self.name} is refused: {said}"
            assert len(said) > 40, f"{self.name} is refused without a reason: {said}"
            assert "Traceback" not in said, f"{self.name} is refused with a traceback"
        else:
            assert self.expected is not None, f"{self.name} is answered: {answer}"
            self._compare(answer, self.expected)

    def _compare(self, answer: dict[str, Any], expected: SimilarityResult) -> None:
        scores = {match.file_name: match.score for match in expected.matches}
        last = min(scores.values())
        for rank, match in enumerate(answer["matches"]):
            right = abs(expected.matches[rank].score - match["score"]) < 1e-3
            known = match["file_name"] in scores or match["score"] - last < 1e-3  # two may change places at the end
            assert right, f"{self.name} has another picture's scores: {answer}"
            assert known, f"{self.name} has another picture's matches: {answer}"
        assert abs(answer["ood"]["score"] - expected.ood.score) < 0.05, f"{self.name} has another one's verdict"


def questions(*, hostile: bool = True) -> tuple[list[Question], list[Question]]:
    """Ordinary ones, half for each tab, and hostile ones.

    Args:
        hostile: False leaves the second list empty.
    """
    asked: tuple[list[Question], list[Question]] = [], []
    for tab, repo in _TABS.items():
        similarity = hub.load(repo)
        for number, picture in enumerate(jpegs(tab, _PICTURES)):
            asked[0].append(Question(f"picture {number}", picture, tab, similarity.search(picture)))
        for upload in hostile_uploads() if hostile else ():
            try:
                expected = similarity.search(upload.data)
            except ImageDecodeError:
                expected = None
            asked[1].append(Question(upload.name, upload.data, tab, expected))
    return asked


def check_traffic(folder: Path, *, users: int, seconds: float) -> list[str]:
    """Use a demo of its own.

    Raises:
        SoakError: an answer is lost, wrong or another one's, or the demo's memory grows.
    """
    ordinary, hostile = questions()
    with running_demo(folder) as demo:

        def ask(visitor: Visitor, number: int) -> None:
            kind, place = (ordinary, number) if number % 10 else (hostile, number // 10)
            kind[place % len(kind)].ask(visitor)

        memory: list[int] = []
        over = threading.Event()
        watch = threading.Thread(target=_watch, args=(demo.pid, memory, over))
        watch.start()
        crowd = Crowd(demo.url, ask).use(users, duration=seconds)
        over.set()
        watch.join()
        after = resident_memory(demo.pid)
        with Visitor(demo.url) as visitor:
            ordinary[0].ask(visitor)
    if crowd.errors:
        raise SoakError(f"{len(crowd.errors)} of {len(crowd.seconds)} answers are wrong, first: {crowd.errors[:3]}")
    fifths = [memory[place * len(memory) // 5 : (place + 1) * len(memory) // 5 + 1] for place in range(5)]
    steps = [statistics.median(part) for part in fifths]
    p50, p95 = (percentile(crowd.seconds, share) for share in (0.5, 0.95))
    facts = [
        f"{users} users, {seconds:.0f} s: {len(crowd.seconds)} answers ({crowd.throughput:.1f} a second), all right; "
        f"p50 {p50:.2f} s, p95 {p95:.2f} s",
        f"memory: {', '.join(f'{step / 1e6:,.0f}' for step in steps)} MB in each fifth, {after / 1e6:,.0f} MB after",
    ]
    if steps[4] > _GROWTH * steps[1]:
        raise SoakError(f"the memory of the demo grows: {facts[1]}")
    return facts


def _watch(pid: int, memory: list[int], over: threading.Event) -> None:
    while not over.wait(0.5):
        memory.append(resident_memory(pid))
