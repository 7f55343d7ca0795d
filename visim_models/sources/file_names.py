"""Tell by its name whether a file is a picture, whether it is one of the user's, and whether its name can be used.

Names come from files that anyone may have written.
"""

import fnmatch
import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Final

from visim_models.errors import ImageSourceError

__all__ = ["Choice", "check_file_name", "is_picture_name", "other_kind", "shown_name"]

_PICTURE_SUFFIXES: Final = {
    ".apng", ".avif", ".bmp", ".dib", ".gif", ".heic", ".heics", ".heif", ".hif", ".jfif", ".jif", ".jpe", ".jpeg",
    ".jpg", ".mpo", ".pjp", ".pjpeg", ".png", ".tif", ".tiff", ".webp",
}  # fmt: skip

_OTHER_KINDS: Final = {
    suffix: kind
    for kind, suffixes in {
        "CR2": ".cr2",
        "CR3": ".cr3",
        "CRW": ".crw",
        "NEF": ".nef .nrw",
        "ARW": ".arw .sr2 .srf",
        "DNG": ".dng",
        "ORF": ".orf .ori",
        "RW2": ".rw2",
        "RAF": ".raf",
        "PEF": ".pef",
        "SRW": ".srw",
        "X3F": ".x3f",
        "camera raw": ".3fr .dcr .erf .fff .iiq .kdc .mef .mos .mrw .rwl",
        "JPEG XL": ".jxl",
        "JPEG 2000": ".jp2 .j2k .j2c .jpc .jpf .jpx",
        "JPEG XR": ".jxr .wdp .hdp",
        "PSD": ".psd .psb",
        "SVG": ".svg .svgz",
        "XCF": ".xcf",
        "OpenEXR": ".exr",
        "Radiance HDR": ".hdr",
        "ICO": ".ico .cur",
        "PNM": ".pbm .pgm .ppm .pnm .pfm",
        "TGA": ".tga",
        "DDS": ".dds",
        "QOI": ".qoi",
        "DICOM": ".dcm",
        "FITS": ".fits",
        "PostScript": ".ai .eps",
        "MOV": ".mov",
        "MP4": ".mp4 .m4v .3gp",
        "AVI": ".avi",
        "Matroska or WebM film": ".mkv .webm",
    }.items()
    for suffix in suffixes.split()
}

# Left where a name has them: separators of lines, and characters that turn around how the rest is read.
_BIDI: Final = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}
_REFUSED_CATEGORIES: Final = ("Cc", "Zl", "Zp", "Cs")
_HIDDEN_CATEGORIES: Final = (*_REFUSED_CATEGORIES, "Cf", "Cn", "Co")
_JOINERS: Final = "\u200c\u200d"

_NOT_THE_USERS: Final = (
    ".*",  # hidden: .thumbnails, .Trash-1000, .git, .stversions, and ._* of macOS beside each file
    "@eaDir",
    "@Recycle",
    "@Recently-Snapshot",
    "#recycle",
    "#snapshot",
    "$RECYCLE.BIN",
    "RECYCLER",
    "System Volume Information",
    "__MACOSX",
    "*.lrdata",
    "lost+found",
)


class Choice:
    """Choose among the files of a source: those of the user, without thumbnails, trash and copies that programs keep.

    Args:
        everything: Take these, too.
        exclude: Patterns of further files and folders to leave out, such as "raw" or "*.png": of a name, or of a path.

    Attributes:
        everything: As given.
        left_out: How many picture files were left out, by the folder or pattern that did it.
    """

    def __init__(self, *, everything: bool = False, exclude: Sequence[str] = ()) -> None:
        self.everything = everything
        self._hidden = () if everything else _NOT_THE_USERS
        self._exclude = tuple(pattern.rstrip("/") for pattern in exclude)
        self.left_out: Counter[str] = Counter()

    def takes(self, path: str) -> bool:
        """Return whether a file is taken, and count it if it is not and is a picture.

        Args:
            path: Relative to the root, with forward slashes.
        """
        reason = self._reason(path)
        if reason is not None:
            self.put_aside(path, reason)
        return reason is None

    def put_aside(self, path: str, reason: str) -> None:
        """Count a file that is left out, if it is a picture."""
        if is_picture_name(path):
            self.left_out[reason] += 1

    def _reason(self, path: str) -> str | None:
        parts = path.split("/")
        for pattern in self._exclude:
            if fnmatch.fnmatchcase(path, pattern) or any(fnmatch.fnmatchcase(part, pattern) for part in parts):
                return pattern
        for part in (part for part in parts if part not in (".", "..")):  # those are refused, with the reason
            for pattern in self._hidden:
                if fnmatch.fnmatchcase(part.lower(), pattern.lower()):
                    return "hidden files" if part == parts[-1] else part
        return None

    def line(self) -> str:
        """Return one line about the pictures that were left out, or "" where there are none."""
        if not self.left_out:
            return ""
        count = self.left_out.total()
        where = ", ".join(shown_name(name) for name, _ in self.left_out.most_common(5))
        more = ", ..." if len(self.left_out) > 5 else ""
        pictures = "picture file" if count == 1 else "picture files"
        return f"{count:,} {pictures} left out that programs or --exclude put aside ({where}{more}): --all takes them"


def check_file_name(name: str) -> None:
    """Refuse a file name that is not a plain relative path with forward slashes.

    Any name that a file system has is taken, with spaces and letters of all kinds, but for control characters, line
    separators, characters that turn the direction of reading, and what is not Unicode.

    Raises:
        ImageSourceError: the name is empty or absolute, leaves its root, or has such a character.
    """
    if fault := _fault_of(name):
        raise ImageSourceError(f"The file name '{shown_name(name)}' {fault}.", path=name)


def _fault_of(name: str) -> str:
    """Return what is wrong with a name; "" if nothing is."""
    parts = name.split("/")
    if {"", ".", ".."} & set(parts):
        return "is empty, absolute or leaves the image root: use a relative path with forward slashes"
    if os.name == "nt" and ("\\" in name or ":" in name):
        return "has a backslash or a colon, which Windows keeps for itself: rename the file"
    if name.isascii() and name.isprintable():
        return ""
    if any("\ud800" <= letter <= "\udfff" for letter in name):
        return "is not UTF-8: rename the file"
    if any(_is_refused(letter) for letter in name):
        return "has a control character, or one that turns the direction of reading: rename the file"
    return ""


def _is_refused(letter: str) -> bool:
    return unicodedata.category(letter) in _REFUSED_CATEGORIES or ord(letter) in _BIDI


def shown_name(name: str) -> str:
    """Return a name for a terminal or a log: what cannot be seen, or moves what stands around it, is escaped."""
    if name.isprintable():
        return name
    return "".join(
        letter
        if letter in _JOINERS or unicodedata.category(letter) not in _HIDDEN_CATEGORIES
        else letter.encode("unicode_escape", "surrogatepass").decode("ascii")
        for letter in name
    )


def is_picture_name(name: str) -> bool:
    """Return whether a name ends like that of a picture file."""
    return PurePosixPath(name).suffix.lower() in _PICTURE_SUFFIXES


def other_kind(name: str) -> str:
    """Return the kind of picture, or of film beside pictures, that a name ends like and visim does not read, or ""."""
    return _OTHER_KINDS.get(PurePosixPath(name).suffix.lower(), "")
