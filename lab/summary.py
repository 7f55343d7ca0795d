"""`python -m lab.summary`: write the README's table of figures from the metrics of the shipped repos."""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hub.locate import locate
from visim_models.errors import VisimError
from visim_models.galleries.synthetic import SYNTHETIC_KINDS
from visim_models.repo_folder import RepoFolder
from visim_models.repo_folder.metrics import Metrics, is_met

__all__ = ["main", "summary_table", "with_table"]


_CARS: Final = "car-extractor"
_HEADINGS: Final = ("what", "visim", "for comparison")
_ROWS: Final = (
    (
        "dealers' cars: body told right; top 4 of the body",
        "{car-extractor accuracy}; {car-extractor retrieval_top_4}",
        "top 4 by EfficientNet-Lite0 {car-extractor retrieval_top_4 general-extractor}, "
        "by raw pixels {car-extractor retrieval_top_4 raw pixels, Euclidean}",
    ),
    (
        "other people's cars, models never seen: body; top 4 in the dealers' gallery",
        "{car-extractor wild_accuracy}; {car-extractor wild_retrieval_top_4}",
        "top 4 by EfficientNet-Lite0 {car-extractor wild_retrieval_top_4 general-extractor}",
    ),
    (
        "called no car: dealers' cars; other people's, of nine bodies; the worst of five faults (small, blurred, dark, "
        "JPEG, tilted)",
        "{car-extractor ood_false_alarms_at_5}; {car-extractor wild_false_alarms_at_5}; {worst fault}",
        "set for 5 %; EfficientNet-Lite0 {car-extractor ood_false_alarms_at_5 general-extractor}; "
        "{car-extractor wild_false_alarms_at_5 general-extractor}",
    ),
    (
        "photographs of other things found by the car tab; AUROC; drawn noise, text, plots and so on, each kind left "
        "out of the fit: the worst of six",
        "{car-extractor ood_found_at_5_photographs}; {car-extractor ood_auroc_photographs}; "
        "{worst drawn car-extractor}, by the CIFAR-10 tab {worst drawn cifar10-extractor}",
        "top score < 0.5: {car-extractor ood_found_at_5_photographs top score under 0.50}; EfficientNet-Lite0 "
        "{car-extractor ood_found_at_5_photographs general-extractor}",
    ),
    (
        "CIFAR-10 by kind: right of 10,000; nearest of the kind; top 10",
        "{cifar10-extractor accuracy}; {cifar10-extractor retrieval_top_1}; {cifar10-extractor retrieval_top_10}",
        "by look {cifar10-autoencoder retrieval_top_1} and {cifar10-autoencoder retrieval_top_10}; raw pixels "
        "{cifar10-extractor retrieval_top_1 raw pixels, Euclidean}",
    ),
    (
        "its verdict on kinds of things never fitted: AUROC; found; false alarms",
        "{cifar10-extractor ood_auroc_other_kinds}; {cifar10-extractor ood_found_at_5_other_kinds}; "
        "{cifar10-extractor ood_false_alarms_at_5}",
        "AUROC of EfficientNet-Lite0 {cifar10-extractor ood_auroc_other_kinds general-extractor}",
    ),
    (
        "what the autoencoders keep: cars at 64 pixels; CIFAR-10",
        "{car-autoencoder reconstruction_psnr}; {cifar10-autoencoder reconstruction_psnr}",
        "PCA {car-autoencoder reconstruction_psnr PCA, 1000 components}; "
        "{cifar10-autoencoder reconstruction_psnr PCA, 1000 components}; their start, before training "
        "{car-autoencoder reconstruction_psnr its start, before training}; "
        "{cifar10-autoencoder reconstruction_psnr its start, before training}",
    ),
    (
        "error of the stated probability of a match: cars; CIFAR-10 by look, by kind",
        "{car-extractor match_calibration_error}; {cifar10-autoencoder match_calibration_error}, "
        "{cifar10-extractor match_calibration_error}",
        "",
    ),
)
"""What a row says, visim's figures, others: "{repo figure}" or "{repo figure method}" is the value with its unit."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the table into a README; return 0 if it went well, 2 with a message if not."""
    parser = argparse.ArgumentParser(prog="python -m lab.summary", description=__doc__)
    parser.add_argument("readme", type=Path, nargs="?", default=Path("README.md"), help="[%(default)s]")
    options = parser.parse_args(arguments)
    try:
        text = options.readme.read_text(encoding="utf-8")
        options.readme.write_text(with_table(text), encoding="utf-8")
    except (VisimError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def with_table(readme: str) -> str:
    """Return a README with the table in place of the first one below "How good it is".

    Raises:
        ValueError: it has no such table.
    """
    before, heading, after = readme.partition("\n## How good it is\n")
    changed, count = re.subn(r"(?:^\|.*\|\n)+", lambda _: summary_table(), after, count=1, flags=re.MULTILINE)
    if not count:
        raise ValueError('the README has no table below "How good it is"')
    return before + heading + changed


def summary_table() -> str:
    """Return the table in Markdown; a figure that misses its target says so."""
    lines = [_HEADINGS, ("---",) * len(_HEADINGS), *([_filled(cell) for cell in row] for row in _ROWS)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _filled(template: str) -> str:
    return re.sub(r"\{([^}]+)\}", lambda found: _figure(found[1]), template)


def _figure(key: str) -> str:
    """Return a figure as text: "repo name", "repo name method", "worst fault" or "worst drawn repo"."""
    if key == "worst fault":
        found = [figure for figure in _metrics(_CARS).figures if figure.name.startswith("false_alarms_")]
        return _stated(_CARS, max(found, key=lambda figure: figure.value).name, "")
    if key.startswith("worst drawn "):
        repo = key.removeprefix("worst drawn ")
        names = {f"ood_found_at_5_{kind}" for kind in SYNTHETIC_KINDS}
        found = [figure for figure in _metrics(repo).figures if figure.name in names]
        return _stated(repo, min(found, key=lambda figure: figure.value).name, "")
    repo, name, *method = key.split(" ", 2)
    return _stated(repo, name, *method)


def _stated(repo: str, name: str, method: str = "") -> str:
    metrics = _metrics(repo)
    figure = next(
        each
        for each in (metrics.baselines if method else metrics.figures)
        if (each.name, each.method) == (name, method)
    )
    missed = f" (target {figure.formatted_target()}: missed)" if is_met(figure) is False else ""
    return f"{figure.formatted()}{missed}"


def _metrics(repo: str) -> Metrics:
    return Metrics.read(RepoFolder(locate(repo)))


if __name__ == "__main__":
    sys.exit(main())
