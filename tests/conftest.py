"""What several test modules share."""

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real pictures beside the checkout; what needs them is skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real pictures are not here: ../shared/data is missing beside the checkout")
    return SHARED_DATA
