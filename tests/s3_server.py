"""A tiny S3 server on the loopback interface: lists a bucket, and serves its objects to one key."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest

__all__ = ["KEY", "SECRET", "S3Server", "serving_s3", "use_s3"]

KEY = "AKIADUMMYDUMMYDUMMY1"
SECRET = "dummysecretdummysecretdummysecretdummy22"


class S3Server(ThreadingHTTPServer):
    """Serves `buckets`, bucket -> key -> content, `a_page` keys a page, to whoever names `KEY`.

    A key in `forbidden` is answered with 403, one in `sizes` claims that size, and one in `changed` was changed at
    that second. It waits `delay` seconds before
    each answer, and says nothing while `hangs` is set. It records the methods and paths that were asked for.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.buckets: dict[str, dict[str, bytes]] = {}
        self.forbidden: set[str] = set()
        self.sizes: dict[str, int] = {}
        self.changed: dict[str, int] = {}
        self.a_page = 1000
        self.asked: list[str] = []
        self.delay = 0.0
        self.hangs = threading.Event()
        self.closing = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that has had enough hangs up


class _Handler(BaseHTTPRequestHandler):
    server: S3Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        parts = urlsplit(self.path)
        bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
        self.server.asked.append(f"{self.command} {unquote(parts.path)}")
        if self.server.hangs.is_set():
            self.server.closing.wait(30)
            self.close_connection = True
            return
        time.sleep(self.server.delay)
        if f"Credential={KEY}/" not in self.headers.get("Authorization", ""):
            self._fail(403, "InvalidAccessKeyId", with_body=with_body)
        elif bucket not in self.server.buckets:
            self._fail(404, "NoSuchBucket", with_body=with_body)
        elif key in self.server.forbidden:
            self._fail(403, "AccessDenied", with_body=with_body)
        elif key:
            self._object(bucket, key, with_body=with_body)
        else:
            query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
            self._send(200, self._listing(bucket, query), with_body=with_body)

    def _object(self, bucket: str, key: str, *, with_body: bool) -> None:
        content = self.server.buckets[bucket].get(key)
        if content is None:
            self._fail(404, "NoSuchKey", with_body=with_body)
            return
        changed = {"Last-Modified": formatdate(self.server.changed.get(key, 1_700_000_000), usegmt=True)}
        if not with_body and key in self.server.sizes:
            self._send(200, content, with_body=False, size=self.server.sizes[key], headers=changed)
        elif "Range" in self.headers:
            first, _, last = self.headers["Range"].removeprefix("bytes=").partition("-")
            self._send(206, content[int(first) : int(last) + 1], with_body=with_body, headers=changed)
        else:
            self._send(200, content, with_body=with_body, headers=changed)

    def _listing(self, bucket: str, query: dict[str, str]) -> bytes:
        objects = self.server.buckets[bucket]
        keys = sorted(key for key in objects if key.startswith(query.get("prefix", "")))
        start = int(query.get("continuation-token", 0))
        page = keys[start : start + min(self.server.a_page, int(query.get("max-keys", 1000)))]
        end = start + len(page)
        more = f"<NextContinuationToken>{end}</NextContinuationToken>" if end < len(keys) else ""
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{self.server.sizes.get(key, len(objects[key]))}</Size>"
            f"<LastModified>{_iso(self.server.changed.get(key, 1_700_000_000))}</LastModified></Contents>"
            for key in page
        )
        return (
            f"<ListBucketResult><Name>{bucket}</Name><KeyCount>{len(page)}</KeyCount>"
            f"<IsTruncated>{str(bool(more)).lower()}</IsTruncated>{more}{entries}</ListBucketResult>"
        ).encode()

    def _fail(self, status: int, code: str, *, with_body: bool) -> None:
        sent = self.headers.get("Authorization", "")
        body = f"<Error><Code>{code}</Code><Message>{code}: you sent {escape(sent)}</Message></Error>"
        self._send(status, body.encode(), with_body=with_body)

    def _send(
        self,
        status: int,
        body: bytes,
        *,
        with_body: bool,
        size: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/xml", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if size is None else size))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


@contextmanager
def serving_s3() -> Iterator[S3Server]:
    """Run a server until the block ends."""
    server = S3Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


def use_s3(server: S3Server, monkeypatch: pytest.MonkeyPatch, *, key: str = KEY) -> None:
    """Let the AWS environment of this process name the server and a key, and nothing else."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.address)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
