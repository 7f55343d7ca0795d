"""metrics.json: the figures of a repo, how to reproduce them, and how far each may move.

    {
      "command": "python -m lab.evaluate ...",   reproduces the file
      "limit": null,               or how many pictures of each part were used at most, where that was a trial
      "weights_sha256": "...",     of the model.safetensors that was measured
      "data": {"cars/photos.zip": 7600, ...},               file of the data folder -> pictures read from it
      "figures": [{"name", "value", "noise", "unit", "n", "what", "target"}, ...],
      "baselines": [{..., "method"}, ...],                  figures of the same names, reached by other means
      "tables": {...}                                       what plots are drawn from, see `run.py`
    }

A value is in its `unit` ("%", "points", "dB", or "" for a plain number), measured on `n` pictures. `noise` is in the
same unit: for shares and AUROCs the standard error of having drawn these n pictures, for reconstructions what another
machine's arithmetic may change.
A target is null or an object with "at_least", "at_most" or both.
"""

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from lab.evaluation.measures import mean_and_error
from visim_models import repository
from visim_models.errors import ConfigurationError, RepositoryError

__all__ = ["METRICS_FILE", "Figure", "Metrics", "is_met", "moved", "share_figure", "unmeasured"]

METRICS_FILE = "metrics.json"

_DIGITS = 6


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured number.

    Attributes:
        name: key; a baseline has the name of the figure that it stands beside.
        value: in `unit`.
        noise: how far it may move, in `unit`.
        unit: "%", "points", "dB" or "".
        n: pictures that it was measured on.
        what: one sentence that says what it is.
        target: "at_least" and "at_most", or None.
        method: what reached it, for a baseline; "" for the repo itself.
    """

    name: str
    value: float
    noise: float
    unit: str
    n: int
    what: str
    target: Mapping[str, float] | None = None
    method: str = ""

    def to_dict(self) -> dict[str, Any]:
        """What metrics.json holds; numbers to six digits."""
        values = asdict(self)
        values |= {"value": _rounded(self.value), "noise": _rounded(self.noise)}
        values["target"] = None if self.target is None else {key: _rounded(limit) for key, limit in self.target.items()}
        if not self.method:
            del values["method"]
        return values

    @property
    def title(self) -> str:
        """Its name, with the method where there is one."""
        return f"{self.name} ({self.method})" if self.method else self.name


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """What metrics.json holds; the module's docstring says more.

    Attributes:
        command: reproduces the file.
        limit: of the pictures of each part; None for all.
        weights_sha256: of the weights that were measured.
        data: file -> pictures read.
        figures: of the repo.
        baselines: beside them.
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
    def read(cls, folder: Path) -> Self:
        """The metrics.json of a repo folder.

        Raises:
            ConfigurationError: there is none, or it is not of this form.
        """
        path = folder / METRICS_FILE
        values = repository.read_json(path)
        try:
            figures, baselines = ([Figure(**each) for each in values.pop(key)] for key in ("figures", "baselines"))
            found = cls(figures=figures, baselines=baselines, **values)
            for figure in (*found.figures, *found.baselines):
                if not all(type(number) in (int, float) for number in (figure.value, figure.noise, figure.n)):
                    raise TypeError(f"{figure.name} has a value, noise or n that is no number")
        except (KeyError, TypeError) as error:
            raise ConfigurationError(
                f"{path} is not of the form that visim writes ({error}): measure again with --write."
            ) from error
        return found

    def write(self, folder: Path) -> None:
        """Write metrics.json into a repo folder, in one step.

        Raises:
            RepositoryError: it cannot be written.
        """
        values = {
            **{key: getattr(self, key) for key in ("command", "limit", "weights_sha256", "data")},
            "figures": [figure.to_dict() for figure in self.figures],
            "baselines": [figure.to_dict() for figure in self.baselines],
            "tables": self.tables,
        }
        staged = None
        try:
            handle, name = tempfile.mkstemp(prefix=f".{METRICS_FILE}.", dir=folder)
            os.close(handle)
            staged = Path(name)
            repository.write_json(staged, values)
            staged.chmod(0o644)  # mkstemp makes it private
            staged.replace(folder / METRICS_FILE)
        except OSError as error:
            raise RepositoryError(f"{folder / METRICS_FILE} cannot be written ({error}); it is as it was.") from error
        finally:
            if staged is not None:
                staged.unlink(missing_ok=True)


def share_figure(
    values: Tensor,
    *,
    name: str,
    what: str,
    unit: str = "%",
    target: Mapping[str, float] | None = None,
    method: str = "",
) -> Figure:
    """The mean of one value a picture, (n,) in 0 to 1, in percent or points, with its standard error as the noise."""
    mean, error = mean_and_error(values)
    return Figure(
        name=name,
        value=100 * mean,
        noise=100 * error,
        unit=unit,
        n=len(values),
        what=what,
        target=target,
        method=method,
    )


def is_met(figure: Figure) -> bool | None:
    """Whether a figure reaches its target; None where it has none."""
    if figure.target is None:
        return None
    return figure.target.get("at_least", figure.value) <= figure.value <= figure.target.get("at_most", figure.value)


def moved(stated: Metrics, measured: Metrics) -> list[str]:
    """What no longer holds of the stated metrics: one sentence for each figure beyond its stated noise, lost or new.

    Baselines that were not measured this time (what they need is not here) are left to `unmeasured`.
    """
    faults = []
    if stated.weights_sha256 != measured.weights_sha256:
        faults.append(f"The figures were measured on other weights, {stated.weights_sha256[:12]}...")
    found = _by_title(measured)
    for title, figure in _by_title(stated).items():
        now = found.get(title)
        if now is None:
            if not figure.method:
                faults.append(f"{title} is stated, but is not measured any more.")
        elif abs(now.value - figure.value) > figure.noise + 10**-_DIGITS * abs(figure.value):
            faults.append(
                f"{title} moved from {figure.value:.6g} to {now.value:.6g} {figure.unit}".rstrip()
                + f", beyond its noise of {figure.noise:.3g}."
            )
        elif now.n != figure.n:
            faults.append(f"{title} is stated for {figure.n} pictures, but was measured on {now.n}.")
    own = {figure.name for figure in stated.figures}
    return faults + [f"{each.name} is measured, but not stated." for each in measured.figures if each.name not in own]


def unmeasured(stated: Metrics, measured: Metrics) -> list[str]:
    """Titles of the stated baselines that were not measured this time."""
    return sorted({figure.title for figure in stated.baselines} - _by_title(measured).keys())


def _by_title(metrics: Metrics) -> dict[str, Figure]:
    return {figure.title: figure for figure in (*metrics.figures, *metrics.baselines)}


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
