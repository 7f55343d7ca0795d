"""A small Hugging Face Hub that keeps what it is sent.

It has the endpoints that the client calls when visim publishes, and when it loads what was published. It answers as the
Hub does (codes, headers and fields that the client reads), refuses what it does not know with 501, and can be told to
fail once: so the real client runs against it over HTTP.

What the client may ask the real Hub beside this, and no test covers: Xet (`xet-write-token` and the servers behind it,
its usual way for large files), LFS in several parts with its completion, LFS `verify`, further pages of a long list of
files, tags or collections (`Link`), and waiting where the Hub asks for it (429).
"""

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

__all__ = ["TOKEN", "RecordingHub", "Repo", "serving"]

TOKEN = "hf_" + "Secret" * 5
"""The token that may write, unless a test names another."""

LFS_FROM = 4096
"""Files from this size on, and all safetensors, go by LFS, the others in the commit itself."""


@dataclass
class Repo:
    """A repo as the Hub has it."""

    repo_type: str
    private: bool
    settings: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=lambda: {".gitattributes": b""})
    commits: list[dict[str, Any]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    branches: dict[str, "Repo"] = field(default_factory=dict)
    pull_requests: list[dict[str, bytes]] = field(default_factory=list)

    @property
    def head(self) -> str:
        """The id of the last commit: 40 hexadecimal digits."""
        return hashlib.sha1(f"{len(self.commits)}".encode()).hexdigest()


@dataclass(frozen=True)
class Download:
    """A file of a repo, and the commit that it is of."""

    content: bytes
    commit: str


@dataclass
class RecordingHub:
    """The state, and what was asked.

    Attributes:
        token: the only one that may write.
        repos: "models/ns/name", "datasets/ns/name" or "spaces/ns/name" -> repo.
        collections: slug -> collection.
        requests: method and path of each request, in order.
        tokens: those that requests for a repo came with; "" stands for none.
        fail: asked with each request; an HTTP status that it gives is answered instead.
        takes_lfs: large files go by LFS; otherwise each file goes in the commit itself, whatever its size.
        error_code: the Hub's name of an error, sent with every answer; "GatedRepo", for one.
    """

    token: str
    repos: dict[str, Repo] = field(default_factory=dict)
    collections: dict[str, dict[str, Any]] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    fail: Callable[[str, str], int | None] = lambda method, path: None
    takes_lfs: bool = True
    error_code: str = ""
    address: str = ""

    @property
    def commits(self) -> int:
        """How many commits there are in all repos."""
        return sum(len(repo.commits) for repo in self.repos.values())

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: bytes) -> tuple[int, Any]:
        """Status and JSON (or a `Download`) for one request."""
        parts = [unquote(part) for part in path.strip("/").split("/")]
        match (method, *parts):
            case ("POST", "api", "validate-yaml"):
                return 200, {"warnings": [], "errors": []}
            case ("POST", "api", "repos", "create"):
                return self._create(json.loads(body))
            case ("GET", "api", "agent-harnesses"):  # the client's list of programs that call it
                return 404, {"error": "there is none here"}
            case ("GET", "api", "collections"):
                owner = query["owner"][0]
                mine = [item for item in self.collections.values() if item["owner"]["name"] == owner]
                return 200, [{key: value for key, value in item.items() if key != "position"} for item in mine]
            case ("POST", "api", "collections"):
                return self._create_collection(json.loads(body))
            case ("GET", "api", "collections", *slug):
                return 200, self.collections["/".join(slug)]
            case ("POST", "api", "collections", *slug, "items"):
                return self._add_item("/".join(slug), json.loads(body)["item"])
            case ("PUT", "lfs", oid):
                if hashlib.sha256(body).hexdigest() != oid:
                    return 400, {"error": "the content is not what was announced"}
                self.blobs[oid] = body
                return 200, {}
            case ("POST", *name, "info", "lfs", "objects", "batch"):
                return self._lfs_batch(name, json.loads(body))
            case ("GET" | "HEAD", ("datasets" | "spaces") as kind, namespace, name, "resolve", revision, *file):
                return self._download(f"{kind}/{namespace}/{name}", revision, "/".join(file))
            case ("GET" | "HEAD", namespace, name, "resolve", revision, *file):
                return self._download(f"models/{namespace}/{name}", revision, "/".join(file))
            case (_, "api", ("models" | "datasets" | "spaces") as kind, namespace, name, *rest):
                repo = self.repos.get(f"{kind}/{namespace}/{name}")
                return (
                    self._in_repo(repo, f"{namespace}/{name}", method, rest, body, query)
                    if repo
                    else (404, {"error": "Repository not found"})
                )
        return 501, {"error": f"{method} {path} is not known here"}

    def _download(self, key: str, revision: str, file: str) -> tuple[int, Any]:
        repo = self.repos.get(key)
        repo = repo.branches.get(revision, repo) if repo else None
        if repo is None or file not in repo.files:
            return 404, {"error": "Entry not found"}
        return 200, Download(repo.files[file], repo.head)

    def _create(self, asked: dict[str, Any]) -> tuple[int, Any]:
        kind = asked.get("type", "model")
        key = f"{kind}s/{asked['organization']}/{asked['name']}"
        prefix = "" if kind == "model" else f"{kind}s/"
        url = f"{self.address}/{prefix}{asked['organization']}/{asked['name']}"
        if key in self.repos:
            return 409, {"error": "You already created this repo", "url": url}
        if kind == "space" and asked.get("sdk") == "gradio" and asked.get("hardware") != "zero-a10g":
            return 402, {"error": "hosting Gradio Spaces on free cpu-basic requires a PRO subscription."}
        self.repos[key] = Repo(kind, asked.get("visibility") == "private" or bool(asked.get("private")), asked)
        return 200, {"url": url, "name": f"{asked['organization']}/{asked['name']}"}

    def _create_collection(self, asked: dict[str, Any]) -> tuple[int, Any]:
        slug = f"{asked['namespace']}/visim-{len(self.collections):024x}"
        self.collections[slug] = {
            "slug": slug, "title": asked["title"], "owner": {"name": asked["namespace"]}, "items": [],
            "lastUpdated": "2026-11-23T00:00:00.000Z", "position": 0, "private": asked["private"], "theme": "blue",
            "upvotes": 0, "description": asked.get("description"),
        }  # fmt: skip
        return 200, self.collections[slug]

    def _add_item(self, slug: str, item: dict[str, str]) -> tuple[int, Any]:
        items = self.collections[slug]["items"]
        if any((there["type"], there["id"]) == (item["type"], item["id"]) for there in items):
            return 409, {"error": "already there"}
        items.append({"_id": f"{len(items):024x}", "position": len(items), **item})
        return 200, self.collections[slug]

    def _lfs_batch(self, name: list[str], asked: dict[str, Any]) -> tuple[int, Any]:
        objects = []
        for item in asked["objects"]:
            upload = {"actions": {"upload": {"href": f"{self.address}/lfs/{item['oid']}", "header": {}}}}
            objects.append({**item, **({} if item["oid"] in self.blobs else upload)})
        return 200, {"transfer": "basic", "objects": objects}

    def _in_repo(
        self, repo: Repo, repo_id: str, method: str, rest: list[str], body: bytes, query: dict[str, list[str]]
    ) -> tuple[int, Any]:
        if len(rest) == 2 and rest[1] in repo.branches and rest[0] in ("tree", "revision", "preupload", "commit"):
            return self._in_repo(repo.branches[rest[1]], repo_id, method, [rest[0], "main"], body, query)
        match (method, *rest):
            case ("POST", "branch", name):
                repo.branches[name] = Repo(repo.repo_type, repo.private, files=dict(repo.files))
                return 200, {}
            case ("POST", "commit", "main") if query.get("create_pr"):
                proposed = Repo(repo.repo_type, repo.private, files=dict(repo.files))
                status, answer = self._in_repo(proposed, repo_id, method, rest, body, {})
                repo.pull_requests.append(proposed.files)
                return status, {**answer, "pullRequestUrl": f"{self.address}/{repo_id}/discussions/1"}
            case ("GET",) | ("GET", "revision", _):
                siblings = [{"rfilename": name} for name in sorted(repo.files)]
                return 200, {
                    "id": repo_id,
                    "_id": "0" * 24,
                    "sha": repo.head,
                    "private": repo.private,
                    "siblings": siblings,
                }
            case ("GET", "tree", _):
                rows = [{"type": "file", "path": name, "size": len(content), "oid": git_oid(content)}
                        for name, content in sorted(repo.files.items())]  # fmt: skip
                return 200, rows
            case ("POST", "preupload", "main"):
                return 200, {"files": [self._mode(repo, item) for item in json.loads(body)["files"]]}
            case ("POST", "commit", "main"):
                return self._commit(repo, repo_id, [json.loads(line) for line in body.splitlines()])
            case ("GET", "refs"):
                tags = [{"name": tag, "ref": f"refs/tags/{tag}", "targetCommit": at} for tag, at in repo.tags.items()]
                main = {"name": "main", "ref": "refs/heads/main", "targetCommit": repo.head}
                return 200, {"branches": [main], "tags": tags, "converts": []}
            case ("POST", "tag", revision):
                repo.tags[json.loads(body)["tag"]] = revision
                return 200, {}
            case ("GET", "runtime"):
                return 200, {"stage": "RUNNING", "hardware": {"current": repo.settings["hardware"],
                             "requested": repo.settings["hardware"]}, "storage": None, "gcTimeout": None}  # fmt: skip
            case ("GET" | "POST", "variables"):
                asked = json.loads(body or b"{}")
                values = repo.settings.setdefault("variables", {}) | ({asked["key"]: asked["value"]} if asked else {})
                repo.settings["variables"] = values
                return 200, {
                    key: {"value": value, "updatedAt": "2026-11-23T00:00:00.000Z"} for key, value in values.items()
                }
            case ("POST", "hardware"):
                repo.settings["hardware"] = json.loads(body)["flavor"]
                return self._in_repo(repo, repo_id, "GET", ["runtime"], b"", {})
        return 501, {"error": f"{method} {rest} is not known here"}

    def _mode(self, repo: Repo, item: dict[str, Any]) -> dict[str, Any]:
        content = repo.files.get(item["path"])
        is_large = self.takes_lfs and (item["size"] >= LFS_FROM or item["path"].endswith(".safetensors"))
        oid = None if content is None else hashlib.sha256(content).hexdigest() if is_large else git_oid(content)
        return {"path": item["path"], "uploadMode": "lfs" if is_large else "regular", "shouldIgnore": False, "oid": oid}

    def _commit(self, repo: Repo, repo_id: str, lines: list[dict[str, Any]]) -> tuple[int, Any]:
        files = dict(repo.files)
        for line in lines[1:]:
            value = line["value"]
            match line["key"]:
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    if value["oid"] not in self.blobs:
                        return 400, {"error": f"{value['path']} was not uploaded"}
                    files[value["path"]] = self.blobs[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]
                case _:
                    return 400, {"error": line["key"]}
        repo.files = files
        repo.commits.append({"summary": lines[0]["value"]["summary"], "operations": len(lines) - 1})
        return 200, {
            "commitUrl": f"{self.address}/{repo_id}/commit/{repo.head}",
            "commitOid": repo.head,
            "success": True,
        }


