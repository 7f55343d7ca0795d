#!/bin/bash
# safetensors 0.8.0 with numpy 2.4.6: `safetensors.numpy.save` of an array that is not in C order writes its memory as
# it stands, under the shape that it has: a transposed array comes back with its values in other places, without an
# error or a warning. `safetensors.torch.save` refuses such a tensor.
# Output:
#     saved  [[0, 3], [1, 4], [2, 5]]
#     loaded [[0, 1], [2, 3], [4, 5]]
# Exits with 0 while that is so, with 1 once it changes.
set -e
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check safetensors==0.8.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'P'
import sys

import numpy as np
from safetensors.numpy import load, save

array = np.arange(6).reshape(2, 3).T
loaded = load(save({"a": array}))["a"]
print("saved ", array.tolist())
print("loaded", loaded.tolist())
sys.exit(loaded.tolist() != [[0, 1], [2, 3], [4, 5]])
P
