"""Works are timed in turns, and figures are medians."""

import time

from benchmarks.timing import interleaved, median, medians, percentile


def test_turns_are_taken_and_the_first_is_not_timed() -> None:
    calls: list[str] = []
    seconds = interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=2, each={"a": 2})
    assert "".join(calls) == "aab" * 3
    assert {name: len(values) for name, values in seconds.items()} == {"a": 4, "b": 2}


def test_long_works_need_no_untimed_turn() -> None:
    calls: list[str] = []
    interleaved({"a": lambda: calls.append("a")}, rounds=2, warm_ups=0)
    assert calls == ["a", "a"]


def test_the_time_is_that_of_the_work() -> None:
    seconds = interleaved({"long": lambda: time.sleep(0.02), "short": lambda: None}, rounds=2, warm_ups=0)
    assert min(seconds["long"]) >= 0.02 > max(seconds["short"])


def test_medians_by_hand() -> None:
    assert median([9, 1, 2]) == 2
    assert median([4, 1]) == 2.5
    assert medians({"a": [0.003, 0.001, 0.1], "b": [1.0]}, scale=1e3) == {"a": 3.0, "b": 1000.0}


def test_percentiles_by_hand() -> None:
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile(list(range(1, 101)), 0.95) == 95
    assert percentile([7], 0.95) == 7
