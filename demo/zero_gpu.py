"""ZeroGPU, the Hub's shared GPUs for Gradio Spaces: the mark that such a Space needs to start."""

import importlib

__all__ = ["mark_for_zero_gpu"]


def mark_for_zero_gpu() -> None:
    """Mark one function as one that runs on a GPU; a ZeroGPU Space does not start without any.

    No query calls it. A marked function asks for a GPU at each call, at the cost of the visitor's quota, and visim
    computes on the CPU. Where the package `spaces` is not installed, nothing happens.

    Source: https://huggingface.co/docs/hub/spaces-zerogpu
    """
    try:
        spaces = importlib.import_module("spaces")
    except ImportError:
        return
    spaces.GPU(_never_called)


def _never_called() -> None:
    """Do nothing."""
