"""The endpoints for programs: to search, embed and classify, by Gradio's queue, as tools of MCP, or by one request."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import gradio as gr
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from demo import uploads
from demo.collection import Collection
from demo.search import MOST_LESS, QUERIES, Options, search_pictures
from visim_models import ImageDecodeError, QueryError, SimilarityResult, VisimError

__all__ = ["MAX_TOP_K", "add_endpoints", "search_route"]

MAX_TOP_K = 100
_WAITING = 64
"""Most requests of `search_route` that wait for each that is worked on."""

# The list of endpoints shows no more of a docstring than its description, so this is a part of it.
_RETURNS = (
    "matches: nearest first, each with file_name, label, score (cosine similarity, -1 to 1), percent, columns, and "
    "probability (share of the matches with this score that have the query's label; null where it was not measured); "
    'ood, whether the picture looks like none of them at all: word ("one of these", "not one of these" or "cannot '
    'tell"), is_ood, can_tell (where it is false, is_ood says nothing), score (higher is stranger), p_value, and the '
    "false_alarm_rate that the verdict was set for; match_probability: the queries that probability was measured on, "
    "and its calibration_error, or null; crop: the box that was searched with, or null."
)
_PICTURE = "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC"
_BOX = "search with this part alone: left, top, right and bottom as shares of width and height, [0, 0, 1, 1] for all"


def add_endpoints(collection: Collection) -> None:
    """Add the endpoints of a gallery to the `gr.Blocks` that is being built; the page does not show them."""
    key, ways = collection.key, ", ".join(collection.ways)

    def search(
        image: str | bytes | None,
        top_k: float = 4,
        label: str = "",
        way: str = "",
        crop: list[float] | None = None,
        images: list[str] | None = None,
        less: list[str] | None = None,
        at_least: float | None = None,
    ) -> dict[str, Any]:
        asked = {"top_k": top_k, "label": label, "way": way, "crop": crop, "less": less, "at_least": at_least}
        return _search(collection, [image, *(images or [])], asked)

    def embed(image: str | bytes | None, way: str = "", crop: list[float] | None = None) -> dict[str, Any]:
        options = Options.read(collection, way=way, label="", top_k=1, most=1)
        similarity = collection.ways[options.way]
        vector = similarity.embed(_open(image, crop)).tolist()
        return {"embedding": vector, "way": options.way, "model_sha256": similarity.gallery.weights_sha256}

    def classify(image: str | bytes | None, crop: list[float] | None = None) -> dict[str, Any]:
        judge = collection.usual_judge
        result = judge.search(_open(image, crop), top_k=1)
        return {"classes": judge.classify_embedding(result.embedding), "ood": result.ood.to_dict()}

    search.__doc__ = f"""Find the pictures of the gallery {key} that look most like a picture.

    The answer: {_RETURNS}

    Args:
        image: the picture: {_PICTURE}.
        top_k: how many to find, 1 to {MAX_TOP_K}.
        label: find pictures with this label alone; "" for any.
        way: how to compare: {ways}; "" for the first.
        crop: {_BOX}.
        images: further pictures: the average of all is searched with, and the verdict is on the strangest; at most
            {uploads.MOST_FILES} with the first.
        less: file names of gallery pictures that the matches shall not be like; at most {MOST_LESS}.
        at_least: least score of a match.
    """
    embed.__doc__ = f"""Embed a picture as the gallery {key} does: pictures that look alike have embeddings alike.

    The answer: embedding, its numbers; way; and model_sha256 of the weights, as only embeddings of one model can be
    compared.

    Args:
        image: the picture: {_PICTURE}.
        way: how to compare: {ways}; "" for the first.
        crop: {_BOX}.
    """
    classify.__doc__ = f"""Give the probability of each label that the classifier of the gallery {key} knows.

    The answer: classes, label to probability, the most probable first; and ood, the verdict: where its word is "not
    one of these", the classes mean little.

    Args:
        image: the picture: {_PICTURE}.
        crop: {_BOX}.
    """
    with gr.Row(visible=False):
        image, top_k, label = (
            uploads.picture_input(label="image"),
            uploads.Number(4, label="top_k"),
            gr.Textbox("", label="label"),
        )
        way, box = uploads.Choice(["", *collection.ways], value="", label="way"), uploads.Numbers(label="crop")
        images, less = uploads.Files(label="images", file_count="multiple"), uploads.Texts(label="less")
        inputs = [image, top_k, label, way, box, images, less, uploads.Number(label="at_least")]
        _add(search, f"search_{key}", inputs)
        _add(embed, f"embed_{key}", [image, way, box])
        if collection.usual_judge.network.class_names:
            _add(classify, f"classify_{key}", [image, box])


def _add(function: Callable[..., dict[str, Any]], name: str, inputs: Sequence[Any]) -> None:
    """Add one endpoint. Its name and docstring are shown, and so hold no text of the gallery, which is anyone's."""

    def answer(*values: Any) -> dict[str, Any]:
        try:
            return function(*values)
        except VisimError as error:
            raise gr.Error(uploads.sentence(error), print_exception=False) from error

    answer.__name__ = name
    answer.__doc__ = function.__doc__
    answer.__wrapped__ = function  # type: ignore[attr-defined]  # its signature has the names and defaults
    gr.Button().click(answer, list(inputs), gr.JSON(label="result"), api_name=name, concurrency_id=QUERIES)


