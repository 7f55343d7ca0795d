"""What stands in front of Gradio: closed paths, logins, sizes, addresses of pictures, inputs that do not fit, tags."""

import asyncio
import hashlib
import json
import logging
import re
from collections.abc import Iterator
from html import escape
from inspect import signature
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.block_function import BlockFunction
from gradio.state_holder import SessionState
from gradio.utils import is_in_or_equal, is_static_file
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo.heading import PREVIEW_PICTURE, USUAL_HEADING, Heading
from demo.uploads import FETCHES, FetchBusyError, fetch, sentence
from visim_models import VisimError

__all__ = ["Guard", "Preview", "refuse_wrong_inputs"]

_log = logging.getLogger(__name__)

_API = "/gradio_api"
_CLOSED = re.compile(
    rf"{_API}/(file=[a-z][a-z0-9+.-]*://|file/|proxy=|process_recording|deep_link|component_server|custom_component/"
    r"|stream/|dev/|run-history|runs|vibe)|/monitoring",
    re.IGNORECASE,
)
"""Routes of Gradio's that this page has no use for. They fetch from the web for anyone (`file=http://...`, by
`secure_url_stream_response`), write files that nobody deletes, or list the work of others."""
_OPEN = re.compile(
    r"/((login|config)/?|logout|healthz|preview\.png|favicon\.ico|manifest\.json|robots\.txt|theme\.css|pwa_icon.*"
    rf"|(assets|static|svelte)/.*)?|{_API}/(theme\.css|startup-events|login_check/?)"
)
"""Paths that answer without a login: the page for the login itself, and those that check the login themselves."""
_CALL = re.compile(rf"{_API}/(?:(?P<queued>call/v2|call)|run|api)/(?P<name>[^/]+)/?|{_API}/(?P<join>queue/join)")

_GRADIO_TAGS = re.compile(rb'<meta\s+(?:property="og:|name="twitter:)[^>]*>')
_MAX_BODY = 2**20
_MAX_MESSAGE = 4 * 2**20  # of MCP, which sets the same limit on one of its transports
_LARGE_AT_ONCE = 4
_MISFIT = "The inputs do not fit this function: send those that /gradio_api/info lists."


