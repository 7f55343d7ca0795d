#!/usr/bin/env bash
# Pillow 12.3.0 reads an uncompressed TIFF of 16 bits in separate planes byte by byte: the upper bytes of one row become
# every second pixel, without an error. The same pixels in one plane, or compressed, are right. A colour map of 8-bit
# values (0 to 255, as several programs write) is divided by 256: the picture is black.
#   planes of 16 bits: mean difference 41.1; interleaved: 0.0
#   colour map of 8 bits: largest value 0
# Exits with 1 if that changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check pillow==12.3.0 numpy==2.2.6 tifffile==2025.5.10
"$work/venv/bin/python" - <<'PYTHON'
import io
import sys

import numpy as np
import tifffile
from PIL import Image

y, x = np.mgrid[0:64, 0:96]
right = np.stack([x * 2, y * 3, 255 - x - y], -1).astype(np.uint8)


def shown(samples, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, samples, **options)
    return np.asarray(Image.open(file).convert("RGB")).astype(int)


deep = right.astype(np.uint16) * 257
planes = np.abs(shown(np.moveaxis(deep, -1, 0), photometric="rgb", planarconfig="separate") - right).mean()
together = np.abs(shown(deep, photometric="rgb") - right).mean()
colours = np.arange(256, dtype=np.uint16)[None].repeat(3, 0)
black = shown(right[..., 0], photometric="palette", colormap=colours).max()
print(f"planes of 16 bits: mean difference {planes:.1f}; interleaved: {together:.1f}")
print(f"colour map of 8 bits: largest value {black}")
sys.exit(not (planes > 20 and together == 0 and black == 0))
PYTHON
