"""`python -m hub COMMAND`: everything about repos, from export to publishing."""

import argparse
import sys
from types import ModuleType

from hub import build_gallery, card, export, import_article, publish, space
from visim_models.errors import VisimError

__all__ = ["COMMANDS", "main"]

COMMANDS: dict[str, ModuleType] = {
    "export": export,
    "card": card,
    "build-gallery": build_gallery,
    "import-article": import_article,
    "publish": publish,
    "space-check": space,
}
"""Each module offers `add_arguments(parser)` and `run(options)`; the first line of its docstring is its help."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 if it went well, 2 with a message if not."""
    parser = argparse.ArgumentParser(prog="python -m hub", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, module in COMMANDS.items():
        summary = (module.__doc__ or "").splitlines()[0]
        module.add_arguments(commands.add_parser(name, help=summary, description=module.__doc__))
    options = parser.parse_args(arguments)
    try:
        COMMANDS[options.command].run(options)
    except VisimError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
