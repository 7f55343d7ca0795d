"""A program of test_architecture.py: imports modules one by one and writes down what else their import did.

Usage: import_probe.py ROOTS PACKAGES NAMES REPORT. The first three are JSON lists: the folders that hold the packages,
the packages, and the modules; the report is a JSON object of each module's name and its list of faults.
"""

import importlib
import json
import os
import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

# What third parties do when they are imported is not ours to judge: these come before anything is watched.
import gradio  # noqa: F401
import huggingface_hub  # noqa: F401
import numpy
import PIL.Image
import safetensors.torch  # noqa: F401
import torch


class Watch:
    """An audit hook that stops and writes down each use of a socket or start of a process while it is on."""

    def __init__(self) -> None:
        self.on = False
        self.events: list[str] = []

    def __call__(self, event: str, _: tuple[Any, ...]) -> None:
        if self.on and (event.startswith("socket.") or event in ("subprocess.Popen", "os.system")):
            self.events.append(event)
            raise RuntimeError(f"{event} while importing")


def process_state() -> dict[str, object]:
    """All that an import could change for the rest of the process, by a name for the report."""
    return {
        "torch's random state": torch.get_rng_state().numpy().tobytes(),
        "torch's seed": torch.initial_seed(),
        "numpy's random state": repr(numpy.random.get_state()),
        "Python's random state": random.getstate(),
        "torch's thread count": torch.get_num_threads(),
        "torch's default device": torch.get_default_device(),
        "torch's default dtype": torch.get_default_dtype(),
        "torch's gradient mode": torch.is_grad_enabled(),
        "torch's use of CUDA": torch.cuda.is_initialized(),
        "Pillow's pixel limit": PIL.Image.MAX_IMAGE_PIXELS,
    }


@contextmanager
def captured_output() -> Iterator[BinaryIO]:
    """Standard output and error go to a file, those of C code included."""
    kept = os.dup(1), os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield file
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for source, target in zip(kept, (1, 2), strict=True):
                os.dup2(source, target)
                os.close(source)


def faults_of_import(name: str, packages: list[str], watch: Watch) -> list[str]:
    """Imports a module, without others of its house in memory: an import that works in one order only shows."""
    for loaded in [loaded for loaded in sys.modules if loaded.partition(".")[0] in packages]:
        del sys.modules[loaded]
    before, faults = process_state(), []
    watch.events = []
    with captured_output() as output:
        watch.on = True
        try:
            importlib.import_module(name)
        except (Exception, SystemExit) as error:
            faults.append(f"raises {error!r}")
        watch.on = False
        sys.stdout.flush()
        sys.stderr.flush()
        output.seek(0)
        printed = output.read().decode(errors="replace")
    if printed:
        faults.append(f"prints {printed!r}")
    faults += [f"triggers {event}" for event in watch.events]
    after = process_state()
    return faults + [f"changes {key}" for key in before if before[key] != after[key]]


def main() -> None:
    roots, packages, names = (json.loads(argument) for argument in sys.argv[1:4])
    sys.path[:1] = roots  # a program's own folder comes first; a module of the house is found from its root
    watch = Watch()
    sys.addaudithook(watch)
    report = {name: faults_of_import(name, packages, watch) for name in names}
    Path(sys.argv[4]).write_text(json.dumps(report), encoding="utf-8")


if __name__ == "__main__":
    main()
