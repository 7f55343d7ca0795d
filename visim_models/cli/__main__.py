"""The command `visim`: build a gallery, search it, try its verdict, clean pictures, show what a repo folder holds."""

import argparse
import io
import os
import sys
from collections.abc import Sequence
from typing import Any

from visim_models.cli.build import add_build, add_export, add_web
from visim_models.cli.clean import add_clean
from visim_models.cli.search import add_check, add_compare, add_info, add_search
from visim_models.errors import VisimError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        0 if it went well, 2 after an error, 130 after an interruption.
    """
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path may hold what the terminal cannot show
    try:
        status: int = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of the output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (VisimError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return status


class _Parser(argparse.ArgumentParser):
    """Refuses an option that is given twice, of which the first value would be lost; some options add up instead."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.register("action", None, _StoreOnce)


class _StoreOnce(argparse.Action):
    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        if option and getattr(namespace, self.dest, self.default) is not self.default:
            raise argparse.ArgumentError(self, "is given twice: give it once")
        setattr(namespace, self.dest, values)


def _parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = _Parser(
        prog="visim", description="Visual similarity search in pictures of your own."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_build(commands)
    add_export(commands)
    add_search(commands)
    add_compare(commands)
    add_info(commands)
    add_check(commands)
    add_clean(commands)
    add_web(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
