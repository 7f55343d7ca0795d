"""metrics.json: the figures of a repo, the command that reproduces them, and how far each may move.

    {
      "command": "python -m lab.evaluate ...",   reproduces the file, baselines included
      "limit": null,               or the number of pictures of each part that a trial was limited to
      "weights_sha256": "...",     of the model.safetensors that was measured
      "data": {"cars/photos.zip": 7600, ...},               file of the data folder -> pictures read from it
      "figures": [{"name", "value", "unit", "n", "what", "tolerance", "interval", "target"}, ...],
      "baselines": [{..., "method"}, ...],                  figures of the same names, reached by other means
      "tables": {...}              what the card's plots are drawn from
    }

Two things that are easily confused are kept apart. `tolerance` says how far a value may move when the same pictures
are measured again on another machine: it is small, and `python -m lab.evaluate --check` compares with it alone.
`interval` says how far a value may move with other pictures of the same kind: the 95 % sampling interval, which is
printed beside the value and compared with nothing.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Self

from visim_models.errors import ConfigurationError
from visim_models.repo_folder import RepoDraft, RepoFolder, drafting
from visim_models.repo_folder.manifest import METRICS

__all__ = ["Figure", "Metrics", "differences", "is_met"]

_DIGITS: Final = 6
_UNITS: Final = ("%", "points", "dB", "")
_SIGNS: Final = {"at_least": ">=", "at_most": "<="}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured number.

    Attributes:
        name: the key. A baseline has the name of the figure that it is compared with.
        value: the number, in `unit`.
        unit: "%", "points" (a difference of two percentages), "dB", or "" for a plain number.
        n: how many pictures it was measured on.
        what: one sentence that says what it is.
        tolerance: how far another machine's arithmetic may move it, in `unit`.
        interval: low and high end of the 95 % sampling interval, in `unit`; None where sampling has no meaning.
        target: "at_least", "at_most" or both, in `unit`; None where there is no target.
        method: the method that reached it, for a baseline; "" for the repo itself.
    """

    name: str
    value: float
    unit: str
    n: int
    what: str
    tolerance: float
    interval: tuple[float, float] | None = None
    target: Mapping[str, float] | None = None
    method: str = ""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read one figure of metrics.json.

        Raises:
            ValueError: a key is missing, unknown or has a value that does not fit.
        """
        optional = {"method"}
        expected = {each.name for each in fields(cls)}
        if not expected - optional <= set(values) <= expected:
            raise ValueError(f"a figure needs the keys {sorted(expected - optional)}, not {sorted(values)}")
        found = cls(**{**values, "interval": None if values["interval"] is None else tuple(values["interval"])})
        found._check()
        return found

    def _check(self) -> None:
        interval = (self.value, self.value) if self.interval is None else self.interval
        target = {} if self.target is None else self.target
        texts = (self.name, self.unit, self.what, self.method)
        fits = (
            all(isinstance(text, str) for text in texts)
            and self.unit in _UNITS
            and type(self.n) is int
            and self.n > 0
            and isinstance(target, Mapping)
            and target.keys() <= _SIGNS.keys()
            and len(interval) == 2
            and all(_is_number(number) for number in (self.value, self.tolerance, *interval, *target.values()))
            and self.tolerance >= 0
            and interval[0] <= interval[1]
        )
        if not fits:
            raise ValueError(f"the figure {self.name!r} has a value that does not fit")

    def to_dict(self) -> dict[str, Any]:
        """Return the object that metrics.json holds; numbers to six digits."""
        values = asdict(self)
        values |= {"value": _rounded(self.value), "tolerance": _rounded(self.tolerance)}
        values["interval"] = None if self.interval is None else [_rounded(end) for end in self.interval]
        values["target"] = None if self.target is None else {key: _rounded(limit) for key, limit in self.target.items()}
        if not self.method:
            del values["method"]
        return values

    @property
    def title(self) -> str:
        """Return the name, with the method where there is one."""
        return f"{self.name} ({self.method})" if self.method else self.name

    def formatted(self) -> str:
        """Format the value with its unit."""
        return f"{self._number(self.value)} {self.unit}".rstrip()

    def formatted_interval(self) -> str:
        """Format the sampling interval, as "91.9 to 95.3"; "" where there is none."""
        return "" if self.interval is None else " to ".join(self._number(end) for end in self.interval)

    def formatted_target(self) -> str:
        """Format the target, as ">= 95 %"; "" where there is none."""
        limits = {} if self.target is None else self.target
        return ", ".join(f"{_SIGNS[key]} {limit:.4g} {self.unit}".rstrip() for key, limit in limits.items())

    def _number(self, value: float) -> str:
        digits = {"%": ".1f", "points": ".1f", "dB": ".2f", "": ".4f" if abs(self.value) >= 0.1 else ".3g"}
        return format(value, digits[self.unit])


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """The content of metrics.json; the module's docstring shows its form.

    Attributes:
        command: reproduces the file.
        limit: most pictures of each part that were used; None for all.
        weights_sha256: SHA-256 of the weights that were measured.
        data: file of the data folder -> pictures read from it.
        figures: of the repo.
        baselines: the same figures reached by other means.
        tables: name -> plain lists, numbers and strings.
    """

    command: str
    limit: int | None
    weights_sha256: str
    data: Mapping[str, int]
    figures: Sequence[Figure]
    baselines: Sequence[Figure] = ()
    tables: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, repo: RepoFolder) -> Self:
        """Read the metrics.json of a repo folder.

        Raises:
            ConfigurationError: there is none, or it is not of this form.
        """
        path = repo / METRICS
        values = repo.json(METRICS)
        expected = {each.name for each in fields(cls)}
        if set(values) != expected:
            raise ConfigurationError(
                f"{path} must have the keys {sorted(expected)}, but has {sorted(values)}: measure again with --write.",
                path=path,
            )
        try:
            found = cls(**{**values, **{key: _figures(values[key]) for key in ("figures", "baselines")}})
            found._check()
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ConfigurationError(
                f"{path} is not of the form that visim writes ({error}): measure again with --write.", path=path
            ) from error
        return found

    def _check(self) -> None:
        counts = [*self.data.values(), 1 if self.limit is None else self.limit]
        if not isinstance(self.command, str) or not isinstance(self.weights_sha256, str):
            raise ValueError("command and weights_sha256 must be texts")
        if not all(type(count) is int and count > 0 for count in counts):
            raise ValueError("data and limit must be numbers of pictures")
        if not isinstance(self.tables, dict):
            raise ValueError("tables must be an object")
        titles = [figure.title for figure in (*self.figures, *self.baselines)]
        if len(set(titles)) != len(titles):
            raise ValueError("a figure is stated twice")

    def write(self, folder: Path) -> None:
        """Write metrics.json into a repo folder, in one step; every other file stays.

        Raises:
            OutputError: the folder is no repo.
            RepositoryError: it cannot be written.
        """
        with drafting(folder) as draft:
            self.write_files(draft)

    def write_files(self, draft: RepoDraft) -> None:
        """Write metrics.json into a draft."""
        values = {
            **{key: getattr(self, key) for key in ("command", "limit", "weights_sha256", "data")},
            "figures": [figure.to_dict() for figure in self.figures],
            "baselines": [figure.to_dict() for figure in self.baselines],
            "tables": self.tables,
        }
        draft.write_json(METRICS, values)


def is_met(figure: Figure) -> bool | None:
    """Return whether a figure reaches its target; None where it has none."""
    if figure.target is None:
        return None
    return figure.target.get("at_least", figure.value) <= figure.value <= figure.target.get("at_most", figure.value)


def differences(stated: Metrics, measured: Metrics) -> list[str]:
    """List what does not hold of stated metrics: figures that moved beyond the tolerance, are lost or are new.

    Baselines count as figures do. Of a tolerance that was stated and the one that was found now, the smaller counts.

    Returns:
        One sentence for each fault.
    """
    faults = []
    if stated.weights_sha256 != measured.weights_sha256:
        faults.append(f"The figures were measured on other weights, {stated.weights_sha256[:12]}...")
    if stated.data != measured.data:
        faults.append(f"The figures were measured on other data: {dict(stated.data)}, now {dict(measured.data)}.")
    before, now = _by_title(stated), _by_title(measured)
    faults += [f"{title} is stated, but is not measured any more." for title in before if title not in now]
    faults += [f"{title} is measured, but not stated." for title in now if title not in before]
    return faults + [fault for title in before if title in now for fault in _moved(before[title], now[title])]


def _moved(stated: Figure, now: Figure) -> Iterable[str]:
    if stated.n != now.n:
        yield f"{stated.title} is stated for {stated.n} pictures, but was measured on {now.n}."
    tolerance = min(stated.tolerance, now.tolerance)
    if abs(now.value - stated.value) > tolerance + 10**-_DIGITS * abs(stated.value):
        yield (
            f"{stated.title} moved from {stated.value:.6g} to {now.value:.6g} {now.unit}".rstrip()
            + f", beyond the tolerance of {tolerance:.3g}."
        )
    if now.to_dict()["target"] != stated.target and not _follows_a_baseline(stated, now):
        yield f"{stated.title} is stated with the target {stated.target}, which is now {now.target}."


def _follows_a_baseline(stated: Figure, now: Figure) -> bool:
    """Whether two targets differ only as the baseline does that they are taken from."""
    if stated.target is None or now.target is None or stated.target.keys() != now.target.keys():
        return False
    return all(abs(now.target[key] - limit) <= now.tolerance for key, limit in stated.target.items())


def _figures(values: Any) -> list[Figure]:
    if not isinstance(values, list) or not all(isinstance(each, dict) for each in values):
        raise ValueError("figures and baselines must be lists of objects")
    return [Figure.from_dict(each) for each in values]


def _by_title(metrics: Metrics) -> dict[str, Figure]:
    return {figure.title: figure for figure in (*metrics.figures, *metrics.baselines)}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
