"""Build a gallery of pictures: pictures -> embeddings -> calibrated detector -> repo folder.

`build` makes a repo folder of pictures, `update` changes it, `embed_gallery` gives the same in memory. Only new or
changed pictures are embedded, found by content; a killed build goes on where it stopped.
"""

from visim_models.galleries.building import DEFAULT_MODEL, build, embed_gallery, update
from visim_models.galleries.built_gallery import BuildReport, BuiltGallery
from visim_models.galleries.description import Description, MetadataTable
from visim_models.galleries.sources import Skipped
from visim_models.galleries.vectors import EngineOptions, build_of_vectors, export_gallery

__all__ = [
    "DEFAULT_MODEL",
    "BuildReport",
    "BuiltGallery",
    "Description",
    "EngineOptions",
    "MetadataTable",
    "Skipped",
    "build",
    "build_of_vectors",
    "embed_gallery",
    "export_gallery",
    "update",
]