def search_route(collections: Sequence[Collection], *, concurrency: int) -> Route:
    """Make the route that searches by one request: POST /search/<key>?top_k=4 with the file as the body.

    It answers as `/search_<key>` does, without the queue of Gradio, and with a limit of its own.

    Args:
        collections: of the page.
        concurrency: how many queries are worked on at once.
    """
    by_key = {collection.key: collection for collection in collections}
    running, room = asyncio.Semaphore(concurrency), [_WAITING * concurrency]

    async def answer(request: Request) -> Response:
        collection = by_key.get(request.path_params["key"])
        if collection is None:
            return _refusal(404, f"There is no such gallery: choose one of {', '.join(by_key)}.")
        if room[0] <= 0:
            return _refusal(503, "Too many queries wait: try again in some seconds.")
        content = await request.body()
        room[0] -= 1
        try:
            async with running:
                return JSONResponse(await run_in_threadpool(_search, collection, [content], _asked(request)))
        except VisimError as error:
            return _refusal(422, uploads.sentence(error))
        finally:
            room[0] += 1

    return Route("/search/{key}", answer, methods=["POST"])


def _refusal(status: int, text: str) -> Response:
    return JSONResponse({"error": text}, status)


def _asked(request: Request) -> dict[str, Any]:
    """Read the parameters of an address: numbers as numbers, the sides of a box separated by commas."""
    values: dict[str, Any] = dict(request.query_params)
    try:
        values |= {name: float(values[name]) for name in ("top_k", "at_least") if name in values}
        values |= {"crop": [float(side) for side in values["crop"].split(",")]} if "crop" in values else {}
    except ValueError as error:
        raise QueryError("top_k, at_least and the four sides of crop must be numbers.", key="crop") from error
    return {**values, "less": request.query_params.getlist("less")}


def _search(collection: Collection, images: Sequence[str | bytes | None], asked: Mapping[str, Any]) -> dict[str, Any]:
    """Search as a program asks; every value may be of any type.

    Raises:
        VisimError: a value does not fit, or a picture is none.
    """
    options = Options.read(
        collection,
        way=asked.get("way", ""),
        label=asked.get("label", ""),
        top_k=asked.get("top_k", 4),
        most=MAX_TOP_K,
    )
    less, box, least = asked.get("less") or [], asked.get("crop"), asked.get("at_least")
    if not isinstance(less, list) or len(less) > MOST_LESS or not all(isinstance(name, str) for name in less):
        raise QueryError(f"less must be a list of at most {MOST_LESS} file names of the gallery.", key="less")
    if least is not None and type(least) not in (int, float):
        raise QueryError("at_least must be a number: the least score of a match.", key="at_least")
    if len(images) > uploads.MOST_FILES:
        raise QueryError(f"give at most {uploads.MOST_FILES} pictures at once.", key="images")
    opened = (_open(image, box if number == 0 else None) for number, image in enumerate(images))
    found = search_pictures(collection, opened, replace(options, less=tuple(less)))
    if least is not None:
        found = replace(found, matches=[match for match in found.matches if match.score >= least])
    probability = collection.ways[options.way].match_probability
    measured = probability and {"queries": probability.queries, "calibration_error": probability.calibration_error}
    assert found.verdict is not None  # it is of an upload
    result = SimilarityResult(list(found.matches), found.verdict, found.embedding)
    return {**result.to_dict(), "match_probability": measured, "crop": box}


def _open(image: str | bytes | None, box: Any) -> Any:
    if not image:
        raise ImageDecodeError("no picture was given: send one as image.")
    picture = uploads.open_upload(image)
    return picture if box is None else uploads.crop(picture, box)
