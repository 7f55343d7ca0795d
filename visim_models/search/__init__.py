"""Search for the nearest embeddings: exact, in memory."""

from visim_models.search.exact import ExactIndex

__all__ = ["ExactIndex"]
