#!/usr/bin/env bash
# gradio 6.31.0 with mcp 1.30.0: a function with an input of gr.JSON is offered as a tool of MCP, and no call of it
# works, not even one that leaves that input out: its schema says "type": {}, which is no JSON schema, so that the server
# refuses every call before the function runs. The same function without the JSON input answers.
#   text: answered
#   text_and_json: refused, {} is not valid under any of the given schemas
# Exits with 1 if that changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check "gradio[mcp]==6.31.0" mcp==1.30.0
export GRADIO_ANALYTICS_ENABLED=False HF_HUB_OFFLINE=1 NO_PROXY=localhost,127.0.0.1 no_proxy=localhost,127.0.0.1
"$work/venv/bin/python" - <<'PYTHON'
import json
import os
import sys

import gradio as gr
import httpx


def text(words: str) -> str:
    """Give the words back."""
    return words


def text_and_json(words: str, more: list | None = None) -> str:
    """Give the words back."""
    return words


with gr.Blocks() as page:
    words, more, out = gr.Textbox(), gr.JSON(), gr.Textbox()
    gr.Button().click(text, [words], out)
    gr.Button().click(text_and_json, [words, more], out)
_, url, _ = page.launch(mcp_server=True, prevent_thread_lock=True, quiet=True)


def call(name: str) -> str:
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": {"words": "a"}}}
    headers = {"Accept": "application/json, text/event-stream"}
    answer = httpx.post(f"{url}gradio_api/mcp/", json=message, headers=headers, timeout=60)
    data = next(line for line in answer.text.splitlines() if line.startswith("data: "))
    result = json.loads(data.removeprefix("data: "))["result"]
    return f"refused, {result['content'][0]['text'].splitlines()[0]}" if result.get("isError") else "answered"


found = {name: call(name) for name in ("text", "text_and_json")}
for name, said in found.items():
    print(f"{name}: {said}")
sys.stdout.flush()  # the server of MCP would keep the process
os._exit(0 if found["text"] == "answered" and "not valid under any of the given schemas" in found["text_and_json"] else 1)
PYTHON
