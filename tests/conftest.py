"""What several test modules share."""

import os
from pathlib import Path

import pytest

# The processes that the tests run in share the cores. torch and its children read this when they are first imported.
_PROCESSES = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // _PROCESSES)))

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real pictures beside the checkout; what needs them is skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real pictures are not here: ../shared/data is missing beside the checkout")
    return SHARED_DATA


@pytest.fixture(scope="session")
def drawn_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of drawn pictures, laid out like the real one; tests leave it as it is."""
    from tests.drawn_data import write_data

    return write_data(tmp_path_factory.mktemp("drawn") / "data")


@pytest.fixture(scope="session")
def car_repo(drawn_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A car extractor that was split on these data; tests leave it as it is, or change a copy."""
    from tests.drawn_data import write_car_repo

    return write_car_repo(tmp_path_factory.mktemp("drawn") / "visim-drawn-cars", drawn_data)


@pytest.fixture(scope="session")
def autoencoder_repo(drawn_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small autoencoder that was split on these data; tests leave it as it is, or change a copy."""
    from tests.drawn_data import write_autoencoder_repo

    return write_autoencoder_repo(tmp_path_factory.mktemp("drawn") / "visim-drawn-things", drawn_data)
