"""Repos on the Hugging Face Hub: download one, or fill one. Files of anybody else in a repo stay."""

import glob
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from urllib.parse import quote

from huggingface_hub import HfApi, constants, get_token, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name

from visim_models.errors import RepositoryError, VisimError
from visim_models.repo_folder.atomic import replacing_file
from visim_models.repo_folder.card import is_edited, with_licence_of
from visim_models.repo_folder.formats import listed, one_line, read_text
from visim_models.repo_folder.manifest import CARD

__all__ = [
    "ZERO_GPU",
    "HubRepo",
    "cleaned_token",
    "download_snapshot",
    "explaining",
    "hub_client",
    "root_warning",
    "without_tokens",
]

ZERO_GPU: Final = "zero-a10g"
"""The Hub's name for ZeroGPU, the only hardware of a Gradio Space that a free account may have (since July 2026)."""

_LOOKUP_SECONDS: Final = 10
"""Seconds that the Hub may take to say which commit a repo is at: the client would wait for ever."""
_TOKEN: Final = re.compile(r"(?i)(\bhf_\w{6,}|(?<=bearer )[^\s'\"]+)")
_MOST_BYTES: Final = 512 * 2**20
_FILES_OF_A_NEW_REPO: Final = {".gitattributes", "README.md"}
"""Files that the Hub itself writes when it makes a repo."""
_GIT_ATTRIBUTES: Final = ".gitattributes"
_LINE_ENDS: Final = "* text=auto eol=lf"
_PREFIXES: Final = {"model": "", "dataset": "datasets/", "space": "spaces/"}
_PAID: Final = (
    "A free account may host two Gradio Spaces, on ZeroGPU only, once its e-mail address is verified and it is 30 days "
    f"old: leave --hardware out, or name {ZERO_GPU}."
)


_log = logging.getLogger(__name__)


