"""Thumbnails of a gallery's pictures, where they are on this machine."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from visim_models.cleaning.alignment import THUMBNAIL
from visim_models.errors import ImageSourceError, VisimError
from visim_models.gallery import Gallery
from visim_models.images.decode import decode_image
from visim_models.images.decode_ahead import decode_ahead
from visim_models.sources.store import ImageStore

__all__ = ["local_thumbnails", "thumbnail_of"]

_AT_ONCE = 256


def local_thumbnails(gallery: Gallery, *, progress: bool = False) -> Tensor | None:
    """Return the thumbnails of a gallery's pictures; None where they are not in a folder or zip on this machine.

    Nothing is fetched. The files are decoded as all untrusted pictures are; one that is missing gets a black thumbnail,
    which is like no other.

    Args:
        gallery: N pictures.
        progress: show a progress bar.

    Returns:
        (N, 3, 32, 32) uint8, or None.
    """
    if not gallery.image_root or "://" in gallery.image_root:
        return None
    try:
        store = ImageStore(gallery.image_root)
        if store.is_remote:  # a list of addresses
            return None
        store.read(gallery.file_names[0])
    except ImageSourceError:
        return None

    def decode(name: str) -> Tensor:
        return thumbnail_of(decode_image(store.read(name)))

    found = []
    with tqdm(total=len(gallery), desc="looking", unit="picture", disable=not progress) as bar:
        for batch in decode_ahead(gallery.file_names, decode, at_once=_AT_ONCE):
            found += [
                torch.zeros(3, THUMBNAIL, THUMBNAIL, dtype=torch.uint8) if isinstance(result, VisimError) else result
                for _, result in batch
            ]
            bar.update(len(batch))
    return torch.stack(found)


def thumbnail_of(image: Image.Image) -> Tensor:
    """Reduce an RGB picture to (3, 32, 32) uint8, its sides scaled apart."""
    small = np.array(image.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX, reducing_gap=2.0))  # (32, 32, 3)
    return torch.from_numpy(small).permute(2, 0, 1).contiguous()
