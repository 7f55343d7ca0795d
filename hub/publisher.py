"""Send planned repos to the Hugging Face Hub, in steps that may each be done already."""

import glob
import tempfile
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from huggingface_hub import HfApi

import visim_models
from hub.publish_plan import LEFT_OUT, SPACE, RepoPlan, stage_space
from visim_models.errors import RepositoryError
from visim_models.repo_folder.formats import listed
from visim_models.repo_folder.manifest import CARD
from visim_models.repo_folder.upload import HubRepo, explaining

__all__ = ["COLLECTION", "ZERO_GPU", "Publisher"]

ZERO_GPU: Final = "zero-a10g"
"""The Hub's name for ZeroGPU, the only hardware of a Gradio Space that a free account may have (since July 2026)."""

COLLECTION: Final = "visim: visual similarity"
_DESCRIPTION: Final = "Find the pictures that look most like yours: small models, their galleries, and a demo."
_PAID: Final = (
    "A free account may host two Gradio Spaces, on ZeroGPU only, once its e-mail address is verified and it is 30 days "
    f"old: leave --hardware out, or name {ZERO_GPU}."
)


class Publisher:
    """Publish under one namespace.

    Args:
        api: with a token.
        namespace: user or organisation.
        private: whether new repos are private.
    """

    def __init__(self, api: HfApi, namespace: str, *, private: bool) -> None:
        self._api, self._namespace, self._private = api, namespace, private

    def send(self, plan: RepoPlan, *, version: str = "", hardware: str | None = None) -> str:
        """Create, fill and tag one repo; return its address.

        Args:
            plan: the repo and its files.
            version: the tag; "" for none.
            hardware: of a Space. None: ZeroGPU for a new one, and an old one keeps its own.

        Raises:
            RepositoryError: the Hub refuses, or cannot be reached.
        """
        repo = HubRepo(self._api, plan.repo_id, kind=plan.kind)
        name = f"the {plan.kind} repo {plan.repo_id}"
        with explaining(self._api, f"create {name}", namespace=self._namespace, paid=_PAID):
            self._create(repo, plan, hardware)
        with explaining(self._api, f"fill {name}", namespace=self._namespace):
            commit = self._upload(repo, plan)
        if version:
            with explaining(self._api, f"tag {name}", namespace=self._namespace):
                self._tag(plan, commit, version)
        return repo.address

    def collect(self, plans: Sequence[RepoPlan]) -> str:
        """Put the repos into the collection, which is made where it is missing; return its address.

        Raises:
            RepositoryError: the Hub refuses, or cannot be reached.
        """
        with explaining(self._api, f"make the collection {COLLECTION!r}", namespace=self._namespace):
            mine = self._api.list_collections(owner=self._namespace, limit=100)
            slug = next((item.slug for item in mine if item.title == COLLECTION), None)
            if slug is None:
                made = self._api.create_collection(
                    COLLECTION,
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
                        slug, plan.repo_id, "space" if plan.kind == "space" else "model", exists_ok=True
                    )
        return f"{self._api.endpoint}/collections/{slug}"

    def _create(self, repo: HubRepo, plan: RepoPlan, hardware: str | None) -> None:
        if repo.exists():
            repo.check_is_ours(plan.mark)
            if plan.kind == "space" and hardware and self._hardware_of(plan.repo_id) != hardware:
                self._api.request_space_hardware(plan.repo_id, hardware=hardware)  # type: ignore[arg-type]
        elif plan.kind == "space":
            self._api.create_repo(
                plan.repo_id,
                repo_type="space",
                private=self._private,
                space_sdk="gradio",
                space_hardware=hardware or ZERO_GPU,  # type: ignore[arg-type]
                exist_ok=True,
            )
        else:
            self._api.create_repo(plan.repo_id, repo_type=plan.kind, private=self._private, exist_ok=True)

    def _hardware_of(self, repo_id: str) -> str | None:
        runtime = self._api.get_space_runtime(repo_id)
        return runtime.requested_hardware or runtime.hardware

    def _upload(self, repo: HubRepo, plan: RepoPlan) -> str:
        """Upload what has changed, if anything; return the head commit."""
        left_out = [] if plan.listing else list(LEFT_OUT)  # the client adds its own to the list that it is given
        owned = self._announce(repo, plan) if plan.listing else list(plan.patterns)
        if plan.keeps_edited_card and repo.has_edited_card():
            print(f"note: the README.md of {plan.repo_id} was edited on the Hub, and stays as it is")
            left_out.append(CARD)
            owned = [pattern for pattern in owned if not fnmatchcase(CARD, pattern)]
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
                ignore_patterns=left_out,
                delete_patterns=owned,
            )
        return commit.oid

    def _announce(self, repo: HubRepo, plan: RepoPlan) -> list[str]:
        """Publish the list of the files before the files: the client may send many of them by several commits.

        Returns:
            Patterns of the files that visim published before.

        Raises:
            RepositoryError: the repo has one of the files, and visim did not publish it.
        """
        there = repo.files()
        before = set(repo.text(plan.listing).splitlines()) if plan.listing in there else set()
        now = set(plan.files) - {CARD, plan.listing}
        if strangers := (now & there) - before:
            raise RepositoryError(
                f"The {plan.kind} repo {plan.repo_id} has files of the same names that visim did not publish "
                f"({listed(strangers)}): nothing was changed in it. Rename them there, or choose another --name.",
                path=plan.repo_id,
            )
        if now - before:
            self._api.upload_file(
                path_or_fileobj="".join(f"{name}\n" for name in sorted(before | now)).encode(),
                path_in_repo=plan.listing,
                repo_id=plan.repo_id,
                repo_type=plan.kind,
                commit_message=f"visim {visim_models.__version__}: the files that follow",
            )
        return [glob.escape(name) for name in before]

    def _tag(self, plan: RepoPlan, commit: str, version: str) -> None:
        tags = self._api.list_repo_refs(plan.repo_id, repo_type=plan.kind).tags
        at = next((tag.target_commit for tag in tags if tag.name == version), None)
        if at is None:
            self._api.create_tag(plan.repo_id, tag=version, revision=commit, repo_type=plan.kind, exist_ok=True)
        elif at != commit:
            print(f"note: {version} of {plan.repo_id} stays at an older commit; raise the version to tag this one")
