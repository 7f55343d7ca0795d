"""Time works in turns, so that everything else that the machine does falls on all of them alike."""

import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["Work", "interleaved", "median", "medians", "percentile"]

Work = Callable[[], object]


def interleaved(
    works: Mapping[str, Work], *, rounds: int, each: Mapping[str, int] | None = None, warm_ups: int = 1
) -> dict[str, list[float]]:
    """Time several works in turns.

    Args:
        works: name -> the work to time.
        rounds: how many timed turns each work gets.
        each: name -> how often a work runs in one of its turns, for short ones; 1 where it is not named.
        warm_ups: how many turns go before, which are not timed.

    Returns:
        Name -> the seconds of each timed run, in order.
    """
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(-warm_ups, rounds):
        for name, work in works.items():
            for _ in range((each or {}).get(name, 1)):
                start = time.perf_counter()
                work()
                if turn >= 0:
                    seconds[name].append(time.perf_counter() - start)
    return seconds


def median(values: Iterable[float]) -> float:
    """Return the median: every figure of a row is one."""
    return statistics.median(values)


def medians(seconds: Mapping[str, Sequence[float]], *, scale: float = 1.0) -> dict[str, float]:
    """Return the median of each work, in seconds times `scale`."""
    return {name: scale * median(values) for name, values in seconds.items()}


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of the values do not exceed."""
    return sorted(values)[max(math.ceil(share * len(values)) - 1, 0)]
