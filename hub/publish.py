"""Publish the models, their galleries and the demo to the Hugging Face Hub: repos, version tags, a collection, a Space.

Every step first checks whether it is done already: a second run without changes commits nothing, and one after a
failure does the rest. Each repo gets one commit. A repo of the same name that visim did not publish is left alone, and
in a repo that it did publish only files that it publishes are replaced or deleted.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError

import visim_models
from hub.locate import BUNDLED
from hub.publish_plan import LEFT_OUT, PARTS, PROJECT, SPACE, RepoPlan, make_plan, stage_space, zero_gpu_note
from visim_models.errors import RepositoryError, VisimError
from visim_models.repo_folder.formats import listed

__all__ = ["ZERO_GPU", "Publisher", "add_arguments", "publish", "run"]

ZERO_GPU: Final = "zero-a10g"
"""The Hub's name for ZeroGPU, the only hardware of a Gradio Space that a free account may have (since July 2026)."""

_FILES_OF_A_NEW_REPO: Final = {".gitattributes", "README.md"}
"""Files that the Hub itself writes when it makes a repo."""
_COLLECTION: Final = "visim: visual similarity"
_DESCRIPTION: Final = "Find the pictures that look most like yours: three small models, their galleries, and a demo."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `python -m hub publish`."""
    parser.add_argument("--namespace", required=True, help="user or organisation on the Hub")
    parser.add_argument("--private", action="store_true", help="make new repos private")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=[], help="publish only these")
    parser.add_argument("--hardware", help=f"of the Space; a new one gets {ZERO_GPU}, an old one keeps what it has")
    parser.add_argument("--dry-run", action="store_true", help="list every file with its size, and touch nothing")


def run(options: argparse.Namespace) -> None:
    """Publish as the options say."""
    publish(
        options.namespace,
        private=options.private,
        only=options.only,
        hardware=options.hardware,
        dry_run=options.dry_run,
    )


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
        print(f"tag of each repo: {version}; hardware of the Space: {where}; collection: {_COLLECTION!r}")
        print(f"dry run: {sum(plan.size for plan in plans):,} bytes in {len(plans)} repos; nothing was sent")
        return []
    publisher = Publisher(api or _client(), namespace, private=private)
    addresses = [publisher.send(plan, version=version, hardware=hardware) for plan in plans]
    addresses.append(publisher.collect(plans))
    for address in addresses:
        print(address)
    return addresses


def _client() -> HfApi:
    token = get_token()
    if not token:
        raise RepositoryError("There is no token to publish with: run `hf auth login`, or set HF_TOKEN.")
    return HfApi(token=token)


class Publisher:
    """Publish under one namespace, in steps that may each be done already.

    Args:
        api: with a token.
        namespace: user or organisation.
        private: whether new repos are private.
    """

    def __init__(self, api: HfApi, namespace: str, *, private: bool) -> None:
        self._api, self._namespace, self._private = api, namespace, private

    def send(self, plan: RepoPlan, *, version: str, hardware: str | None) -> str:
        """Create, fill and tag one repo; return its address.

        Raises:
            RepositoryError: the Hub refuses, or cannot be reached.
        """
        step = "create"
        try:
            self._create(plan, hardware)
            step = "fill"
            commit = self._upload(plan)
            step = "tag"
            self._tag(plan, commit, version)
        except VisimError:
            raise
        except Exception as error:  # the client's own, those of its HTTP library, and of the disk
            raise RepositoryError(self._explain(error, f"{step} the {plan.kind} repo {plan.repo_id}")) from error
        prefix = "spaces/" if plan.part == SPACE else ""
        return f"{self._api.endpoint}/{prefix}{plan.repo_id}"

    def collect(self, plans: Sequence[RepoPlan]) -> str:
        """Put the repos into the collection, which is made where it is missing; return its address.

        Raises:
            RepositoryError: the Hub refuses, or cannot be reached.
        """
        try:
            mine = self._api.list_collections(owner=self._namespace, limit=100)
            slug = next((item.slug for item in mine if item.title == _COLLECTION), None)
            if slug is None:
                made = self._api.create_collection(
                    _COLLECTION,
                    namespace=self._namespace,
                    description=_DESCRIPTION,
                    private=self._private,
                    exists_ok=True,
                )
                slug = made.slug
            there = {(item.item_type, item.item_id) for item in self._api.get_collection(slug).items}
            for plan in plans:
                if (plan.kind, plan.repo_id) not in there:
                    self._api.add_collection_item(
                        slug, plan.repo_id, "space" if plan.part == SPACE else "model", exists_ok=True
                    )
        except Exception as error:  # as in `send`
            raise RepositoryError(self._explain(error, f"make the collection {_COLLECTION!r}")) from error
        return f"{self._api.endpoint}/collections/{slug}"

    def _create(self, plan: RepoPlan, hardware: str | None) -> None:
        if self._api.repo_exists(plan.repo_id, repo_type=plan.kind):
            self._check_is_ours(plan)
            if plan.part == SPACE and hardware and self._hardware_of(plan.repo_id) != hardware:
                self._api.request_space_hardware(plan.repo_id, hardware=hardware)  # type: ignore[arg-type]
            return
        if plan.part == SPACE:
            self._api.create_repo(
                plan.repo_id,
                repo_type="space",
                private=self._private,
                space_sdk="gradio",
                space_hardware=hardware or ZERO_GPU,  # type: ignore[arg-type]
                exist_ok=True,
            )
        else:
            self._api.create_repo(plan.repo_id, private=self._private, exist_ok=True)

    def _check_is_ours(self, plan: RepoPlan) -> None:
        """Refuse a repo with files of somebody else: publishing would replace some of them."""
        there = set(self._api.list_repo_files(plan.repo_id, repo_type=plan.kind)) - _FILES_OF_A_NEW_REPO
        if there and plan.mark not in there:
            raise RepositoryError(
                f"The {plan.kind} repo {plan.repo_id} has files that visim did not publish ({listed(there)}): nothing "
                "was changed in it. Rename that repo, or publish to another namespace.",
                path=plan.repo_id,
            )

    def _hardware_of(self, repo_id: str) -> str | None:
        runtime = self._api.get_space_runtime(repo_id)
        return runtime.requested_hardware or runtime.hardware

    def _upload(self, plan: RepoPlan) -> str:
        """Upload by one commit, or none where nothing changed; return the head commit."""
        with tempfile.TemporaryDirectory(prefix="visim-space-") as staged:
            folder = plan.folder
            if plan.part == SPACE:
                folder = Path(staged)
                stage_space(plan.folder, folder, namespace=self._namespace)
            commit = self._api.upload_folder(
                repo_id=plan.repo_id,
                repo_type=plan.kind,
                folder_path=folder,
                commit_message=f"visim {visim_models.__version__}",
                ignore_patterns=list(LEFT_OUT),  # the client adds its own to the list that it is given
                delete_patterns=list(plan.patterns),
            )
        return commit.oid

    def _tag(self, plan: RepoPlan, commit: str, version: str) -> None:
        tags = self._api.list_repo_refs(plan.repo_id, repo_type=plan.kind).tags
        at = next((tag.target_commit for tag in tags if tag.name == version), None)
        if at is None:
            self._api.create_tag(plan.repo_id, tag=version, revision=commit, repo_type=plan.kind, exist_ok=True)
        elif at != commit:
            print(f"note: {version} of {plan.repo_id} stays at an older commit; raise the version to tag this one")

    def _explain(self, error: Exception, step: str) -> str:
        status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
        advice = {
            401: "Your token is not valid: run `hf auth login`.",
            402: "The Hub asks for a paid plan for this. A free account may host two Gradio Spaces, on ZeroGPU only, "
            f"once its e-mail address is verified and it is 30 days old: leave --hardware out, or name {ZERO_GPU}.",
            403: f"Your token may not write to {self._namespace}: make one with write permission, or check the name.",
        }.get(status or 0, "The steps before it are done; run the same command again to complete it.")
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        token = self._api.token
        if isinstance(token, str):
            reason = reason.replace(token, "(token)")
        return f"Could not {step} ({reason}). {advice}"
