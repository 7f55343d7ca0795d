"""Why two pictures match: colour on the parts of each that make them alike, on a scale that unrelated pictures fix."""

from dataclasses import dataclass
from html import escape

from PIL import Image

from demo.collection import Collection
from demo.copies import Found
from demo.highlight import highlighted, legend
from demo.search import Search
from demo.texts import say
from visim_models.agreement import relative_agreement_map

__all__ = ["Why", "explain_match"]


@dataclass(frozen=True)
class Why:
    """The reasons of a match.

    Attributes:
        of_query: the upload with colour where it is like the match; None where no part stands out.
        of_found: the match likewise; None also where its tile is no photograph.
        is_photo: the tile is a photograph.
    """

    of_query: Image.Image | None
    of_found: Image.Image | None
    is_photo: bool

    def to_html(self, *, data: str = "") -> str:
        """Write the text above the pictures.

        Args:
            data: attributes of the text, as HTML.
        """
        said = [say("why_how")]
        if not self.of_query and not self.of_found:
            said = [say("why_nothing")]
        if not self.is_photo:
            said.append(say("why_not_photo"))
        text = "".join(f"<p>{escape(sentence)}</p>" for sentence in said)
        scale = legend() if self.of_query or self.of_found else ""
        return f'<div class="visim-why" tabindex="-1"{data}><h3>{escape(say("why_head"))}</h3>{text}{scale}</div>'


def explain_match(collection: Collection, search: Search, found: Found, query: Image.Image) -> Why:
    """Find the parts of the query, and of a match that was found, that make them alike.

    Raises:
        VisimError: the gallery has no such picture.
    """
    similarity, match = collection.ways[search.way], found.match
    embedding = similarity.gallery.embeddings[similarity.gallery.index_of(match.file_name)]
    of_query = highlighted(query, relative_agreement_map(similarity, query, embedding, label=match.label))
    of_found = None
    if found.tile.is_photo:
        with Image.open(found.tile.path) as tile:
            picture = tile.convert("RGB")
        heat = relative_agreement_map(similarity, picture, search.embedding, label=match.label)
        of_found = highlighted(picture, heat)
    return Why(of_query, of_found, found.tile.is_photo)
