#!/usr/bin/env bash
# datasets 5.2.0: one folder called "dev board" hides every other picture of an imagefolder, and all labels.
#
# load_dataset("imagefolder") takes words of folder names for names of splits: test, train, dev, valid, eval and others, also as one
# word of several. Where one folder has such a word, the pictures of all other folders are in no split, and metadata.csv at
# the top, which names every picture and its label, is not read: no error, no warning. "valves" is no such word.
#
# Output:
#   ['cups', 'plates'] {'train': (6, ['image', 'label'])}
#   ['cups', 'valves'] {'train': (6, ['image', 'label'])}
#   ['cups', 'dev board'] {'validation': (3, ['image'])}
#   ['cups', 'evaluation notes'] {'test': (3, ['image'])}
#
# Fails if that changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check datasets==5.2.0 pillow==12.3.0 numpy==2.4.6 2>/dev/null
cat >"$work/see.py" <<'P'
import pathlib
import numpy as np
from PIL import Image
from datasets import disable_progress_bars, load_dataset
disable_progress_bars()
for number, folders in enumerate((["cups", "plates"], ["cups", "valves"], ["cups", "dev board"], ["cups", "evaluation notes"])):
    root, rows = pathlib.Path(f"set{number}"), ["file_name,label"]
    for folder in folders:
        for index in range(3):
            path = root / folder / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((8, 8, 3), 40 * index, np.uint8)).save(path)
            rows.append(f"{folder}/{index}.png,{folder}")
    (root / "metadata.csv").write_text("\n".join(rows) + "\n")
    found = load_dataset("imagefolder", data_dir=str(root), cache_dir="cache")
    print(folders, {name: (len(part), part.column_names) for name, part in found.items()})
P
cd "$work" && HF_HUB_OFFLINE=1 ./venv/bin/python -W ignore see.py 2>/dev/null | tee seen
diff seen - <<'EXPECTED'
['cups', 'plates'] {'train': (6, ['image', 'label'])}
['cups', 'valves'] {'train': (6, ['image', 'label'])}
['cups', 'dev board'] {'validation': (3, ['image'])}
['cups', 'evaluation notes'] {'test': (3, ['image'])}
EXPECTED