class HubRepo:
    """A repo on the Hub that visim fills.

    Args:
        api: a client with a token.
        repo_id: "namespace/name".
        kind: "model", "dataset" or "space".
        sdk: of a new Space: "gradio", or "static" for plain files, which takes no hardware.

    Attributes:
        notes: sentences about what filling it left as it was.
    """

    def __init__(self, api: HfApi, repo_id: str, *, kind: str = "model", sdk: str = "gradio") -> None:
        self._api, self.repo_id, self.kind, self._sdk = api, repo_id, kind, sdk
        self._namespace = repo_id.partition("/")[0]
        self.notes: list[str] = []
        self._revision: str | None = None

    @property
    def address(self) -> str:
        """Return the address of its page."""
        return f"{self._api.endpoint}/{_PREFIXES[self.kind]}{self.repo_id}"

    def has(self, name: str) -> bool:
        """Return whether the Hub has the repo, and the repo this file.

        Raises:
            RepositoryError: the Hub does not say.
        """
        with explaining(self._api, f"look for the {self.kind} repo {self.repo_id}", namespace=self._namespace):
            return self._exists() and name in self._files()

    def send(
        self,
        folder: Path,
        *,
        mark: str,
        owned: Sequence[str] = (),
        listing: str = "",
        keeps_edited_card: bool = False,
        message: str,
        tag: str = "",
        private: bool = False,
        hardware: str | None = None,
        variables: Mapping[str, str] | None = None,
        revision: str | None = None,
        create_pr: bool = False,
    ) -> str:
        """Make the repo where there is none, and fill it; each step that is done already is left out.

        Args:
            folder: its files are added or replaced, by one commit; there is none where the repo has them. It gets the
                repo's .gitattributes.
            mark: the file by which a repo that visim filled is known.
            owned: files of the repo that are deleted where the folder lacks them, as fnmatch reads them.
            listing: the file of the folder that lists the others, and, in the repo, those that are owned, instead of
                `owned`; "" for none.
            keeps_edited_card: whether a README.md that was edited on the Hub stays.
            message: of the commit.
            tag: of the commit; "" for none.
            private: make a new repo private.
            hardware: of a Space. None: ZeroGPU for a new one, and an old one keeps its own.
            variables: of a Space's environment; its others stay.
            revision: branch to commit to, which is made where there is none; None for the main one.
            create_pr: propose the commit as a pull request, for a repo of somebody else.

        Returns:
            The address of the repo, or of the pull request.

        Raises:
            RepositoryError: the Hub refuses, or the repo has files that visim did not publish. The message says which
                step failed.
        """
        name = f"the {self.kind} repo {self.repo_id}"
        with explaining(self._api, f"create {name}", namespace=self._namespace, paid=_PAID):
            self._create(mark, private=private, hardware=hardware, is_checked=not create_pr)
            if variables:
                self._set_variables(variables)
            if revision and not create_pr and not revision.startswith("refs/"):
                self._api.create_branch(self.repo_id, branch=revision, repo_type=self.kind, exist_ok=True)
                self._revision = revision
        with explaining(self._api, f"fill {name}", namespace=self._namespace):
            left_out = []
            patterns = self._announce(folder, listing, message) if listing else list(owned)
            self._write_git_attributes(folder)
            if self._keeps_card(folder, keeps_edited=keeps_edited_card):
                self.notes.append(f"the README.md of {self.repo_id} was edited on the Hub, and stays as it is")
                left_out.append(CARD)
                patterns = [pattern for pattern in patterns if not fnmatchcase(CARD, pattern)]
            commit = self._api.upload_folder(
                repo_id=self.repo_id,
                repo_type=self.kind,
                folder_path=folder,
                commit_message=message,
                ignore_patterns=left_out,
                delete_patterns=patterns,
                revision=revision,
                create_pr=create_pr,
            )
        if tag:
            with explaining(self._api, f"tag {name}", namespace=self._namespace):
                self._tag(tag, commit.oid)
        return commit.pr_url or self.address

    def _exists(self) -> bool:
        return self._api.repo_exists(self.repo_id, repo_type=self.kind)

    def _files(self) -> set[str]:
        return set(self._api.list_repo_files(self.repo_id, repo_type=self.kind, revision=self._revision))

    def _text(self, name: str) -> str:
        with TemporaryDirectory(prefix="visim-hub-") as cache:
            path = self._api.hf_hub_download(
                self.repo_id, name, repo_type=self.kind, revision=self._revision, cache_dir=cache
            )
            return read_text(Path(path), most=_MOST_BYTES)

    def _keeps_card(self, folder: Path, *, keeps_edited: bool) -> bool:
        """Return whether the repo's card stays; where it does not, the new one gets the licence that it states."""
        there = self._text(CARD) if CARD in self._files() else ""
        if keeps_edited and is_edited(there):
            return True
        own = folder / CARD
        if own.is_file():
            text = own.read_text(encoding="utf-8")
            own.write_text(with_licence_of(text, there), encoding="utf-8", newline="\n")
        return False

    def _write_git_attributes(self, folder: Path) -> None:
        """Write the repo's own .gitattributes into a folder, with a line by which a clone on Windows has its bytes."""
        there = self._text(_GIT_ATTRIBUTES) if _GIT_ATTRIBUTES in self._files() else ""
        text = there if _LINE_ENDS in there.splitlines() else f"{_LINE_ENDS}\n{there}"  # what follows wins: it has LFS
        (folder / _GIT_ATTRIBUTES).write_text(text, encoding="utf-8", newline="\n")

    def _create(self, mark: str, *, private: bool, hardware: str | None, is_checked: bool) -> None:
        """Make the repo; refuse one with files of somebody else, since filling it would replace some of them."""
        if not self._exists():
            space = {"space_sdk": self._sdk} if self.kind == "space" else {}
            if space and self._sdk == "gradio":
                space["space_hardware"] = hardware or ZERO_GPU
            self._api.create_repo(self.repo_id, repo_type=self.kind, private=private, exist_ok=True, **space)  # type: ignore[arg-type]
            return
        there = self._files()
        if is_checked and mark not in there and (strangers := there - _FILES_OF_A_NEW_REPO):
            raise RepositoryError(
                f"The {self.kind} repo {self.repo_id} has files that visim did not publish ({listed(strangers)}): "
                "nothing was changed in it. Rename that repo, or publish under another name or namespace.",
                path=self.repo_id,
            )
        if self.kind == "space" and hardware:
            runtime = self._api.get_space_runtime(self.repo_id)
            if hardware != (runtime.requested_hardware or runtime.hardware):
                self._api.request_space_hardware(self.repo_id, hardware=hardware)  # type: ignore[arg-type]

    def _set_variables(self, variables: Mapping[str, str]) -> None:
        there = self._api.get_space_variables(self.repo_id)
        for key, value in variables.items():
            if key not in there or there[key].value != value:
                self._api.add_space_variable(self.repo_id, key, value)

    def _announce(self, folder: Path, listing: str, message: str) -> list[str]:
        """Publish the list of the files before the files: the client may send many of them by several commits.

        Returns:
            Patterns of the files that visim published before.

        Raises:
            RepositoryError: the repo has one of the files, and visim did not publish it.
        """
        there = self._files()
        before = set(self._text(listing).splitlines()) if listing in there else set()
        now = set((folder / listing).read_text(encoding="utf-8").splitlines()) - {CARD, listing}
        if strangers := (now & there) - before:
            raise RepositoryError(
                f"The {self.kind} repo {self.repo_id} has files of the same names that visim did not publish "
                f"({listed(strangers)}): nothing was changed in it. Rename them there, or choose another --name.",
                path=self.repo_id,
            )
        if now - before:
            self._api.upload_file(
                path_or_fileobj="".join(f"{name}\n" for name in sorted(before | now)).encode(),
                path_in_repo=listing,
                repo_id=self.repo_id,
                repo_type=self.kind,
                commit_message=f"{message}: the files that follow",
            )
        return [glob.escape(name) for name in before]

    def _tag(self, tag: str, commit: str) -> None:
        tags = self._api.list_repo_refs(self.repo_id, repo_type=self.kind).tags
        at = next((each.target_commit for each in tags if each.name == tag), None)
        if at is None:
            self._api.create_tag(self.repo_id, tag=tag, revision=commit, repo_type=self.kind, exist_ok=True)
        elif at != commit:
            self.notes.append(f"{tag} of {self.repo_id} stays at an older commit; raise the version to tag this one")


