"""Publishing through the real client, over HTTP, to a recording Hub of the tests."""

import contextlib
import io
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from huggingface_hub import HfApi, ModelCard
from packaging.requirements import Requirement

import visim_models
from hub.locate import REPO_NAMES
from hub.publish import PARTS, plan_own, publish
from hub.space import ZERO_GPU_TORCH, read_front_matter
from tests.builders import files_of, tiny_repo
from tests.hub.recording_hub import TOKEN, RecordingHub
from tests.processes import ROOT, run_module
from visim_models import ConfigurationError, RepositoryError
from visim_models.repo_folder.hub_repo import ZERO_GPU

# What goes by Xet, the client's usual way for large files, has servers and a protocol of its own: no test covers it.
# The client's own LFS upload hands its HTTP library a file in a way that the library has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

FRONT_MATTER = """---
title: visim
emoji: 🔎
colorFrom: indigo
colorTo: pink
sdk: gradio
sdk_version: "6.31.0"
python_version: "3.12"
app_file: demo/app.py
models:
- NAMESPACE/visim-car-extractor
short_description: Find the pictures that look most like yours
---

# visim in NAMESPACE/ is text
"""


@pytest.fixture(scope="module")
def repos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    parent = tmp_path_factory.mktemp("repos")
    for seed, name in enumerate(REPO_NAMES.values()):
        folder = tiny_repo(parent / name, seed=seed)
        (folder / "README.md").write_text(f"---\nlicense: apache-2.0\n---\n# {name}\n", encoding="utf-8")
    return parent


@pytest.fixture
def pretrained(repos: Path, tmp_path: Path) -> Path:
    return shutil.copytree(repos, tmp_path / "pretrained")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    for name in ("demo/app.py", "hub/__init__.py", "visim_models/__init__.py", "tests/test_it.py", "runs/a/model.txt",
                 "demo/__pycache__/app.cpython-311.pyc", ".gitignore", "requirements.txt", "LICENSE"):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"# {name}\n", encoding="utf-8")
    (folder / "README.md").write_text(FRONT_MATTER, encoding="utf-8")
    return folder


class Outcome(NamedTuple):
    """What a run printed, and its error or ""."""

    printed: str
    error: str


def publish_to(server: RecordingHub, pretrained: Path, project: Path, *, token: str = TOKEN, **options: Any) -> Outcome:
    """Publish as "someone" through the real client."""
    api = HfApi(endpoint=server.address, token=token)
    error = ""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            publish("someone", pretrained=pretrained, project=project, api=api, **options)
        except RepositoryError as found:
            error = str(found)
    return Outcome(printed.getvalue(), error)


def test_everything_is_published_once(server: RecordingHub, pretrained: Path, project: Path, tmp_path: Path) -> None:
    first = publish_to(server, pretrained, project)
    assert first.error == ""
    assert set(server.repos) == {*(f"models/someone/{name}" for name in REPO_NAMES.values()), "spaces/someone/visim"}
    for name in REPO_NAMES.values():
        repo = server.repos[f"models/someone/{name}"]
        assert repo.files.pop(".gitattributes") == b"* text=auto eol=lf\n"
        assert repo.files == files_of(pretrained / name)
        assert [commit["summary"] for commit in repo.commits] == [f"visim {visim_models.__version__}"]
        assert repo.tags == {f"v{visim_models.__version__}": repo.head}
        assert not repo.private
    space = server.repos["spaces/someone/visim"]
    assert space.settings["sdk"] == "gradio"
    assert space.settings["hardware"] == ZERO_GPU
    assert set(space.files) == {".gitattributes", "README.md", "LICENSE", "requirements.txt", "demo/app.py",
                                "hub/__init__.py", "visim_models/__init__.py"}  # fmt: skip
    (tmp_path / "work").mkdir()
    for plan in plan_own("someone", tmp_path / "work", pretrained=pretrained, project=project):
        sent = server.repos[f"{plan.kind}s/{plan.repo_id}"].files
        assert {name: len(sent[name]) for name in sent.keys() - {".gitattributes"}} == plan.files
    readme = space.files["README.md"].decode()
    assert "- someone/visim-car-extractor\n" in readme
    assert "# visim in NAMESPACE/ is text" in readme
    (collection,) = server.collections.values()
    assert [(item["type"], item["id"]) for item in collection["items"]] == [
        *(("model", f"someone/{name}") for name in REPO_NAMES.values()), ("space", "someone/visim")
    ]  # fmt: skip
    addresses = [f"{server.address}/someone/visim-car-extractor", f"{server.address}/spaces/someone/visim",
                 f"{server.address}/collections/{collection['slug']}"]  # fmt: skip
    assert all(address in first.printed.splitlines() for address in addresses)


