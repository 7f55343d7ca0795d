"""The recording Hub, for every test that publishes."""

from collections.abc import Iterator

import pytest

from tests.hub.recording_hub import TOKEN, RecordingHub, serving


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordingHub]:
    """A recording Hub. It speaks LFS: Xet, which the client prefers, has a protocol and servers of its own."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    hub = RecordingHub(TOKEN)
    with serving(hub):
        yield hub
