#!/usr/bin/env bash
# milvus-lite 3.2.2 with pymilvus 3.0.2: equal scores come by insertion, NaN is stored, and found.
#
# Rows with equal scores come in the order in which they were inserted, whatever their primary keys; a float vector takes
# NaN, and its row is among the nearest where there is room; and max_length of a VARCHAR counts letters where Milvus
# documents bytes.
#
# Output:
#   found: [9, 3, 1, 7, 5]
#   rows: 5 bytes of the longest name: 16
#
# Fails if that changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check milvus-lite==3.2.2 pymilvus==3.0.2 2>/dev/null
cat >"$work/see.py" <<'P'
from pymilvus import DataType, MilvusClient
client = MilvusClient("here.db")
schema = client.create_schema(auto_id=False)
schema.add_field("id", DataType.INT64, is_primary=True)
schema.add_field("name", DataType.VARCHAR, max_length=8)
schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
index = client.prepare_index_params()
index.add_index("v", index_type="FLAT", metric_type="COSINE")
client.create_collection("t", schema=schema, index_params=index, consistency_level="Strong")
client.insert("t", [{"id": 9, "name": "a", "v": [1, 0]}, {"id": 3, "name": "b", "v": [1, 0]}])
client.insert("t", [{"id": 1, "name": "é" * 8, "v": [1, 0]}, {"id": 7, "name": "é", "v": [1, 0]}])
client.insert("t", [{"id": 5, "name": "nan", "v": [float("nan"), 0]}])
client.load_collection("t")
print("found:", [hit["id"] for hit in client.search("t", [[1, 0]], limit=10)[0]])
rows = client.query("t", filter="id > 0", output_fields=["name"])
print("rows:", len(rows), "bytes of the longest name:", max(len(row["name"].encode()) for row in rows))
P
cd "$work" && HF_HUB_OFFLINE=1 ./venv/bin/python -W ignore see.py 2>/dev/null | tee seen
diff seen - <<'EXPECTED'
found: [9, 3, 1, 7, 5]
rows: 5 bytes of the longest name: 16
EXPECTED
