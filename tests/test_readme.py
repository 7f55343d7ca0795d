"""The README's table states what the bundled repos' metrics.json say: a figure that moved must be written anew."""

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
CARS, CIFAR10, BY_LOOK = "visim-car-extractor", "visim-cifar10-autoencoder", "visim-car-autoencoder"
RULE, NEIGHBOURS = "top score under 0.50", "distance to neighbour 50"
ARTICLE, COMPONENTS = "the article's recipe", "PCA, 1000 components"

STATED = [
    # the row begins with, repo, figure, method ("" for visim itself), as the README writes it
    ("car body type", CARS, "accuracy", "", "{:.1f} % right"),
    ("car body type", CARS, "accuracy", ARTICLE, "recipe {:.1f} %"),
    ("car retrieval", CARS, "retrieval_top_4", "", "{:.1f} % (target"),
    ("car retrieval", CARS, "retrieval_top_4", ARTICLE, "recipe {:.1f} %"),
    ("car retrieval", CARS, "retrieval_top_4", "raw pixels, Euclidean", "raw pixels {:.1f} %"),
    ("car retrieval", CARS, "retrieval_top_4", "car-autoencoder", "codes {:.1f} %"),
    ("the same with", CARS, "decorated_retrieval_top_4", "", "| {:.1f} % |"),
    ("cars against photographs", CARS, "ood_auroc_photographs", "", "AUROC {:.4f}"),
    ("cars against photographs", CARS, "ood_auroc_photographs", RULE, '0.5": {:.4f}'),
    ("cars against photographs", CARS, "ood_auroc_photographs", NEIGHBOURS, "neighbours: {:.4f}"),
    ("strange pictures found in the car tab", CARS, "ood_found_at_5_photographs", "", "| {:.0f} % of 150"),
    ("strange pictures found in the car tab", CARS, "ood_found_at_1_photographs", "", "of 150 (at 1 %: {:.1f} %)"),
    ("strange pictures found in the car tab", CARS, "ood_found_at_5_photographs", NEIGHBOURS, "neighbours: {:.1f} %"),
    ("strange pictures found in the car tab", CARS, "ood_found_at_1_photographs", NEIGHBOURS, "(at 1 %: {:.1f} %) |"),
    ("strange pictures found in the car tab", CARS, "ood_found_at_5_photographs", RULE, '0.5": {:.0f} %'),
    *(
        ("... animals", CARS, f"ood_found_at_5_{kind}", "", "| {:.0f} % of 300")
        for kind in ("animals", "noise", "text", "plain")
    ),
    *(
        ("... animals", CARS, f"ood_found_at_5_{kind}", RULE, '0.5": {:.0f} %')
        for kind in ("animals", "noise", "text", "plain")
    ),
    ("false alarms", CARS, "ood_false_alarms_at_5", "", "{:.1f} % cars"),
    ("false alarms", CIFAR10, "ood_false_alarms_at_5", "", "{:.1f} % CIFAR-10"),
    ("CIFAR-10 reconstruction", CIFAR10, "reconstruction_psnr", "", "| {:.1f} dB (target"),
    ("car reconstruction", BY_LOOK, "reconstruction_psnr", "", "| {:.1f} dB (target"),
    ("car reconstruction", BY_LOOK, "reconstruction_psnr", COMPONENTS, "components {:.1f} dB"),
    ("CIFAR-10 reconstruction", CIFAR10, "reconstruction_psnr", ARTICLE, "recipe {:.1f} dB"),
    ("CIFAR-10 reconstruction", CIFAR10, "reconstruction_psnr", COMPONENTS, "components {:.1f} dB"),
    ("CIFAR-10 retrieval", CIFAR10, "retrieval_top_1", "", "| {:.1f} % (top 10"),
    ("CIFAR-10 retrieval", CIFAR10, "retrieval_top_10", "", "(top 10: {:.1f} %)"),
    ("CIFAR-10 retrieval", CIFAR10, "retrieval_top_1", ARTICLE, "recipe {:.1f} % ("),
    ("CIFAR-10 retrieval", CIFAR10, "retrieval_top_10", ARTICLE, "% ({:.1f} %), raw"),
    ("CIFAR-10 retrieval", CIFAR10, "retrieval_top_1", "raw pixels, Euclidean", "raw pixels {:.1f} % ("),
    ("CIFAR-10 retrieval", CIFAR10, "retrieval_top_1", COMPONENTS, "PCA {:.1f} % ("),
    *(
        ("strange pictures found in the CIFAR-10 tab", CIFAR10, f"ood_found_at_5_{kind}", "", f"{said} {{:.1f}} %")
        for kind, said in {"noise": "noise", "plain": "plain colours", "text": "text", "plot": "plots"}.items()
    ),
    *(
        ("strange pictures found in the CIFAR-10 tab", CIFAR10, f"ood_found_at_5_{kind}", RULE, "{:.1f} %")
        for kind in ("noise", "plain", "text", "plot")
    ),
]


def metrics(repo: str) -> dict[str, Any]:
    path = ROOT / "hub" / "pretrained" / repo / "metrics.json"
    if not path.exists():
        pytest.skip("the trained repos are not in hub/pretrained yet")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize(("row", "repo", "name", "method", "said"), STATED)
def test_the_readme_states_what_was_measured(row: str, repo: str, name: str, method: str, said: str) -> None:
    measured = metrics(repo)
    (value,) = [
        figure["value"]
        for figure in (*measured["figures"], *measured["baselines"])
        if (figure["name"], figure.get("method", "")) == (name, method)
    ]
    (line,) = [
        each for each in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if each.startswith(f"| {row}")
    ]
    assert said.format(value) in line
