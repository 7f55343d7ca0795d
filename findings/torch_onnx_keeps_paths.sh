#!/usr/bin/env bash
# torch 2.14.1 with onnx 1.23.2 and onnxscript 0.7.2: torch.onnx.export writes where the exporting machine keeps its files.
#
# `torch.onnx.export(..., dynamo=True)`, the default exporter, puts a stack trace of the Python code into the metadata of
# each node of the graph (metadata_props, key pkg.torch.onnx.stack_trace). The saved .onnx file holds the absolute path of
# torch and of the model's source on the machine that exported it, so a shared model names its author's folders, and
# two machines write different bytes for the same weights. `onnx.save` and `optimize=True` keep it.
#
# Output:
#   nodes with a stack trace: 1 of 1
#   the file names the model's own source folder: True
#   the file names the folder of the installed torch: True
#   the same after optimize=True: True
#   without metadata_props: False
#
# Fails if that changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.14.1 onnx==1.23.2 onnxscript==0.7.2 numpy 2>/dev/null
mkdir "$work/authors-folder"
cat >"$work/authors-folder/export.py" <<'P'
import pathlib, sys, onnx, torch
class Line(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 2)
    def forward(self, x):
        return self.layer(x)
target = pathlib.Path(sys.argv[1])
here, library = str(pathlib.Path(__file__).parent), str(pathlib.Path(torch.__file__).parent)
def export(**options):
    program = torch.onnx.export(Line().eval(), (torch.zeros(2, 3),), dynamo=True, verbose=False, **options)
    onnx.save(program.model_proto, target)
    return onnx.load(target), target.read_bytes()
model, content = export()
traced = sum(any(p.key == "pkg.torch.onnx.stack_trace" for p in node.metadata_props) for node in model.graph.node)
print(f"nodes with a stack trace: {traced} of {len(model.graph.node)}")
print("the file names the model's own source folder:", here.encode() in content)
print("the file names the folder of the installed torch:", library.encode() in content)
print("the same after optimize=True:", library.encode() in export(optimize=True)[1])
for node in model.graph.node:
    del node.metadata_props[:]
print("without metadata_props:", library.encode() in model.SerializeToString())
P
"$work/venv/bin/python" -W ignore "$work/authors-folder/export.py" "$work/line.onnx" 2>/dev/null | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
nodes with a stack trace: 1 of 1
the file names the model's own source folder: True
the file names the folder of the installed torch: True
the same after optimize=True: True
without metadata_props: False
EXPECTED
