"""What must work without torch, run by .ci/without-torch in an environment that has none: import, search, build, page.

No test module: pytest runs where torch is.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

import hub
from hub.space_check import probe_app
from visim_models import MissingExtraError, VisualSimilarity
from visim_models.cli.__main__ import main as visim

PROJECT = Path(__file__).parents[1]


def drawn_picture(seed: int) -> npt.NDArray[np.uint8]:
    """Return (90, 120, 3) uint8: a gradient with a disc, another one for each seed."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:90, 0:120] / 120
    picture = rng.uniform(0, 255, 3) * x[..., None] + rng.uniform(0, 255, 3) * y[..., None]  # (90, 120, 3)
    disc = (x - rng.uniform(0.2, 0.8)) ** 2 + (y - rng.uniform(0.2, 0.6)) ** 2 < rng.uniform(0.01, 0.05)
    picture[disc] = rng.uniform(0, 255, 3)
    pixels: npt.NDArray[np.uint8] = picture.clip(0, 255).astype(np.uint8)
    return pixels


@contextmanager
def refused(kind: type[Exception], said: str) -> Iterator[None]:
    """Expect an error whose message names something; pytest is not installed here."""
    try:
        yield
    except kind as error:
        if said not in str(error):
            raise
        print(f"as it must: {error}")
    else:
        raise AssertionError(f"no {kind.__name__}")


def main(work: Path) -> None:
    """Do all of it; any failure ends the program."""
    cars = hub.load("car-extractor", backend="onnx")
    result = cars.search(drawn_picture(0))
    print(result.ood.word, cars.classify(drawn_picture(0)), *result.matches)
    assert len(result.matches) == 4
    with refused(MissingExtraError, "torch"):
        hub.load("car-extractor")

    pictures = work / "pictures"
    for number in range(40):
        path = pictures / ("round" if number % 2 else "other") / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawn_picture(number)).save(path)
    gallery = work / "gallery"
    assert visim(["build", str(pictures), "--out", str(gallery), "--backend", "onnx"]) == 0
    photo = str(pictures / "round/01.png")
    assert visim(["search", str(gallery), photo, "--backend", "onnx"]) == 0
    assert visim(["info", str(gallery)]) == 0
    assert visim(["clean", str(pictures), "--out", str(work / "cleaned"), "--backend", "onnx"]) == 0
    mine = VisualSimilarity.from_pictures(pictures, backend="onnx", progress=False)
    assert mine.search(photo).matches[0].file_name == "round/01.png"

    options = {"VISIM_BACKEND": "onnx", "VISIM_GALLERIES": str(gallery), "HF_HUB_OFFLINE": "1"}
    probe = probe_app(Path(sys.executable), PROJECT, "demo/app.py", endpoints=None, variables=options)
    print(f"the page: {probe}")
    modules = subprocess.run(
        [sys.executable, "-c", "import sys, visim_models, demo.app; print(sorted(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
        cwd=PROJECT,
    ).stdout
    assert "'torch'" not in modules
    print("without torch: import, search, build, clean and the page work")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
