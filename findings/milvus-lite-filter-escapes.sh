#!/bin/bash
# milvus-lite 3.2.2 with pymilvus 3.0.2: a text in a filter knows the escapes \" \' \\ \n \r \t alone. What json.dumps
# writes for any other control character, \u0007, is an error, where the same character as it stands is found.
# Output:
#     as it stands: 1 row
#     escaped: unknown escape sequence \u
# Exits with 0 while that is so, with 1 once it changes.
set -e
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check milvus-lite==3.2.2 pymilvus==3.0.2
"$folder/venv/bin/python" - "$folder/index.db" 2>/dev/null <<'P'
import json
import sys

from pymilvus import DataType, MilvusClient

client = MilvusClient(sys.argv[1])
schema = MilvusClient.create_schema(auto_id=False)
schema.add_field("id", DataType.INT64, is_primary=True)
schema.add_field("label", DataType.VARCHAR, max_length=100)
schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=2)
index = MilvusClient.prepare_index_params()
index.add_index("embedding", index_type="FLAT", metric_type="COSINE")
client.create_collection("c", schema=schema, index_params=index)
client.insert("c", [{"id": 1, "label": "a\x07b", "embedding": [1.0, 0.0]}])
found = client.query("c", filter='label == "a\x07b"', output_fields=["id"], consistency_level="Strong")
print("as it stands:", len(found), "row")
try:
    client.query("c", filter=f"label == {json.dumps('a' + chr(7) + 'b')}", output_fields=["id"])
    words = "no error"
except Exception as error:
    words = "unknown escape sequence \\u" if "unknown escape sequence \\u" in str(error) else str(error)
print("escaped:", words)
sys.exit([len(found), words] != [1, "unknown escape sequence \\u"])
P
