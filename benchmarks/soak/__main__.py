"""`python -m benchmarks.soak`: four to five minutes; the exit status says whether visim stood it all."""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks.soak.attacks import check_attacks
from benchmarks.soak.disks import check_disks
from benchmarks.soak.errors import SoakError
from benchmarks.soak.kills import check_kills
from benchmarks.soak.traffic import check_traffic

__all__ = ["CHECKS", "main"]

CHECKS = ("disks", "kills", "attacks", "traffic")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks; 1 if one fails."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=CHECKS, default=list(CHECKS), help="run these checks alone")
    parser.add_argument("--users", type=int, default=50, help="users at once [%(default)s]")
    parser.add_argument("--seconds", type=float, default=120.0, help="how long they use the demo [%(default)s]")
    parser.add_argument("--kills", type=int, default=3, help="of each command [%(default)s]")
    parser.add_argument("--attack", type=float, default=6.0, help="seconds of each attack [%(default)s]")
    options = parser.parse_args(arguments)
    checks: dict[str, Callable[[Path], list[str]]] = {
        "disks": check_disks,
        "kills": partial(check_kills, kills=options.kills),
        "attacks": partial(check_attacks, seconds=options.attack),
        "traffic": partial(check_traffic, users=options.users, seconds=options.seconds),
    }
    # A killed process leaves its locks to Python's resource tracker, which clears them away and warns of each.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker:UserWarning")
    failed = False
    for name in options.only:
        start = time.perf_counter()
        try:
            with tempfile.TemporaryDirectory(prefix="visim-soak-") as folder:
                facts, verdict = checks[name](Path(folder)), "passed"
        except (SoakError, RuntimeError) as error:
            facts, verdict, failed = [str(error)], "FAILED", True
        print(f"{name}: {verdict} in {time.perf_counter() - start:.0f} s", *facts, sep="\n  ", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
