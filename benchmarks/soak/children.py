"""Run jobs in processes of their own, which may be killed; a server process that has all imported forks them fast."""

import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.soak.errors import SoakError
from visim_models import VisimError

__all__ = ["run_and_kill", "run_whole"]

_LONGEST = 120.0

Job = Callable[..., object]


def run_whole(job: Job, *arguments: Any) -> tuple[str, float]:
    """Run a job to its end.

    Args:
        job: a function of a module.
        arguments: for it; they are sent to the process.

    Returns:
        The message of the VisimError that it ended in, or "", and its seconds.

    Raises:
        SoakError: it hung, or died in another way.
    """
    process, answer = _start(job, arguments)
    try:
        if not answer.poll(_LONGEST):
            process.kill()
            raise SoakError(f"{job.__name__} still ran after {_LONGEST:.0f} s")
        error, seconds = answer.recv()
    except EOFError as fault:
        raise SoakError(f"{job.__name__} died without an answer") from fault
    finally:
        process.join()
        answer.close()
    if error.startswith("!"):
        raise SoakError(f"{job.__name__} ended in another error than a VisimError: {error[1:]}")
    return str(error), float(seconds)


def run_and_kill(job: Job, *arguments: Any, after: float) -> bool:
    """Start a job, kill it (SIGKILL), and return whether it was still at work.

    Args:
        job: a function of a module.
        arguments: for it; they are sent to the process.
        after: seconds from its first step to the kill.
    """
    process, answer = _start(job, arguments)
    over = answer.poll(after)
    process.kill()
    process.join()
    answer.close()
    return not over


def _start(job: Job, arguments: tuple[Any, ...]) -> tuple[Any, "Connection[Any, Any]"]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.soak.jobs"])
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(job, arguments, theirs))
    process.start()
    theirs.close()
    if not ours.poll(_LONGEST) or ours.recv() != "begun":
        raise SoakError(f"{job.__name__} did not begin")
    return process, ours


def _work(job: Job, arguments: tuple[Any, ...], answer: "Connection[Any, Any]") -> None:
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)  # progress bars
    answer.send("begun")
    start, error = time.perf_counter(), ""
    try:
        job(*arguments)
    except VisimError as fault:
        error = str(fault)
    except BaseException as fault:
        error = f"!{type(fault).__name__}: {fault}"
    answer.send((error, time.perf_counter() - start))
