"""Fill a repo on the Hugging Face Hub with the files of a folder. Files of anybody else in the repo stay."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError

from visim_models.errors import RepositoryError, VisimError
from visim_models.repo_folder.card_mark import is_marked
from visim_models.repo_folder.formats import listed, read_text
from visim_models.repo_folder.manifest import CARD

__all__ = ["HubRepo", "explaining", "hub_client", "root_warning"]

_MOST_BYTES: Final = 512 * 2**20
_FILES_OF_A_NEW_REPO: Final = {".gitattributes", "README.md"}
"""Files that the Hub itself writes when it makes a repo."""
_PREFIXES: Final = {"model": "", "dataset": "datasets/", "space": "spaces/"}


class HubRepo:
    """A repo on the Hub.

    Args:
        api: a client with a token.
        repo_id: "namespace/name".
        kind: "model", "dataset" or "space".
    """

    def __init__(self, api: HfApi, repo_id: str, *, kind: str = "model") -> None:
        self._api, self.repo_id, self.kind = api, repo_id, kind

    @property
    def address(self) -> str:
        """Return the address of its page."""
        return f"{self._api.endpoint}/{_PREFIXES[self.kind]}{self.repo_id}"

    def exists(self) -> bool:
        """Return whether the Hub has it, and the token may read it."""
        return self._api.repo_exists(self.repo_id, repo_type=self.kind)

    def files(self) -> set[str]:
        """Return the paths of its files."""
        return set(self._api.list_repo_files(self.repo_id, repo_type=self.kind))

    def text(self, name: str) -> str:
        """Download a text file, and return its content."""
        with TemporaryDirectory(prefix="visim-hub-") as cache:
            path = self._api.hf_hub_download(self.repo_id, name, repo_type=self.kind, cache_dir=cache)
            return read_text(Path(path), most=_MOST_BYTES)

    def has_edited_card(self) -> bool:
        """Return whether it has a card that visim did not write, or that somebody has edited since."""
        return CARD in self.files() and not is_marked(self.text(CARD))

    def check_is_ours(self, mark: str) -> None:
        """Refuse a repo with files of somebody else: filling it would replace some of them.

        Args:
            mark: the file by which a repo that visim filled is known.

        Raises:
            RepositoryError: it has files, and this one is not among them.
        """
        there = self.files()
        if mark not in there and (strangers := there - _FILES_OF_A_NEW_REPO):
            raise RepositoryError(
                f"The {self.kind} repo {self.repo_id} has files that visim did not publish ({listed(strangers)}): "
                "nothing was changed in it. Rename that repo, or publish under another name or namespace.",
                path=self.repo_id,
            )

    def commit(self, folder: Path, *, owned: Collection[str], message: str) -> None:
        """Make the repo hold the files of a folder by one commit, or by none where it does already.

        Args:
            folder: its files are added or replaced.
            owned: files of the repo that are deleted where the folder does not have them.
            message: of the commit.
        """
        names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
        gone = sorted(self.files() & set(owned) - set(names))
        self._api.create_commit(
            self.repo_id,
            [
                *(CommitOperationAdd(name, folder / name) for name in names),
                *(CommitOperationDelete(name, is_folder=False) for name in gone),
            ],
            repo_type=self.kind,
            commit_message=message,
        )


def hub_client(token: str | None = None) -> HfApi:
    """Return a client that may write to the Hub.

    Args:
        token: with write permission; by default the one that `hf auth login` left.

    Raises:
        RepositoryError: there is none.
    """
    if not (token := token or get_token()):
        raise RepositoryError("There is no token to publish with: run `hf auth login`, or set HF_TOKEN.")
    return HfApi(token=token)


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
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        if isinstance(api.token, str):
            reason = reason.replace(api.token, "(token)")
        raise RepositoryError(f"Could not {step} ({reason}). {advice}") from error


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
