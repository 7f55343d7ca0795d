"""Use the demo's endpoints by plain HTTP, so lightly that fifty visitors run beside the demo itself."""

import json
from dataclasses import dataclass, field
from typing import Any, Self

import httpx

__all__ = ["RefusedError", "Visitor"]

_API = "gradio_api"


class RefusedError(Exception):
    """The demo answered a query with an error; the message is the demo's."""


@dataclass
class Visitor:
    """One visitor, with a connection of its own.

    Args:
        url: of the demo, with a slash at the end.
        timeout: longest wait for an answer, in seconds.
    """

    url: str
    timeout: float = 60.0
    _client: httpx.Client = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Over plain http there is nothing to verify, and loading the authorities takes longer than a query.
        self._client = httpx.Client(base_url=self.url, timeout=self.timeout, verify=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def search(self, picture: bytes, *, tab: str, top_k: int = 4) -> dict[str, Any]:
        """Upload a picture, search with it, and return the answer of `/search_<tab>`.

        Args:
            picture: the bytes of its file.
            tab: the tab to search in.
            top_k: how many matches to ask for.

        Raises:
            RefusedError: the demo refuses the upload or the query.
            httpx.HTTPError: it does not answer as a server does.
        """
        upload = self._client.post(f"{_API}/upload", files={"files": ("picture", picture)})
        if upload.status_code != 200:
            raise RefusedError(upload.text)
        file = {"path": upload.json()[0], "meta": {"_type": "gradio.FileData"}}
        call = self._client.post(f"{_API}/call/search_{tab}", json={"data": [file, top_k]})
        if call.status_code != 200:
            raise RefusedError(call.text)
        return self._result(f"{_API}/call/search_{tab}/{call.json()['event_id']}")

    def _result(self, path: str) -> dict[str, Any]:
        """Follow the server-sent events of a query to the answer."""
        event = ""
        with self._client.stream("GET", path) as stream:
            for line in stream.iter_lines():
                name, _, value = line.partition(": ")
                if name == "event":
                    event = value
                elif name == "data" and event == "complete":
                    answer: dict[str, Any] = json.loads(value)[0]
                    return answer
                elif name == "data" and event == "error":
                    raise RefusedError(value)
        raise RefusedError("the demo ended its answer without a result")
