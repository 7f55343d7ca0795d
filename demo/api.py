"""The endpoints for programs: `/search_cifar10` and `/search_cars`, each (image, top_k) -> JSON."""

from dataclasses import asdict
from typing import Any

import gradio as gr

from demo.collection import Collection
from demo.search import Search, search_picture
from demo.upload import open_upload, picture_input, sentence
from visim_models import ImageDecodeError, VisimError

__all__ = ["MAX_TOP_K", "add_endpoint", "to_json"]

MAX_TOP_K = 100

_RETURNS = (
    "matches: nearest first, each with file_name, label, score (cosine similarity, -1 to 1) and percent; and ood, "
    "whether the picture looks like none of the {many} at all: is_ood, score (higher is stranger), p_value, and the "
    "false_alarm_rate that the verdict was set for."
)


def add_endpoint(collection: Collection) -> None:
    """Adds `/search_<key>` to the `gr.Blocks` that is being built; it has no place on the page."""

    def search(image: str | bytes | None, top_k: float | None = 4) -> dict[str, Any]:
        try:
            if image is None:
                raise ImageDecodeError("no picture was given: send one as image.")
            if top_k is None or not 1 <= top_k <= MAX_TOP_K or top_k != int(top_k):
                raise gr.Error(f"top_k must be a whole number from 1 to {MAX_TOP_K}.", print_exception=False)
            found = search_picture(collection, open_upload(image), way=collection.default_way, top_k=int(top_k))
        except VisimError as error:
            raise gr.Error(sentence(error), print_exception=False) from error
        return to_json(found)

    # The page's list of endpoints and the tools of MCP show the name and the docstring, joining its lines.
    search.__name__ = f"search_{collection.key}"
    search.__doc__ = f"""Find the pictures of the gallery of {collection.many} that look most like a picture.

    Args:
        image: the picture: JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF.
        top_k: how many to find, 1 to {MAX_TOP_K}.

    Returns:
        {_RETURNS.format(many=collection.many)}
    """
    with gr.Row(visible=False):
        image = picture_input(label="image")
        top_k = gr.Number(4, label="top_k")
        result = gr.JSON(label="result")
        gr.Button().click(search, [image, top_k], result, api_name=f"search_{collection.key}")


def to_json(search: Search) -> dict[str, Any]:
    """A search as the endpoints give it."""
    if search.verdict is None:
        raise ValueError("a search with an upload has a verdict")
    matches = [{**asdict(match), "percent": match.percent} for match in search.matches]
    verdict = {key: value for key, value in asdict(search.verdict).items() if key != "calibration_size"}
    return {"matches": matches, "ood": verdict}
