"""Search for the nearest embeddings: exact, in memory; or in an engine on this machine or others."""

from visim_models.search.exact import ExactIndex, PictureTexts, SearchIndex

__all__ = ["ExactIndex", "PictureTexts", "SearchIndex"]
