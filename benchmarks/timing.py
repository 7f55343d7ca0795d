"""Measuring: repeated and interleaved, so that what else the machine does falls on all sides alike."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

__all__ = ["interleaved", "percentile"]


def interleaved(
    works: Mapping[str, Callable[[], object]], *, rounds: int, each: Mapping[str, int] | None = None
) -> dict[str, list[float]]:
    """Seconds that each of several works takes, measured in turns after one untimed turn.

    Args:
        works: name -> what is timed.
        rounds: how many turns each work gets.
        each: name -> how often a work runs in one of its turns, for short ones; 1 where it is not named.
    """
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(rounds + 1):
        for name, work in works.items():
            for _ in range((each or {}).get(name, 1)):
                start = time.perf_counter()
                work()
                if turn:
                    seconds[name].append(time.perf_counter() - start)
    return seconds


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the values do not exceed; the median as usual."""
    if share == 0.5:
        return statistics.median(values)
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
