#!/bin/bash
# Pillow 12.3.0: `Image.transform(..., AFFINE, ..., BILINEAR)` cuts off the fraction of an interpolated level, where
# `Image.resize(..., BILINEAR)` rounds it: half a level darker on average, over a whole picture.
# Output:
#     two pixels of levels 0 and 3, four made between them
#     resize    [0, 1, 2, 3]
#     transform [0, 0, 2, 3]
# (the exact values are 0, 0.75, 2.25 and 3). Exits with 0 while that is so, with 1 once it changes.
set -e
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pillow==12.3.0
"$folder/venv/bin/python" - <<'P'
import sys

from PIL import Image

picture = Image.new("L", (2, 1))
picture.putpixel((1, 0), 3)
resized = [picture.resize((4, 1), Image.Resampling.BILINEAR).getpixel((x, 0)) for x in range(4)]
affine = picture.transform((4, 1), Image.Transform.AFFINE, (0.5, 0, 0, 0, 1, 0), Image.Resampling.BILINEAR)
transformed = [affine.getpixel((x, 0)) for x in range(4)]
print("two pixels of levels 0 and 3, four made between them")
print("resize   ", resized)
print("transform", transformed)
sys.exit([resized, transformed] != [[0, 1, 2, 3], [0, 0, 2, 3]])
P