def hub_client(token: str | None = None) -> HfApi:
    """Return a client that may write to the Hub.

    Args:
        token: with write permission; by default the one that `hf auth login` left.

    Raises:
        RepositoryError: there is none.
    """
    if not (found := cleaned_token(token) or get_token()):
        raise RepositoryError("There is no token to publish with: run `hf auth login`, or set HF_TOKEN.")
    return HfApi(token=found)


@contextmanager
def explaining(api: HfApi, step: str, *, namespace: str, paid: str = "") -> Iterator[None]:
    """Turn whatever the Hub, the network or the disk refuses in the block into an error that says what to do.

    Args:
        api: the client, whose token no message shows.
        step: what the block does, such as "fill the model repo a/b".
        namespace: that the token must be able to write to.
        paid: advice where the Hub asks for a paid plan.

    Raises:
        RepositoryError: the block failed.
    """
    try:
        yield
    except VisimError:
        raise
    except Exception as error:  # the client's own, those of its HTTP library, and of the disk
        status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
        advice = {
            401: "Your token is not valid: run `hf auth login`.",
            402: f"The Hub asks for a paid plan for this. {paid}".strip(),
            403: f"Your token may not write to {namespace}: make one with write permission, or check the name.",
        }.get(status or 0, "The steps before it are done; run the same again to complete it.")
        reason = without_tokens(one_line(error), api.token)
        raise RepositoryError(f"Could not {step} ({reason}). {advice}") from _shown(error, api.token)


def root_warning(image_root: str) -> str:
    """Return what visitors of a published gallery will not see, and what they will read; "" if they see its pictures.

    Args:
        image_root: of the gallery.
    """
    if not image_root:
        return "The gallery names no image root: visitors see drawn tiles or placeholders, and none of its pictures."
    if image_root.startswith("s3://"):
        return f"The gallery's pictures are in {image_root}: only those with keys of that bucket see them."
    if "://" not in image_root:
        return (
            f"The gallery's pictures are in {image_root} on this machine: visitors see drawn tiles or placeholders "
            "instead of them, and everyone can read that path."
        )
    return ""