class Guard:
    """ASGI middleware that refuses requests which the page never sends, and fetches pictures by address for the others.

    Args:
        app: the routes behind it. The `app` of each scope must be Gradio's `App`.
        max_upload: largest picture, in bytes.
    """

    def __init__(self, app: ASGIApp, *, max_upload: int) -> None:
        self._app = app
        self._max_upload = max_upload
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", "")) or "/"
        try:
            if _CLOSED.match(path):
                raise HTTPException(403, "This address is closed.")
            _require_login(scope, path)
            if scope["method"] not in ("POST", "PUT", "PATCH"):
                await self._answer(path, scope, receive, send)
            elif path == f"{_API}/upload" or path.startswith("/search/"):
                await self._app(scope, _limited(receive, self._max_upload + _MAX_BODY), send)
            elif path.startswith(f"{_API}/mcp"):
                await self._hand_on_message(scope, receive, send)
            elif path.startswith(_API):
                await self._hand_on_call(path, scope, receive, send)
            else:
                await self._app(scope, _limited(receive, _MAX_BODY), send)
        except HTTPException as refusal:
            # The page shows the "error" of a call outside the queue, beside the input; other clients show the "detail".
            error = [_reason(refusal.detail)] if isinstance(refusal.detail, str) else refusal.detail
            await JSONResponse({"detail": refusal.detail, "error": error}, refusal.status_code)(scope, receive, send)

    async def _hand_on_message(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on a message of MCP, which may hold a picture in base64: a few large ones at once, the others wait."""
        length = Headers(scope=scope).get("content-length", "")
        if length.isdecimal() and int(length) <= _MAX_BODY:
            await self._app(scope, _limited(receive, _MAX_BODY), send)
            return
        async with self._large:
            await self._app(scope, _limited(receive, _MAX_MESSAGE), send)

    async def _hand_on_call(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on a call of a function, with the picture fetched that it names by address."""
        body = await _read(_limited(receive, _MAX_BODY))
        values = _parse(body)
        if call := _CALL.fullmatch(path):
            function = _find_function(scope["app"].get_blocks(), call, values)
            if not function.queue:  # it fetches: a refusal by the function itself takes Gradio ten times as long
                try:
                    FETCHES.check()
                except FetchBusyError as error:
                    raise HTTPException(503, sentence(error)) from error
        if await _fetch_file(scope["app"], values):
            body = json.dumps(values).encode()
        await self._answer(path, scope, _replay(body, receive), send)

    async def _answer(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on a request; one that does not fit leaves a line in the log, and no traceback."""
        begun = ended = False

        async def watched(message: Message) -> None:
            nonlocal begun, ended
            begun, ended = True, message["type"] == "http.response.body" and not message.get("more_body")
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            # An event stream has begun its answer when Gradio finds that the event does not exist.
            is_refusal = isinstance(error.__cause__, HTTPException) if begun else scope["method"] != "GET"
            if not is_refusal:
                raise
            # Only a body that does not fit makes Gradio's own routes raise: the work itself is done elsewhere.
            _log.info("a request to %.99r was refused (%s)", path, type(error).__name__)
            if not begun:
                raise HTTPException(400, f"The request does not fit: {_API}/info lists the functions.") from error
            if not ended:
                await send({"type": "http.response.body", "body": b""})


def _require_login(scope: Scope, path: str) -> None:
    """Refuse a request without a login where the host asks for one.

    Gradio asks for none on the routes of MCP, nor on `cancel`, `reset` and `heartbeat` (`App.create_app`).
    """
    app = scope["app"]
    if app.auth is None or _OPEN.fullmatch(path):
        return
    cookies = Request(scope).cookies
    tokens = [cookies.get(f"access-token-{kind}{app.cookie_id}") for kind in ("", "unsecure-")]
    if not any(token in app.tokens for token in tokens if token):
        raise HTTPException(401, "Log in first, at /login.")


def _find_function(page: Any, call: re.Match[str], values: Any) -> BlockFunction:
    """Find the function that a request calls; refuse one that does not exist, or is not called in this way."""
    index = values.get("fn_index") if isinstance(values, dict) and not call["queued"] else None
    found: list[BlockFunction] = [
        function
        for number, function in page.fns.items()
        if (number == index if index is not None else function.api_name == call["name"])
    ]
    is_hidden = found and call["queued"] and found[0].api_visibility != "public"
    if not found or is_hidden or isinstance(index, bool):
        raise HTTPException(404, f"There is no such function: {_API}/info lists them.")
    if call["join"] and not found[0].queue:
        raise HTTPException(400, f"This function has a queue of its own: call it at {_API}/run.")
    return found[0]


async def _fetch_file(app: Any, values: Any) -> bool:
    """Fetch the file that a call names by its address, and put the path of the file in its place.

    Returns:
        Whether there was one.
    """
    files = [file for file in _file_objects(values) if _is_remote(file.get("path") or file.get("url"))]
    if not files:
        return False
    if len(files) > 1:
        raise HTTPException(400, "More than one file is named by its address: send one picture a call.")
    address = files[0].get("path") or files[0]["url"]
    try:
        path = await run_in_threadpool(_keep_file, app, address)
    except FetchBusyError as error:
        raise HTTPException(503, sentence(error)) from error
    except VisimError as error:
        raise HTTPException(422, [_reason(sentence(error))]) from error  # type: ignore[arg-type]
    files[0].clear()
    files[0].update(path=path, meta={"_type": "gradio.FileData"})
    return True


def _reason(message: str) -> dict[str, Any]:
    """Return a reason why an input is refused, in the form that Gradio's clients show."""
    return {"__type__": "validate", "is_valid": False, "parameter_name": "image", "message": message}


def _keep_file(app: Any, address: str) -> str:
    with FETCHES.slot():
        content = fetch(address)
    path = Path(app.uploaded_file_dir) / hashlib.sha256(content).hexdigest() / "picture"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    app.get_blocks().upload_file_set.add(str(path))  # as an upload: deleted after a while
    return str(path)


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "The body of the request is not JSON, or is nested too deeply.") from error


def _limited(receive: Receive, limit: int) -> Receive:
    """Receive a body up to so many bytes; beyond it, the request is refused."""
    received = 0

    async def limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise HTTPException(413, f"The request is too large: its body may have {limit:,} bytes.")
        return message

    return limited


async def _read(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Give out a body that was read already, and after it the messages that follow."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


def refuse_wrong_inputs(page: gr.Blocks) -> None:
    """Check the inputs of every function of a page, however it is called.

    Gradio takes a file from the web itself, without a limit, and for a picture it takes any path of the machine if the
    input lacks the key "meta" (`Blocks.preprocess_data`, `async_move_files_to_cache`, `ImageData`).

    Args:
        page: the finished page; its functions then take files only from its own folders.
    """
    preprocess = page.preprocess_data

    async def checked(
        block_fn: BlockFunction, inputs: list[Any], state: SessionState | None, explicit_call: bool = False
    ) -> list[Any]:
        try:
            inputs = _completed(block_fn, inputs)
            for file in _file_objects(inputs):
                _check_file(page, file)
            found: list[Any] = await preprocess(block_fn, inputs, state, explicit_call)
        except gr.Error as error:
            raise gr.Error(error.message, print_exception=False) from error
        except Exception as error:
            # Its message may hold the name of a visitor's file, which the log must not keep.
            _log.info("%s: inputs refused (%s)", block_fn.name, type(error).__name__)
            raise gr.Error(_MISFIT, print_exception=False) from error
        return found

    page.preprocess_data = checked  # type: ignore[method-assign]


def _completed(function: BlockFunction, inputs: list[Any]) -> list[Any]:
    """Add the defaults of the inputs that a program left out at the end."""
    if function.api_visibility != "public" or function.fn is None or not inputs:
        return inputs
    return [*inputs, *(each.default for each in list(signature(function.fn).parameters.values())[len(inputs) :])]


def _check_file(page: gr.Blocks, file: dict[str, Any]) -> None:
    path = file.get("path")
    if _is_remote(path):
        raise gr.Error("A picture by address is fetched before the query: send it through the demo's own server.")
    if isinstance(path, str) and path and not is_in_or_equal(path, page.GRADIO_CACHE) and not is_static_file(path):
        raise gr.Error("The file was not uploaded to this demo: upload it first, at /gradio_api/upload.")


def _file_objects(value: Any) -> Iterator[dict[str, Any]]:
    """Find the JSON objects that name a file by a "path" or a "url", at any depth."""
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            if isinstance(found.get("path"), str) or isinstance(found.get("url"), str):
                yield found
            waiting += found.values()
        elif isinstance(found, list):
            waiting += found


def _is_remote(address: object) -> bool:
    """Say whether a path or address is one that Gradio would download."""
    return isinstance(address, str) and address.startswith(("http://", "https://"))


class Preview:
    """ASGI middleware that puts the page's own tags in the place of Gradio's.

    Args:
        app: the routes behind it.
        heading: of the page.
        root_path: path, or whole address, under which a proxy shows the page.
    """

    def __init__(self, app: ASGIApp, *, heading: Heading = USUAL_HEADING, root_path: str = "") -> None:
        self._app, self._heading, self._root = app, heading, root_path.rstrip("/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; the page itself with other tags."""
        path = scope["path"].removeprefix(scope.get("root_path", "")) if scope["type"] == "http" else ""
        if scope["type"] != "http" or scope["method"] != "GET" or path not in ("", "/"):
            await self._app(scope, receive, send)
            return
        start: Message = {}
        body = bytearray()

        async def changed(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            body.extend(message.get("body", b""))
            if message.get("more_body"):
                return
            headers = MutableHeaders(raw=start["headers"])
            content = bytes(body)
            if headers.get("content-type", "").startswith("text/html"):
                content = self._changed(content, Headers(scope=scope), scope)
                headers["content-length"] = str(len(content))
            await send(start)
            await send({"type": "http.response.body", "body": content})

        await self._app(scope, receive, changed)

    def _changed(self, page: bytes, headers: Headers, scope: Scope) -> bytes:
        scheme = headers.get("x-forwarded-proto", scope.get("scheme", "http")).split(",")[0].strip()
        host = headers.get("x-forwarded-host", headers.get("host", "")).split(",")[0].strip()
        is_whole = self._root.startswith(("http://", "https://"))
        root = self._root or scope.get("root_path", "").rstrip("/")  # of a page that is mounted in another app
        address = f"{self._root}/" if is_whole else f"{scheme}://{host}{root}/"
        values = {
            "og:type": "website",
            "og:title": self._heading.title,
            "og:description": " ".join(self._heading.description.split()),
            "og:image": f"{address}{PREVIEW_PICTURE}",
            "og:url": address,
        }
        tags = "".join(f'<meta property="{name}" content="{escape(value)}" />' for name, value in values.items())
        tags += '<meta name="twitter:card" content="summary_large_image" />'
        return _GRADIO_TAGS.sub(b"", page).replace(b"<head>", b"<head>" + tags.encode(), 1)
