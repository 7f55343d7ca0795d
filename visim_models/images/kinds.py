"""Tell what a file is by its first bytes, and name the kinds that visim does not read, with the way out."""

import importlib.util
import re
import struct
from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

__all__ = [
    "HEAD_BYTES",
    "PARTLY_LOST",
    "PICTURES",
    "TOO_LARGE",
    "Kind",
    "RefusedError",
    "kind_named",
    "kind_of",
    "may_be_whole",
    "not_read",
    "raw_kind",
    "unread_summary",
]

HEAD_BYTES: Final = 512
"""So many bytes of a file are enough to tell its kind."""

PICTURES: Final = "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC"

TOO_LARGE: Final = "is too large"
"""What an error says of a picture that is beyond a limit of size, and may be a good one."""

PARTLY_LOST: Final = "has lost a part of its pixels"
"""What an error says of a damaged picture of which the rest can be seen."""

_NOT_READ: Final = "a kind of file that visim does not read"
_UNREAD: Final = re.compile(rf"is ([\w ]+), {_NOT_READ}")
_NEEDS_HEIF: Final = (
    "Install the extra: pip install 'visim-models[heif]'. Or let the iPhone write JPEG: Settings, Camera, Formats, "
    "Most Compatible."
)
_EXPORT: Final = "Export it as JPEG or PNG."
_RAW: Final = "Develop it, or export its preview, as JPEG."
_FILM: Final = "Save one frame of it as JPEG or PNG."


class RefusedError(ValueError):
    """Refuse a file; the message completes the sentence that starts with the file's name."""


class Kind(NamedTuple):
    """Name a kind of file.

    Attributes:
        name: As people call it.
        way_out: What to do with a file that visim does not read; "" where it reads the kind.
    """

    name: str
    way_out: str = ""


