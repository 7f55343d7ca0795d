"""ZeroGPU, the Hub's shared GPUs for Gradio Spaces: what a Space on it must mark, and nobody else notices."""

import importlib
from collections.abc import Callable
from typing import ParamSpec, TypeVar

__all__ = ["gpu"]

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def gpu(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Mark a function as one that a ZeroGPU Space runs on a GPU; such a Space does not start without any.

    Where the package `spaces` is not installed the function comes back as it is, and off ZeroGPU the package itself
    hands it back. On ZeroGPU it runs in a forked process: its arguments and its result are copied between the two, and
    what it changes in memory is lost. So mark one that only computes, and whose arguments are small.

    Source: https://huggingface.co/docs/hub/spaces-zerogpu
    """
    try:
        spaces = importlib.import_module("spaces")
    except ImportError:
        return function
    marked: Callable[Parameters, Result] = spaces.GPU(function)
    return marked
