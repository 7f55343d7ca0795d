#!/usr/bin/env bash
# datasets 5.2.0 with pandas 2.3.3: `configs: features:` in a card makes the column `label` of an image folder's
# metadata.csv text, so 007 stays "007"; but NA becomes None all the same, since pandas drops it before the type counts.
# A metadata.jsonl with the same rows and features keeps both, but turns a column whose every text looks like a date into
# that date with a time.
#   csv:   ['007', None, '2023-08-01']
#   jsonl: ['007', 'NA', '2023-08-01']
#   jsonl, dates alone: ['2023-08-01 00:00:00', '2023-08-01 00:00:00', '2023-08-01 00:00:00']
# Exits with 1 if that changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check datasets==5.2.0 pandas==2.3.3 pillow==12.0.0
export HF_HOME="$work/home" HF_HUB_OFFLINE=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1
"$work/venv/bin/python" - "$work" <<'PYTHON'
import json
import sys
from pathlib import Path

from datasets import load_dataset
from PIL import Image

CARD = """---
configs:
- config_name: default
  data_files:
  - {split: train, path: "**"}
  features:
  - {name: image, dtype: image}
  - {name: label, dtype: string}
---
"""


def read(name, labels, as_json):
    folder = Path(sys.argv[1], name)
    folder.mkdir()
    (folder / "README.md").write_text(CARD)
    rows = [{"file_name": f"{index}.png", "label": label} for index, label in enumerate(labels)]
    for row in rows:
        Image.new("RGB", (8, 8)).save(folder / row["file_name"])
    text = "".join(json.dumps(row) + "\n" for row in rows) if as_json else "file_name,label\n" + "".join(
        f"{row['file_name']},{row['label']}\n" for row in rows
    )
    (folder / ("metadata.jsonl" if as_json else "metadata.csv")).write_text(text)
    return load_dataset(str(folder))["train"]["label"][:]


mixed, dates = ["007", "NA", "2023-08-01"], ["2023-08-01"] * 3
found = [read("csv", mixed, False), read("jsonl", mixed, True), read("dates", dates, True)]
print(*found, sep="\n")
sys.exit(found != [["007", None, "2023-08-01"], mixed, ["2023-08-01 00:00:00"] * 3])
PYTHON
