"""Inputs that a visitor's side may send, and the page never would: refused with one message, without a traceback."""

import logging
from collections.abc import Iterator
from typing import Any

import gradio as gr
from gradio.block_function import BlockFunction
from gradio.state_holder import SessionState
from gradio.utils import is_in_or_equal, is_static_file

from visim_models import QueryError

__all__ = ["file_objects", "is_remote", "read_index", "read_label", "read_top_k", "refuse_wrong_inputs"]

_log = logging.getLogger(__name__)

_MISFIT = "The inputs do not fit this function: send those that /gradio_api/info lists."


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
            for file in file_objects(inputs):
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


def file_objects(value: Any) -> Iterator[dict[str, Any]]:
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


def is_remote(address: object) -> bool:
    """Say whether a path or address is one that Gradio would download."""
    return isinstance(address, str) and address.startswith(("http://", "https://"))


def read_top_k(value: object, *, most: int) -> int:
    """Return the number of matches that a visitor asks for.

    Args:
        value: an input as it came, of any JSON type.
        most: the largest number that may be asked for.

    Raises:
        QueryError: it is not a whole number from 1 to `most`.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= most or value != int(value):
        raise QueryError(f"the number of matches, top_k, must be a whole number from 1 to {most}.", key="top_k")
    return int(value)


def read_label(value: object) -> str:
    """Return the label that a visitor asks for; "" for any.

    Raises:
        QueryError: it is no text.
    """
    if not isinstance(value, str | None):
        raise QueryError("the label must be a text: choose one of the list.", key="label")
    return value or ""


def read_index(event: gr.EventData) -> int:
    """Return the index of the tile that a visitor chose.

    Raises:
        QueryError: the event names none.
    """
    try:
        index = event.index
    except (AttributeError, TypeError):
        index = None
    if isinstance(index, bool) or not isinstance(index, int) or index < 0:
        raise QueryError("no tile was chosen: the event must hold the index of one.", key="index")
    return index


def _check_file(page: gr.Blocks, file: dict[str, Any]) -> None:
    path = file.get("path")
    if is_remote(path):
        raise gr.Error("A picture by address is fetched before the query: send it through the demo's own server.")
    if isinstance(path, str) and path and not is_in_or_equal(path, page.GRADIO_CACHE) and not is_static_file(path):
        raise gr.Error("The file was not uploaded to this demo: upload it first, at /gradio_api/upload.")
