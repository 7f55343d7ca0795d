"""The command `visim`: build a gallery, search it, try its verdict, clean pictures, show what a repo folder holds."""

import argparse
import io
import os
import sys
from collections.abc import Sequence

from visim_models.commands.build import add_build
from visim_models.commands.check import add_check
from visim_models.commands.clean import add_clean
from visim_models.commands.info import add_info
from visim_models.commands.search import add_search
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="visim", description="Visual similarity search in pictures of your own.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_build(commands)
    add_search(commands)
    add_info(commands)
    add_check(commands)
    add_clean(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