def _signature(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(pattern, re.DOTALL)


_BY_SIGNATURE: Final = [
    (_signature(pattern), Kind(name, way_out))
    for pattern, name, way_out in (
        (rb"\xff\xd8\xff", "JPEG", ""),
        (rb"\x89PNG\r\n\x1a\n", "PNG", ""),
        (rb"RIFF.{4}WEBP", "WebP", ""),
        (rb"GIF8[79]a", "GIF", ""),
        (rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", "BMP", ""),
        (rb"II\*\0.{4}CR", "CR2", _RAW),
        (rb"II\x1a\0.{4}HEAPCCDR", "CRW", _RAW),
        (rb"IIR[OS]|MMOR", "ORF", _RAW),
        (rb"IIU\0", "RW2", _RAW),
        (rb"FUJIFILMCCD-RAW", "RAF", _RAW),
        (rb"\0MRM", "MRW", _RAW),
        (rb"FOVb", "X3F", _RAW),
        (rb"II\*\0|MM\0\*|II\+\0|MM\0\+", "TIFF", ""),
        (rb"II\xbc\x01", "JPEG XR", _EXPORT),
        (rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL", _EXPORT),
        (rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000", _EXPORT),
        (rb"8BPS", "PSD", _EXPORT),
        (rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?((<!--.*?-->|<!DOCTYPE[^>]*>)\s*)*<svg[\s>]", "SVG", _EXPORT),
        (rb"gimp xcf", "XCF", _EXPORT),
        (rb"\x76\x2f\x31\x01", "OpenEXR", _EXPORT),
        (rb"#\?RADIANCE|#\?RGBE", "Radiance HDR", _EXPORT),
        (rb"\0\0\x01\0[\x01-\xff]\0", "ICO", _EXPORT),
        (rb"P[1-7]\s", "PNM", _EXPORT),
        (rb"DDS ", "DDS", _EXPORT),
        (rb"qoif", "QOI", _EXPORT),
        (rb"\xd7\xcd\xc6\x9a", "WMF", _EXPORT),
        (rb"\x8aMNG|\x8bJNG", "MNG", _EXPORT),
        (rb"SIMPLE {2}= ", "FITS", _EXPORT),
        (rb".{128}DICM", "DICOM", _EXPORT),
        (rb"%!PS|\xc5\xd0\xd3\xc6", "PostScript", _EXPORT),
        (rb"%PDF", "PDF", _EXPORT),
        (rb".{4}(moov|mdat|wide|pnot|skip)", "MOV", _FILM),
        (rb"RIFF.{4}AVI\x20", "AVI", _FILM),
        (rb"\x1aE\xdf\xa3", "Matroska or WebM film", _FILM),
    )
]
_HEIC_BRANDS: Final = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_AVIF_BRANDS: Final = {b"avif", b"avis"}
_RAW_MAKERS: Final = {
    "NIKON": "NEF",
    "SONY": "ARW",
    "PENTAX": "PEF",
    "RICOH": "PEF",
    "SAMSUNG": "SRW",
    "HASSELBLAD": "3FR",
}
_WAYS_OUT: Final = {"MP4": _FILM, **dict.fromkeys([*_RAW_MAKERS.values(), "CR3", "DNG", "camera raw"], _RAW)}


def kind_of(head: bytes) -> Kind | None:
    """Return the kind of a file, or None where its first bytes are of no kind that is known here.

    Args:
        head: The first `HEAD_BYTES` bytes of the file, or all of a shorter one.
    """
    if head[4:8] == b"ftyp":
        return _kind_of_media(head)
    return next((kind for signature, kind in _BY_SIGNATURE if signature.match(head[:HEAD_BYTES])), None)


def _kind_of_media(head: bytes) -> Kind:
    """Return the kind of a file of ISO base media, by its brands (ISO/IEC 14496-12, section 4.3)."""
    (size,) = struct.unpack_from(">L", head)
    major = head[8:12]
    brands = {major} | {head[at : at + 4] for at in range(16, min(size, len(head)) - 3, 4)}
    if major in _AVIF_BRANDS or (major in (b"mif1", b"msf1", b"miaf") and brands & _AVIF_BRANDS):
        return Kind("AVIF")
    if brands & _HEIC_BRANDS or major in (b"mif1", b"msf1"):
        return Kind("HEIC", "" if importlib.util.find_spec("pillow_heif") else _NEEDS_HEIF)
    if major == b"crx ":
        return Kind("CR3", _RAW)
    return Kind("MOV" if major == b"qt  " else "MP4", _FILM)


def raw_kind(make: str, *, is_dng: bool) -> Kind:
    """Return the kind of camera raw that a TIFF is, by the maker that it states."""
    if is_dng:
        return Kind("DNG", _RAW)
    return Kind(next((kind for maker, kind in _RAW_MAKERS.items() if maker in make.upper()), "camera raw"), _RAW)


def kind_named(name: str) -> Kind:
    """Return the kind of a name that visim does not read, such as "CR2", with its way out."""
    return next((kind for _, kind in _BY_SIGNATURE if kind.name == name), Kind(name, _WAYS_OUT.get(name, _EXPORT)))


def not_read(kind: Kind) -> str:
    """Return the reason why a file of this kind is not read, which completes a sentence that starts with its name."""
    return f"is {kind.name}, {_NOT_READ}. {kind.way_out}"


def may_be_whole(reason: str) -> bool:
    """Return whether the reason why a file was not decoded leaves open that a person can see something in it.

    Such a file is of a kind that visim does not read, is beyond a limit, or has lost a part alone: it is never proposed
    for removal.
    """
    return any(text in reason for text in (_NOT_READ, TOO_LARGE, PARTLY_LOST, "more than the limit", "visim-models["))


def unread_summary(reasons: Iterable[str]) -> str:
    """Return one line that counts the files of kinds that visim does not read, such as "3 files ...: 2 HEIC, 1 CR2".

    Args:
        reasons: Why each file was left out, as `not_read` words it; other reasons are not counted.

    Returns:
        The line, or "" where there is no such file.
    """
    counts = Counter(found[1] for reason in reasons if (found := _UNREAD.search(reason)))
    if not counts:
        return ""
    kinds = ", ".join(f"{count:,} {name}" for name, count in counts.most_common())
    number = counts.total()
    return f"{number:,} {'file' if number == 1 else 'files'} of kinds that visim does not read: {kinds}"
