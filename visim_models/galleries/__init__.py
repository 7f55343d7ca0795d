"""Build a gallery of pictures: pictures -> embeddings -> calibrated detector -> repo folder.

`build` makes a repo folder of pictures, `update` changes it, `embed_gallery` gives the same in memory. Only new or
changed pictures are embedded, found by content; a killed build goes on where it stopped.
"""

from visim_models.galleries.built_gallery import BuiltGallery
from visim_models.galleries.description import Description
from visim_models.galleries.metadata_table import MetadataTable
from visim_models.galleries.new_gallery import DEFAULT_MODEL, build, embed_gallery
from visim_models.galleries.report import BuildReport
from visim_models.galleries.skipped import Skipped
from visim_models.galleries.update import update

__all__ = [
    "DEFAULT_MODEL",
    "BuildReport",
    "BuiltGallery",
    "Description",
    "MetadataTable",
    "Skipped",
    "build",
    "embed_gallery",
    "update",
]
