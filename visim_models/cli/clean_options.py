"""The options of `visim clean`, its examples, and what its report says of each find."""

import argparse
from typing import Final, get_args

from visim_models.cleaning.clean_up import Mirrored
from visim_models.cleaning.quality import Keep
from visim_models.cleaning.report import FindTexts
from visim_models.cli import REPO_HELP, add_backend, add_index_uri, add_picture_choice
from visim_models.galleries import DEFAULT_MODEL

__all__ = ["EXAMPLES", "FIND_TEXTS", "add_options"]

EXAMPLES: Final = """\
examples:
  visim clean photos                                   duplicates, broken and strange pictures: a plan and a report
  visim clean photos --like soon.jpg seat.jpg --out clean
  visim clean photos --like seat.jpg --not-like dashboard.jpg --at 0.6
  visim clean train --leaks test validation
  visim clean photos --add new-photos --duplicates     compare new pictures with all; only new ones are removed
  visim clean my-gallery --duplicates                  a built gallery: nothing is embedded again
  visim clean --apply clean/plan.csv                   show what the plan would do
  visim clean --apply clean/plan.csv --yes             move the files into a quarantine folder
  visim clean --undo photos-quarantine/journal-20260101-120000.jsonl

The plan is a CSV: edit its column action to keep, look or remove. Given again, a command looks only at new and changed
files."""

FIND_TEXTS: Final = {
    "like": FindTexts("Like the examples", "picture", "Pictures that look like the examples, best first."),
    "duplicates": FindTexts("Duplicates", "group", "Each picture is a copy of the first one of its group."),
    "leaks": FindTexts("Near-duplicates in the other folder", "pair", "Pictures that the other folder has, too."),
    "labels": FindTexts("Labels to look at", "picture", "Pictures whose label may be wrong, the clearest first."),
    "quality": FindTexts("Poor quality", "picture", "Blurred, dark, bright or flat pictures, the clearest first."),
    "broken": FindTexts("Broken files", "file", "Files that cannot be decoded."),
    "blank": FindTexts("Blank pictures", "picture", "Pictures of one colour."),
    "tiny": FindTexts("Tiny pictures", "picture", "Pictures far smaller than is usual here."),
    "shape": FindTexts("Extreme shapes", "picture", "Pictures far longer than wide, or wider than long."),
    "strange": FindTexts("Strange pictures", "picture", "Pictures that look like none of the others, strangest first."),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `visim clean`."""
    parser.add_argument(
        "pictures",
        nargs="?",
        metavar="PICTURES",
        help="the pictures: a folder, a zip, a list of addresses (.txt), hf://datasets/NAMESPACE/NAME, "
        "s3://BUCKET/FOLDER, or the repo folder of a built gallery",
    )
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        help="where plan.csv and report.html go (default: PICTURES-clean, here or beside PICTURES)",
    )
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help=f"the network that compares the pictures: {REPO_HELP} (default: {DEFAULT_MODEL})",
    )
    parser.add_argument("--images", metavar="PATH", help="with a gallery: the folder or zip of its pictures")
    parser.add_argument("--add", metavar="PATH", help="new pictures, compared with PICTURES: only new ones are removed")
    add_picture_choice(parser)
    add_backend(parser)
    add_index_uri(parser)
    _add_finds(parser)
    _add_choices(parser)
    _add_changes(parser)


def _add_finds(parser: argparse.ArgumentParser) -> None:
    finds = parser.add_argument_group("what to find (default: --duplicates --broken --strange)")
    finds.add_argument(
        "--like",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="everything that looks like these pictures",
    )
    finds.add_argument(
        "--not-like",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="with --like: except what looks more like these",
    )
    finds.add_argument(
        "--duplicates", action="store_true", help="copies and near-duplicates; the best of each group is kept"
    )
    finds.add_argument(
        "--leaks",
        nargs="+",
        action="extend",
        default=[],
        metavar="TEST",
        help="near-duplicates of the pictures of other folders or zips, which are kept",
    )
    finds.add_argument(
        "--labels",
        action="store_true",
        help="pictures under two labels, and pictures whose nearest have another label; the folders are the labels",
    )
    finds.add_argument(
        "--quality", action="store_true", help="blurred, dark, bright and flat pictures, and grey ones among colours"
    )
    finds.add_argument("--strange", action="store_true", help="pictures that look like none of the others")
    finds.add_argument(
        "--broken", action="store_true", help="files that do not decode; blank, tiny and odd-shaped pictures"
    )
    finds.add_argument(
        "--at",
        nargs="+",
        default=[],
        metavar="SCORE",
        help="the threshold, such as 0.9; or duplicates=0.9 like=0.6 leaks=0.85",
    )
    finds.add_argument("--top", type=int, metavar="N", help="of --like: the N best, whatever their scores")


def _add_choices(parser: argparse.ArgumentParser) -> None:
    choices = parser.add_argument_group("which copy is kept")
    choices.add_argument(
        "--prefer",
        nargs="+",
        action="extend",
        default=[],
        metavar="FOLDER",
        help="keep the copy in the first of these folders, else the one in the second, and so on",
    )
    choices.add_argument(
        "--keep",
        choices=get_args(Keep),
        default="best",
        help="keep the copy with the most information, or the oldest, newest or largest file (default: %(default)s)",
    )
    choices.add_argument(
        "--mirrored",
        choices=get_args(Mirrored),
        default="look",
        help="whether a mirrored picture is no copy, one to look at, or one to remove (default: %(default)s)",
    )


def _add_changes(parser: argparse.ArgumentParser) -> None:
    changes = parser.add_argument_group("carrying a plan out")
    changes.add_argument("--apply", metavar="PLAN", help="show what a plan.csv would do")
    changes.add_argument("--yes", action="store_true", help="with --apply: move the files; none is deleted")
    changes.add_argument("--quarantine", metavar="FOLDER", help="where they go (default: beside the pictures)")
    changes.add_argument(
        "--alone", action="store_true", help="leave the files of the same stem (.xmp, .MOV, .CR2, .txt) where they are"
    )
    changes.add_argument("--gallery", metavar="REPO", help="with --apply: a gallery that shall forget them, too")
    changes.add_argument("--undo", metavar="JOURNAL", help="bring back what a journal in a quarantine names")
