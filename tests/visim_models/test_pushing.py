"""`push_to_hub` through the real client to the recording Hub, and loading from there, in processes of their own."""

import json
import os
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from tests.builders import files_of, tiny_repo
from tests.hub.recording_hub import TOKEN, RecordingHub, Repo, serving
from tests.processes import run_program
from visim_models import RepositoryError, VisualSimilarity
from visim_models.repo_folder.card import is_marked
from visim_models.repo_folder.manifest import EMBEDDINGS

# The client reads the Hub's address when it is imported.
PROGRAM = """
import json, sys, warnings
warnings.filterwarnings("ignore", "Use 'content=", DeprecationWarning)
from visim_models import VisimError, VisualSimilarity
folder, repo_id, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
similarity = VisualSimilarity.from_pretrained(folder)
similarity.gallery.image_root = options.pop("image_root", "https://example.org/")
try:
    print(similarity.push_to_hub(repo_id, **options))
except VisimError as error:
    sys.exit(f"{type(error).__name__}: {error}")
if options.get("revision") or options.get("create_pr"):
    sys.exit()
loaded = VisualSimilarity.from_pretrained(repo_id)
same = (loaded.gallery.embeddings == similarity.gallery.embeddings).all()
print(len(loaded.gallery), loaded.gallery.image_root, same)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_repo(tmp_path_factory.mktemp("repos") / "mine")


def push(hub: RecordingHub, folder: Path, home: Path, repo_id: str, **options: object) -> tuple[int, list[str], str]:
    """The status, the lines and the errors of a program that pushes and loads again."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    environment |= {"HF_ENDPOINT": hub.address, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(home), "HF_TOKEN": TOKEN}
    if options.pop("without_token", False):
        del environment["HF_TOKEN"]
    done = run_program(PROGRAM, folder, repo_id, json.dumps(options), environment=environment)
    return done.returncode, done.stdout.splitlines(), done.stderr


def test_what_is_pushed_loads_again(folder: Path, tmp_path: Path) -> None:
    before = files_of(folder)
    with serving(hub := RecordingHub(TOKEN)):
        status, lines, errors = push(hub, folder, tmp_path, "someone/mine", private=True)
        assert status == 0, errors
        assert lines == [f"{hub.address}/someone/mine", "12 https://example.org/ True"]
        repo = hub.repos["models/someone/mine"]
        assert repo.private
        assert len(repo.commits) == 1
        assert set(before) | {"README.md", ".gitattributes"} == set(repo.files)
        assert b"visim wrote this card" in repo.files["README.md"]
        assert push(hub, folder, tmp_path, "someone/mine")[0] == 0
        assert len(repo.commits) == 1

        repo.files |= {"README.md": b"# mine", "notes.txt": b"mine", "training.json": b"{}"}
        status, _, errors = push(hub, folder, tmp_path, "someone/mine", image_root="photos", token=TOKEN)
        assert status == 0, errors
        assert "everyone can read that path" in errors
        assert len(repo.commits) == 2
        assert (repo.files["README.md"], repo.files["notes.txt"]) == (b"# mine", b"mine")
        assert "training.json" not in repo.files  # it is of other weights
    assert files_of(folder) == before


def test_a_branch_and_a_pull_request_leave_the_main_branch_alone(folder: Path, tmp_path: Path) -> None:
    with serving(hub := RecordingHub(TOKEN)):
        repo = hub.repos["models/someone/theirs"] = Repo("model", private=False)
        repo.files |= {"README.md": b"# theirs", "pytorch_model.bin": b"theirs"}
        before = dict(repo.files)
        status, lines, errors = push(hub, folder, tmp_path, "someone/theirs", create_pr=True)
        assert (status, lines) == (0, [f"{hub.address}/someone/theirs/discussions/1"]), errors
        (proposed,) = repo.pull_requests
        assert (proposed["README.md"], proposed["pytorch_model.bin"]) == (b"# theirs", b"theirs")
        assert EMBEDDINGS in proposed
        assert repo.files == before

        hub.repos["models/someone/mine"] = mine = Repo("model", private=False)
        options = {"revision": "v2", "commit_message": "Chairs of 1900"}
        status, lines, errors = push(hub, folder, tmp_path, "someone/mine", **options)
        assert (status, lines) == (0, [f"{hub.address}/someone/mine"]), errors
        assert EMBEDDINGS in mine.branches["v2"].files
        assert [commit["summary"] for commit in mine.branches["v2"].commits] == ["Chairs of 1900"]
        assert mine.files == {".gitattributes": b""}


def test_a_licence_that_the_website_wrote_comes_into_the_card(folder: Path, tmp_path: Path) -> None:
    with serving(hub := RecordingHub(TOKEN)):
        repo = hub.repos["models/someone/mine"] = Repo("model", private=False)
        repo.files["README.md"] = b"---\nlicense: cc-by-4.0\n---\n"  # as the form for a new repo makes it
        for commits in (1, 1):
            status, _, errors = push(hub, folder, tmp_path, "someone/mine")
            assert status == 0, errors
            card = ModelCard(repo.files["README.md"].decode())
            assert (card.data.license, card.data.library_name) == ("cc-by-4.0", "visim-models")
            assert "## The verdict" in card.text
            assert is_marked(repo.files["README.md"].decode())
            assert len(repo.commits) == commits


def test_what_the_hub_refuses_is_explained(folder: Path, tmp_path: Path) -> None:
    with serving(hub := RecordingHub(TOKEN)):
        status, _, errors = push(hub, folder, tmp_path, "someone/mine", without_token=True)
        assert (status, hub.repos) == (1, {})
        assert "RepositoryError: There is no token" in errors
        assert "hf auth login" in errors
        wrong = "hf_" + "Wrong" * 5
        errors = push(hub, folder, tmp_path, "someone/mine", token=wrong)[2]
        assert "Your token is not valid" in errors
        assert wrong not in errors
        hub.repos["models/someone/mine"] = Repo("model", private=False)
        hub.repos["models/someone/mine"].files["pytorch_model.bin"] = b"somebody else's"
        errors = push(hub, folder, tmp_path, "someone/mine")[2]
        assert "has files that visim did not publish (pytorch_model.bin)" in errors
        assert EMBEDDINGS not in hub.repos["models/someone/mine"].files
    errors = push(hub, folder, tmp_path, "someone/mine")[2]
    assert "RepositoryError: Could not create the model repo someone/mine" in errors


@pytest.mark.parametrize("repo_id", ["mine", "someone/", "/mine", ""])
def test_an_id_without_a_namespace_is_refused(folder: Path, repo_id: str) -> None:
    with pytest.raises(RepositoryError, match="'namespace/name'"):
        VisualSimilarity.from_pretrained(folder).push_to_hub(repo_id, token=TOKEN)