def git_oid(content: bytes) -> str:
    """The id that git gives a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def serving(hub: RecordingHub) -> Iterator[str]:
    """Serve it on a free port of this machine, until the block ends; its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # each answer is two packets: the second one waits 40 ms otherwise

        def _handle(self) -> None:
            split = urlsplit(self.path)
            body = self._body()
            hub.requests.append((self.command, split.path))
            if split.path.startswith(("/api/models/", "/api/datasets/", "/api/spaces/")):
                hub.tokens.add(self.headers.get("authorization", "").removeprefix("Bearer "))
            status = hub.fail(self.command, split.path)
            writes = self.command not in ("GET", "HEAD") and not split.path.startswith("/lfs/")
            if status is not None:
                answer: Any = {"error": "told to fail"}
            elif writes and self.headers.get("authorization") != f"Bearer {hub.token}":
                status, answer = 401, {"error": "Invalid username or password."}
            else:
                status, answer = hub.answer(self.command, split.path, parse_qs(split.query), body)
            payload = answer.content if isinstance(answer, Download) else json.dumps(answer).encode()
            self.send_response(status)
            if isinstance(answer, Download):
                self.send_header("ETag", f'"{git_oid(payload)}"')
                self.send_header("X-Repo-Commit", answer.commit)
            if status == 404 or hub.error_code:
                self.send_header("X-Error-Code", hub.error_code or "RepoNotFound")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(payload)

        do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = _handle

        def _body(self) -> bytes:
            if self.headers.get("transfer-encoding", "").lower() == "chunked":
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body
            return self.rfile.read(int(self.headers.get("content-length") or 0))

        def log_message(self, *_: object) -> None:
            """Keep the tests' output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub.address
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