def download_snapshot(
    repo_id: str,
    *,
    patterns: Sequence[str],
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    force_download: bool = False,
    local_files_only: bool = False,
    token: str | bool | None = None,
) -> Path:
    """Find the folder of a repo's snapshot, and download it where it is not cached.

    Args:
        repo_id: "namespace/name" of a model repo.
        patterns: the files to download, as fnmatch reads them.
        revision, cache_dir, force_download, local_files_only, token: as `RepoFolder.find` takes them.

    Raises:
        RepositoryError: no such repo or revision, no permission, no network and no whole cached copy, a full disk.
    """
    cache = Path(constants.HF_HUB_CACHE if cache_dir is None else cache_dir)
    if str(cache).startswith("~"):
        raise RepositoryError(
            f"{repo_id!r} cannot be cached, since this user has no home folder: set HF_HOME to a folder, or name a "
            "cache_dir."
        )
    token = cleaned_token(token)
    if not (local_files_only or constants.HF_HUB_OFFLINE or _answers(repo_id, revision, token)):
        _log.warning("The Hub did not answer within %d s: %s comes from the cache", _LOOKUP_SECONDS, repo_id)
        local_files_only = True
    try:
        with _keeping_the_last_whole_version(cache, repo_id, revision or constants.DEFAULT_REVISION):
            snapshot = snapshot_download(
                repo_id,
                revision=revision,
                cache_dir=cache,
                force_download=force_download,
                local_files_only=local_files_only,
                token=token,
                allow_patterns=list(patterns),
            )
    except Exception as error:  # of httpx or httpx2, by the client's version, of hf_xet, and of the disk
        reason = _why_not_downloaded(error, repo_id, revision)
        raise RepositoryError(without_tokens(reason, token)) from _shown(error, token)
    return Path(snapshot)


def _why_not_downloaded(error: Exception, repo_id: str, revision: str | None) -> str:
    match error:
        case HFValidationError():
            return f"{repo_id!r} is neither a folder here nor a repo id of the form 'namespace/name'."
        case GatedRepoError():
            return f"The repo {repo_id!r} is gated: accept its terms on the Hub, then run `hf auth login`."
        case RevisionNotFoundError():
            return f"The repo {repo_id!r} has no revision {revision!r}."
        case RepositoryNotFoundError():
            at = f" at revision {revision!r}" if revision else ""
            return (
                f"The Hub has no repo {repo_id!r}{at} that you may read: check the name; if it is private, "
                "`hf auth login`."
            )
        case LocalEntryNotFoundError() | EntryNotFoundError():
            return (
                f"{repo_id!r} is not a folder here, and the Hub could not be reached (or is switched off) and no whole "
                "copy is cached: connect once, or give a folder."
            )
    return f"Could not download {repo_id!r} ({one_line(error)}): complete files are kept; try again."


def cleaned_token(token: str | bool | None) -> str | bool | None:
    """Return a token without the white space that files and variables leave around it; None for an empty one."""
    return (token.strip() or None) if isinstance(token, str) else token


def without_tokens(text: str, token: str | bool | None = None) -> str:
    """Return a text in which no token can be read.

    Args:
        text: a message of the client, its HTTP library or the network.
        token: one that may be in it, whatever its form; others are known by theirs.
    """
    if isinstance(token, str):
        for form in (token, repr(token)[1:-1], quote(token), token.strip()):
            text = text.replace(form, "(token)") if form else text
    return _TOKEN.sub("(token)", text)


def _shown(error: Exception, token: str | bool | None) -> Exception | None:
    """Return the cause that a traceback may show: none where a token is in its message."""
    return error if without_tokens(str(error), token) == str(error) else None


def _answers(repo_id: str, revision: str | None, token: str | bool | None) -> bool:
    """Return whether the Hub answers a look-up of a repo in time, whatever the answer."""
    try:
        HfApi(token=token).model_info(repo_id, revision=revision, timeout=_LOOKUP_SECONDS)
    except (HfHubHTTPError, HFValidationError, LocalTokenNotFoundError):
        return True
    except Exception:  # of httpx or httpx2, by the client's version
        return False
    return True


@contextmanager
def _keeping_the_last_whole_version(cache: Path, repo_id: str, revision: str) -> Iterator[None]:
    """Undo the client's record of a branch's newer version if the download of that version fails.

    The client writes the record before it downloads the files. Without a network, the branch would then lead to a part
    of the newer version, although all of the older one is still in the cache.
    """
    note = cache / repo_folder_name(repo_id=repo_id, repo_type="model") / "refs" / revision
    before = _content(note)
    try:
        yield
    except BaseException:
        if before and _content(note) != before:
            with replacing_file(note) as staged:
                staged.write_text(before, encoding="utf-8")
        raise


def _content(note: Path) -> str:
    try:
        return note.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
