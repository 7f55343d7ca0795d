"""The endpoints for programs: `/search_<key>` of each gallery, (image, top_k) -> JSON."""

from abc import ABCMeta
from typing import Any

import gradio as gr

from demo.collection import Collection
from demo.search import QUERIES, Options, Search, read_top_k, search_pictures
from demo.uploads import open_upload, picture_input, sentence
from visim_models import ImageDecodeError, SimilarityResult, VisimError

__all__ = ["MAX_TOP_K", "add_endpoint", "to_json"]

MAX_TOP_K = 100

# Hands the input on as it came: Gradio's own compares it with limits, of whatever type it is. As in `demo.uploads`,
# made without the class statement.
_AnyNumber: type[gr.Number] = ABCMeta.__new__(
    type(gr.Number),
    "AnyNumber",
    (gr.Number,),
    {"preprocess": lambda _, payload: payload, "is_template": True, "__module__": __name__},
)

_RETURNS = (
    "matches: nearest first, each with file_name, label, score (cosine similarity, -1 to 1), percent and columns; and "
    "ood, whether the picture looks like none of them at all: is_ood, can_tell (if false, is_ood says nothing), "
    "score (higher is stranger), p_value, and the false_alarm_rate that the verdict was set for."
)


def add_endpoint(collection: Collection) -> None:
    """Add `/search_<key>` to the `gr.Blocks` that is being built; the page does not show it."""

    def search(image: str | bytes | None, top_k: float = 4) -> dict[str, Any]:
        try:
            if image is None:
                raise ImageDecodeError("no picture was given: send one as image.")
            count = read_top_k(top_k, most=MAX_TOP_K)
            options = Options(way=next(iter(collection.ways)), top_k=count)
            found = search_pictures(collection, [open_upload(image)], options)
        except VisimError as error:
            raise gr.Error(sentence(error), print_exception=False) from error
        return to_json(found)

    # The page's list of endpoints and the tools of MCP show the name and the docstring, joining its lines.
    search.__name__ = f"search_{collection.key}"
    # They hold no text of the gallery, which is anyone's.
    search.__doc__ = f"""Find the pictures of the gallery {collection.key} that look most like a picture.

    Args:
        image: the picture: JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF.
        top_k: how many to find, 1 to {MAX_TOP_K}.

    Returns:
        {_RETURNS}
    """
    with gr.Row(visible=False):
        image = picture_input(label="image")
        top_k = _AnyNumber(4, label="top_k")
        result = gr.JSON(label="result")
        name = f"search_{collection.key}"
        gr.Button().click(search, [image, top_k], result, api_name=name, concurrency_id=QUERIES)


def to_json(search: Search) -> dict[str, Any]:
    """Return a search in the library's one JSON form."""
    if search.verdict is None:
        raise ValueError("a search with an upload has a verdict")
    return SimilarityResult(list(search.matches), search.verdict, search.embedding).to_dict()
