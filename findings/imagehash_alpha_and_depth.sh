#!/usr/bin/env bash
# ImageHash 4.3.2 with Pillow 12.3.0: it sees neither transparency nor more than 8 bits.
#
# Every hash begins with image.convert("L") (colorhash with "HSV" and "L" of it). Of a picture with an alpha channel that leaves the colour that is hidden
# under the transparency: all white icons on transparency are one picture, at distance 0. Of a 16-bit grey picture (mode I;16) it cuts
# every value above 255 to 255, without a warning: a copy of an 8-bit picture at full 16-bit depth (times 257) is as far from it as an unrelated
# picture is (about 32 of 64 bits), and one that uses 12 of the 16 bits is nearly as far.
#
# Output:
#   two icons: {'average_hash': 0, 'phash': 0, 'dhash': 0, 'whash': 0, 'colorhash': 0}
#   the same picture times 1, I;16: phash differs: False
#   the same picture times 16, I;16: phash differs: True
#   the same picture times 257, I;16: phash differs: True
#
# Fails if that changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check ImageHash==4.3.2 pillow==12.3.0 numpy==2.4.6 scipy==1.17.0 PyWavelets==1.9.0 2>/dev/null
cat >"$work/see.py" <<'P'
import imagehash
import numpy as np
from PIL import Image, ImageDraw
def icon(box):
    image = Image.new("RGBA", (128, 128), (255, 255, 255, 0))
    ImageDraw.Draw(image).ellipse(box, fill=(255, 255, 255, 255))
    return image
one, other = icon((10, 10, 60, 110)), icon((70, 30, 120, 60))
hashes = ("average_hash", "phash", "dhash", "whash", "colorhash")
print("two icons:", {name: int(getattr(imagehash, name)(one) - getattr(imagehash, name)(other)) for name in hashes})
y, x = np.mgrid[0:64, 0:64]
grey = (127 + 60 * np.sin(x / 7) + 60 * np.cos(y / 5)).astype(np.uint16)
eight = Image.fromarray(grey.astype(np.uint8))
for factor in (1, 16, 257):
    deep = Image.fromarray(grey * np.uint16(factor))
    print(f"the same picture times {factor}, {deep.mode}: phash differs:", imagehash.phash(deep) - imagehash.phash(eight) > 10)
P
cd "$work" && HF_HUB_OFFLINE=1 ./venv/bin/python -W ignore see.py 2>/dev/null | tee seen
diff seen - <<'EXPECTED'
two icons: {'average_hash': 0, 'phash': 0, 'dhash': 0, 'whash': 0, 'colorhash': 0}
the same picture times 1, I;16: phash differs: False
the same picture times 16, I;16: phash differs: True
the same picture times 257, I;16: phash differs: True
EXPECTED
