"""Choose the reader of an image root."""

import stat
import zipfile
from pathlib import Path
from typing import Final

from visim_models.errors import ImageSourceError
from visim_models.sources.address_list import AddressListReader
from visim_models.sources.bucket import S3, BucketReader
from visim_models.sources.readers import FolderReader, Reader, WebReader, ZipReader

__all__ = ["open_reader"]

_LIST: Final = ".txt"
_ZIP: Final = ".zip"


def open_reader(root: str, *, trusted: bool) -> Reader:
    """Open an image root: a folder, a zip, a list of addresses, or an http(s), hf:// or s3:// address.

    Args:
        root: the image root.
        trusted: the person who runs this named it; without that, only web addresses and the Hub are read.

    Raises:
        ImageSourceError: `root` is none of these, cannot be opened, or is not trusted enough.
        MissingExtraError: a bucket needs pyarrow.
    """
    is_bucket = root.startswith(S3)
    if "://" in root and not is_bucket:
        return WebReader(root, trusted=trusted)
    if not trusted:
        where = "is read with your own keys" if is_bucket else "is on this machine"
        raise ImageSourceError(f"The image root {root!r} {where}: name it with --images to allow that.", path=root)
    return BucketReader(root) if is_bucket else _open_local(root)


def _open_local(root: str) -> Reader:
    path = Path(root)
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        if isinstance(error, PermissionError):
            raise ImageSourceError(
                f"The image root {root!r} may not be opened: check its permissions.", path=root
            ) from error
        raise _unknown(root) from error
    if stat.S_ISDIR(status.st_mode):
        return FolderReader(path)
    if stat.S_ISREG(status.st_mode):
        if path.suffix.lower() == _LIST:
            return AddressListReader(path)
        if path.suffix.lower() == _ZIP or zipfile.is_zipfile(path):
            return ZipReader(path)
    raise _unknown(root)


def _unknown(root: str) -> ImageSourceError:
    return ImageSourceError(
        f"No pictures at {root!r}: it is neither a folder, a zip, a list of addresses (.txt), nor an address.",
        path=root,
    )