def test_a_second_run_commits_nothing(server: RecordingHub, pretrained: Path, project: Path) -> None:
    assert not publish_to(server, pretrained, project).error
    before = len(server.requests)
    second = publish_to(server, pretrained, project)
    assert second.error == ""
    asked = server.requests[before:]
    harmless = ("validate-yaml", "/preupload/main", "/objects/batch")
    assert [path for method, path in asked if method not in ("GET", "HEAD") and not path.endswith(harmless)] == []
    assert server.commits == len(PARTS)


def test_a_change_is_one_commit_in_its_repo_alone(server: RecordingHub, pretrained: Path, project: Path) -> None:
    assert not publish_to(server, pretrained, project).error
    changed = pretrained / "visim-car-extractor"
    (changed / "metrics.json").write_text("{}")
    (changed / "README.md").write_text("---\nlicense: apache-2.0\n---\n# again\n")
    again = publish_to(server, pretrained, project)
    repo = server.repos["models/someone/visim-car-extractor"]
    assert (server.commits, len(repo.commits), repo.commits[-1]["operations"]) == (len(PARTS) + 1, 2, 2)
    assert "raise the version" in again.printed
    (changed / "metrics.json").unlink()
    assert not publish_to(server, pretrained, project).error
    assert "metrics.json" not in repo.files


def test_files_of_others_stay_in_a_published_repo(server: RecordingHub, pretrained: Path, project: Path) -> None:
    assert not publish_to(server, pretrained, project).error
    repos = [server.repos["models/someone/visim-car-extractor"], server.repos["spaces/someone/visim"]]
    for repo in repos:
        repo.files["notes.txt"] = b"precious"
    (pretrained / "visim-car-extractor" / "metrics.json").write_text("{}")
    (project / "demo" / "app.py").write_text("# changed")
    assert not publish_to(server, pretrained, project).error
    assert [repo.files["notes.txt"] for repo in repos] == [b"precious"] * 2
    assert [len(repo.commits) for repo in repos] == [2, 2]


@pytest.mark.parametrize(
    "step", ["/repos/create", "/preupload/main", "/objects/batch", "/commit/main", "/tag/", "/items"]
)
def test_a_failure_halfway_is_completed_by_a_second_run(
    server: RecordingHub, pretrained: Path, project: Path, step: str
) -> None:
    seen = []

    def fail(method: str, path: str) -> int | None:
        if method == "POST" and step in path:
            seen.append(path)
        return 403 if len(seen) == 2 and seen[-1] == path and step in path else None

    server.fail = fail
    first = publish_to(server, pretrained, project)
    assert first.error.startswith("Could not")
    assert first.error.endswith(".")
    server.fail = lambda method, path: None
    second = publish_to(server, pretrained, project)
    assert second.error == ""
    assert server.commits == len(PARTS)
    assert all(repo.tags for repo in server.repos.values())
    assert [len(collection["items"]) for collection in server.collections.values()] == [len(PARTS)]


