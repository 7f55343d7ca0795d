"""The form of a card, README.md: what every card says, and the mark by which one that nobody has edited is known."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from huggingface_hub import CardData, ModelCard, ModelCardData

__all__ = [
    "ADDRESS",
    "LIBRARY_NAME",
    "escaped",
    "is_edited",
    "is_marked",
    "mark_card",
    "markdown_table",
    "model_card",
    "with_licence_of",
]

ADDRESS: Final = "ADDRESS"
"""Stands in the command that installs the library where the address of visim's repository is not given."""
LIBRARY_NAME: Final = "visim-models"

_TAGS: Final = ("visim", "visual-similarity", "image-retrieval")
_LICENCE_KEYS: Final = ("license", "license_name", "license_link")
_OF_A_NEW_SPACE: Final = "Check out the configuration reference at"
_MARK: Final = "<!-- visim wrote this card and replaces it unless it is edited: {} -->"
_USE: Final = """\
## Use

The library `visim-models` is installed from a checkout of visim, or from the address of its repository:

```sh
pip install {package}  # the folder of the checkout
pip install git+{address}
```

```python
from visim_models import VisualSimilarity

similarity = VisualSimilarity.from_pretrained("namespace/{name}")  # or the path of a folder with these files
result = similarity.search("photo.jpg", top_k=4)
print(result.matches, result.ood)
```"""


def model_card(
    *,
    name: str,
    introduction: Sequence[str],
    sections: Sequence[str],
    address: str = ADDRESS,
    extra: str = "",
    tags: Sequence[str] = (),
    **metadata: Any,
) -> str:
    """Write the card of a repo that can be searched: metadata, introduction, how it is used, further sections.

    Args:
        name: of the repo, as it is used on the Hub.
        introduction: paragraphs, the heading first.
        sections: what follows; empty texts are left out.
        address: of visim's repository, for the command that installs the library.
        extra: of the library, which the network needs; "" for none.
        tags: beside visim's own.
        metadata: further keys of `huggingface_hub.ModelCardData`.
    """
    front = ModelCardData(
        library_name=LIBRARY_NAME, pipeline_tag="image-feature-extraction", tags=[*_TAGS, *tags], **metadata
    )
    use = _USE.format(name=name, address=address, package=f"'./visim[{extra}]'" if extra else "./visim")
    parts = [f"---\n{front.to_yaml()}\n---", *introduction, use, *sections]
    return "\n\n".join(part for part in parts if part) + "\n"


def mark_card(text: str) -> str:
    """Return a card with its mark in the last line."""
    return f"{text}\n{_MARK.format(hashlib.sha256(text.encode()).hexdigest())}\n"


def is_marked(card: str) -> bool:
    """Return whether visim wrote a card and nobody has edited it since."""
    text, newline, mark = card.replace("\r\n", "\n").rstrip("\n").rpartition("\n")  # as Git for Windows ends lines
    return bool(newline) and mark == _MARK.format(hashlib.sha256(text.encode()).hexdigest())


def is_edited(card: str) -> bool:
    """Return whether a person wrote or edited a card; the Hub's website makes one of metadata alone, which is none."""
    body = ModelCard(card, ignore_metadata_errors=True).text.strip()
    return not is_marked(card) and bool(body) and not (body.startswith(_OF_A_NEW_SPACE) and "\n" not in body)


def with_licence_of(card: str, other: str) -> str:
    """Return a card with the licence that another one states, where it states none itself."""
    own, theirs = (ModelCard(text, ignore_metadata_errors=True).data for text in (card, other))
    stated = {key: value for key in _LICENCE_KEYS if (value := theirs.get(key))}
    if not stated or own.get("license") or not card.startswith("---\n"):
        return card
    text = card.rpartition("\n<!--")[0] if (was_marked := is_marked(card)) else card
    text = text.replace("---\n", f"---\n{CardData(**stated).to_yaml()}\n", 1)
    return mark_card(text) if was_marked else text


def escaped(text: str) -> str:
    """Escape a text that a repo's owner wrote for one line of Markdown."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", " ".join(text.split()))


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
