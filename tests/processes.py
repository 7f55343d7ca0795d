"""Run Python programs in processes of their own that have torch in memory already: importing it takes 3 seconds.

What the project imports, each program imports itself, with its own environment.
"""

import atexit
import functools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

__all__ = ["ROOT", "run_module", "run_program"]

ROOT = Path(__file__).resolve().parents[1]
_SERVER = Path(__file__).with_name("fork_server.py")


def run_program(
    code: str,
    *arguments: str | Path,
    cwd: Path = ROOT,
    environment: Mapping[str, str] | None = None,
    timeout: float = 300,
) -> subprocess.CompletedProcess[str]:
    """Run a program as `python -W error -c CODE ARGUMENTS` does.

    Args:
        code: the program.
        arguments: `sys.argv[1:]`.
        cwd: where it runs.
        environment: all of its variables; by default those of the tests.
        timeout: seconds until it is killed, which fails the test.
    """
    return _run("-c", code, arguments, cwd, environment, timeout)


def run_module(
    name: str,
    *arguments: str | Path,
    cwd: Path = ROOT,
    environment: Mapping[str, str] | None = None,
    timeout: float = 300,
) -> subprocess.CompletedProcess[str]:
    """Run a module as `python -m NAME ARGUMENTS` does; the arguments are those of `run_program`."""
    return _run("-m", name, arguments, cwd, environment, timeout)


def _run(
    kind: str,
    program: str,
    arguments: tuple[str | Path, ...],
    cwd: Path,
    environment: Mapping[str, str] | None,
    timeout: float,
) -> subprocess.CompletedProcess[str]:
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    with TemporaryDirectory() as folder:
        output, errors = Path(folder) / "output", Path(folder) / "errors"
        request = {
            "kind": kind,
            "program": program,
            "arguments": [str(argument) for argument in arguments],
            "cwd": str(cwd),
            "environment": dict(os.environ if environment is None else environment),
            "output": str(output),
            "errors": str(errors),
        }
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        killing = threading.Timer(timeout, os.kill, (int(server.stdout.readline()), signal.SIGKILL))
        killing.start()
        status = int(server.stdout.readline())
        killing.cancel()
        texts = [file.read_text(encoding="utf-8", errors="replace") for file in (output, errors)]
    return subprocess.CompletedProcess([kind, program], status, *texts)


@functools.cache
def _server() -> "subprocess.Popen[str]":
    server = subprocess.Popen([sys.executable, _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(_stop, server)
    return server


def _stop(server: "subprocess.Popen[str]") -> None:
    server.kill()
    server.communicate()