def test_the_token_is_never_printed(server: RecordingHub, pretrained: Path, project: Path) -> None:
    for answer in (publish_to(server, pretrained, project), publish_to(server, pretrained, project, token=TOKEN[:-1])):
        assert TOKEN[:-1] not in answer.printed + answer.error
    (pretrained / "visim-car-extractor" / "metrics.json").write_text("{}")
    refused = publish_to(server, pretrained, project, token=TOKEN[:-1])
    assert "hf auth login" in refused.error


def command_line(server: RecordingHub, home: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """`python -m hub publish` in a process of its own: the client reads its address when it is imported."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    environment |= {"HF_ENDPOINT": server.address, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(home)}
    arguments = ["publish", "--namespace", "someone", "--only", "space", *options]
    return run_module("hub", *arguments, environment=environment)


def test_the_command_line_takes_the_token_of_a_login(server: RecordingHub, tmp_path: Path) -> None:
    refused = command_line(server, tmp_path)
    assert refused.returncode == 2
    assert "hf auth login" in refused.stderr
    assert server.repos == {}
    (tmp_path / "token").write_text(TOKEN, encoding="utf-8")  # where `hf auth login` leaves it
    done = command_line(server, tmp_path, "--private")
    assert done.returncode == 0, done.stderr
    assert set(server.repos) == {"spaces/someone/visim"}
    assert f"{server.address}/spaces/someone/visim" in done.stdout
    assert TOKEN not in done.stdout + done.stderr


def test_private_only_and_hardware(server: RecordingHub, pretrained: Path, project: Path) -> None:
    answer = publish_to(server, pretrained, project, private=True, only=["car-extractor", "space"])
    assert answer.error == ""
    assert set(server.repos) == {"models/someone/visim-car-extractor", "spaces/someone/visim"}
    assert all(repo.private for repo in server.repos.values())
    assert [collection["private"] for collection in server.collections.values()] == [True]
    assert not publish_to(server, pretrained, project, only=["space"], hardware="cpu-upgrade").error
    assert server.repos["spaces/someone/visim"].settings["hardware"] == "cpu-upgrade"
    assert not publish_to(server, pretrained, project, only=["space"]).error
    assert server.repos["spaces/someone/visim"].settings["hardware"] == "cpu-upgrade"
    del server.repos["spaces/someone/visim"]
    assert "ZeroGPU" in publish_to(server, pretrained, project, only=["space"], hardware="cpu-basic").error


def test_a_dry_run_lists_every_file_and_touches_nothing(
    pretrained: Path,
    project: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("it asked the network"))
    before = files_of(project.parent)
    assert publish("someone", dry_run=True, pretrained=pretrained, project=project) == []
    printed = capsys.readouterr().out
    assert "__pycache__" not in printed
    assert "tests/" not in printed
    assert files_of(project.parent) == before
    (tmp_path / "work").mkdir()
    for plan in plan_own("someone", tmp_path / "work", pretrained=pretrained, project=project):
        assert all(f"  {size:>12,}  {name}\n" in printed for name, size in plan.files.items())


def test_a_python_that_zero_gpu_does_not_have_is_noted(
    pretrained: Path, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options: dict[str, Any] = {"dry_run": True, "pretrained": pretrained, "project": project}
    publish("someone", **options)
    assert "note: README.md" not in capsys.readouterr().out
    (project / "README.md").write_text(FRONT_MATTER.replace('"3.12"', '"3.11"'), encoding="utf-8")
    publish("someone", **options)
    assert "note: README.md names Python 3.11" in capsys.readouterr().out
    publish("someone", hardware="cpu-upgrade", **options)
    publish("someone", only=["car-extractor"], **options)
    assert "note: README.md" not in capsys.readouterr().out


@pytest.mark.parametrize("tags", ["", "tags:\n- image-similarity\n- cars\n"])
def test_a_space_for_agents(server: RecordingHub, pretrained: Path, project: Path, tags: str) -> None:
    (project / "README.md").write_text(FRONT_MATTER.replace("models:", f"{tags}models:"), encoding="utf-8")
    answer = publish_to(server, pretrained, project, only=["space"], mcp=True)
    assert answer.error == ""
    space = server.repos["spaces/someone/visim"]
    assert space.settings["variables"] == {"GRADIO_MCP_SERVER": "True"}
    front = ModelCard(space.files["README.md"].decode()).data
    assert front.get("tags") == [*(["image-similarity", "cars"] if tags else []), "mcp-server"]
    assert front.get("models") == ["someone/visim-car-extractor"]
    assert "/gradio_api/mcp/" in answer.printed
    count = len(server.requests)
    assert publish_to(server, pretrained, project, only=["space"], mcp=True).error == ""
    assert ("POST", "/api/spaces/someone/visim/variables") not in server.requests[count:]


def test_a_space_installs_a_torch_that_zero_gpu_lists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (plan,) = plan_own("someone", tmp_path, only=["space"])
    lines = (plan.folder / "requirements.txt").read_text(encoding="utf-8").splitlines()
    torch, torchvision = list(ZERO_GPU_TORCH.items())[-1]
    assert {f"torch=={torch}", f"torchvision=={torchvision}"} <= set(lines)
    assert (2, 8, 0) <= tuple(map(int, torch.split("."))) <= (2, 13, 0)
    ours = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    (asked,) = [Requirement(line) for line in ours if line.startswith("torch>")]
    assert torch in asked.specifier
    assert [line for line in lines if not line.startswith("torch")] == [x for x in ours if not x.startswith("torch")]
    publish("someone", only=["space"], dry_run=True)
    assert f"installs torch {torch}" in capsys.readouterr().out


def test_what_is_not_whole_is_not_published(pretrained: Path, project: Path) -> None:
    (pretrained / "visim-car-extractor" / "README.md").unlink()
    with pytest.raises(RepositoryError, match=r"README\.md"):
        publish("someone", dry_run=True, pretrained=pretrained, project=project)
    with pytest.raises(RepositoryError, match="choose from"):
        publish("someone", dry_run=True, only=["everything"], pretrained=pretrained, project=project)
    for wrong in (
        "sdk: docker",
        'app_file: "../app.py"',
        "python_version: 3.10",
        "title: [",
        "short_description: " + 61 * "x",
    ):
        key = wrong.split(":")[0]
        lines = [wrong if line.startswith(f"{key}:") else line for line in FRONT_MATTER.splitlines()]
        (project / "README.md").write_text("\n".join(lines), encoding="utf-8")
        with pytest.raises(ConfigurationError, match=r"README\.md"):
            publish("someone", dry_run=True, only=["space"], pretrained=pretrained, project=project)


def test_a_network_without_a_gallery_is_published(server: RecordingHub, pretrained: Path, project: Path) -> None:
    folder = pretrained / "visim-general-extractor"
    shutil.rmtree(folder / "gallery")
    with pytest.raises(RepositoryError, match=r"gallery/metadata\.csv"):
        publish("someone", dry_run=True, only=["general-extractor"], pretrained=pretrained, project=project)
    for name in ("ood.json", "ood.safetensors"):
        (folder / name).unlink()
    for _ in range(2):
        assert publish_to(server, pretrained, project, only=["general-extractor"]).error == ""
    repo = server.repos["models/someone/visim-general-extractor"]
    assert set(repo.files) == {".gitattributes", *files_of(folder)}
    assert len(repo.commits) == 1


def test_the_project_itself_is_a_space(tmp_path: Path) -> None:
    front = read_front_matter(ROOT)
    (plan,) = plan_own("someone", tmp_path, only=["space"])
    assert {"README.md", "requirements.txt", front["app_file"], "hub/__init__.py", "visim_models/__init__.py"} <= set(
        plan.files
    )
    assert [name for name in plan.files if name.startswith(("tests/", "runs/", "."))] == []
    assert set(PARTS) == {*REPO_NAMES, "space"}
