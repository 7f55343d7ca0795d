"""A program of processes.py: imports torch once, and forks a child for each program that a line of its input names.

Each line of the input is a JSON object: "kind" ("-c" or "-m"), "program" (code, or the name of a module), "arguments",
"cwd", "environment", and the files "output" and "errors". Of each, a line of the output is the child's process id, and
the next one its exit status, negative for a signal.
"""

import json
import os
import runpy
import sys
import traceback
import warnings
from typing import Any

import numpy  # noqa: F401
import PIL.Image  # noqa: F401
import safetensors.torch  # noqa: F401
import tqdm  # noqa: F401


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            run(**json.loads(line))
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def run(
    kind: str, program: str, arguments: list[str], cwd: str, environment: dict[str, str], output: str, errors: str
) -> None:
    """Run a program in this process, and end it."""
    for number, path in ((0, os.devnull), (1, output), (2, errors)):
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    added = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = [cwd, *added, *sys.path[1:]]
    sys.argv[:] = [kind, *arguments]
    os._exit(status_of(kind, program))


def status_of(kind: str, program: str) -> int:
    """Run a program: its exit status, as the interpreter gives it."""
    status: Any = 0
    try:
        if kind == "-c":
            warnings.simplefilter("error")
            exec(compile(program, "<program>", "exec"), {"__name__": "__main__"})
        else:
            runpy.run_module(program, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        traceback.print_exc()
        status = 1
    if not isinstance(status, int):
        print(status, file=sys.stderr)
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return status


if __name__ == "__main__":
    main()
