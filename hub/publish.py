"""Publish to the Hugging Face Hub: the models, their galleries and the demo; or a gallery of your own, with its page.

Every step first checks whether it is done already: a second run without changes commits nothing, and one after a
failure does the rest. A repo of the same name that visim did not publish is left alone, and in a repo that it did
publish only files that it publishes are replaced or deleted.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import HfApi

import visim_models
from hub.locate import BUNDLED
from hub.publish_gallery import publish_gallery
from hub.publish_plan import PARTS, PROJECT, SPACE, make_plan, zero_gpu_note
from hub.publisher import COLLECTION, ZERO_GPU, Publisher
from visim_models.errors import DataError
from visim_models.repo_folder.upload import hub_client

__all__ = ["ZERO_GPU", "add_arguments", "publish", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `python -m hub publish`."""
    parser.add_argument("--namespace", required=True, help="user or organisation on the Hub")
    parser.add_argument("--private", action="store_true", help="make new repos private")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=[], help="publish only these")
    parser.add_argument("--hardware", help=f"of the Space; a new one gets {ZERO_GPU}, an old one keeps what it has")
    parser.add_argument("--dry-run", action="store_true", help="list every file with its size, and touch nothing")
    parser.add_argument(
        "--gallery", type=Path, metavar="REPO", help="publish this folder instead, which `visim build` made, and a page"
    )
    parser.add_argument(
        "--pictures", metavar="PATH", help="with --gallery: its pictures, a folder or a zip, as a data set"
    )
    parser.add_argument("--name", help="with --gallery: the name on the Hub (default: that of the folder)")


def run(options: argparse.Namespace) -> None:
    """Publish as the options say.

    Raises:
        DataError: the options do not go together.
        VisimError: as `publish` and `publish_gallery` raise.
    """
    common = {"private": options.private, "hardware": options.hardware, "dry_run": options.dry_run}
    if options.gallery is None:
        if options.pictures is not None or options.name is not None:
            raise DataError("--pictures and --name go with --gallery: name the folder that `visim build` made.")
        publish(options.namespace, only=options.only, **common)
        return
    if options.only:
        raise DataError("--only chooses among visim's own repos: leave it out with --gallery.")
    publish_gallery(options.namespace, options.gallery, pictures=options.pictures, name=options.name, **common)


def publish(
    namespace: str,
    *,
    private: bool = False,
    only: Sequence[str] = (),
    hardware: str | None = None,
    dry_run: bool = False,
    pretrained: Path = BUNDLED,
    project: Path = PROJECT,
    api: HfApi | None = None,
) -> list[str]:
    """Publish the repos and the Space; return and print their addresses.

    Args:
        namespace: user or organisation.
        private: make new repos and the collection private; those that exist stay as they are.
        only: some of `PARTS`; by default all.
        hardware: of the Space, as the Hub calls it. None: ZeroGPU for a new one, and an old one keeps its own.
        dry_run: only print the files that would be sent.
        pretrained: the folder with the repo folders.
        project: the project's own folder.
        api: a client with a token; by default one with the token that `hf auth login` left.

    Raises:
        RepositoryError: a folder lacks files, there is no token, or the Hub refuses a step. The message says which.
    """
    plans = make_plan(namespace, only=only, pretrained=pretrained, project=project)
    version = f"v{visim_models.__version__}"
    for plan in plans:
        print("\n".join(plan.lines()) if dry_run else f"{plan.kind} {plan.repo_id}: {plan.size:,} bytes")
    if plans[-1].part == SPACE and (hardware or ZERO_GPU) == ZERO_GPU and (note := zero_gpu_note(project)):
        print(note)
    if dry_run:
        where = hardware or f"{ZERO_GPU} if it is new"
        print(f"tag of each repo: {version}; hardware of the Space: {where}; collection: {COLLECTION!r}")
        print(f"dry run: {sum(plan.size for plan in plans):,} bytes in {len(plans)} repos; nothing was sent")
        return []
    publisher = Publisher(api or hub_client(), namespace, private=private)
    addresses = [publisher.send(plan, version=version, hardware=hardware) for plan in plans]
    addresses.append(publisher.collect(plans))
    for address in addresses:
        print(address)
    return addresses
