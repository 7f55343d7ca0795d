"""Commands about repos: cards, ONNX files, import of the articles' weights, publishing, and a check of the Space."""

import argparse
import importlib
import sys

from visim_models.errors import VisimError

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "card": "write the model card of a repo, with its plots",
    "export": "write the network of a repo as ONNX, for use without torch and in the browser",
    "import-article": "turn a weights file of either article into a repo folder",
    "publish": "put the models, their galleries and the demo on the Hugging Face Hub",
    "web": "write the static page of galleries, and serve it on this machine",
    "space-check": "start the demo as a Space would, in a clean environment, and ask it",
}
"""Command -> help. The module of the same name offers `add_arguments(parser)` and `run(options)`.

Only the module that was asked for is imported, so that one command does not wait for what another needs.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 if it went well, 2 with a message if not, 130 if it was interrupted."""
    given = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(prog="python -m hub", description=__doc__)
    parsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        command = parsers.add_parser(name, help=summary)
        if name in given[:1]:
            module = importlib.import_module(f"hub.{name.replace('-', '_')}")
            command.description = module.__doc__
            module.add_arguments(command)
    options = parser.parse_args(given)
    try:
        module.run(options)
    except VisimError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
