"""A plugin of test_architecture.py: writes down the test files that pytest would collect, without importing them."""

import os
from collections.abc import Iterable
from pathlib import Path

import pytest


class NotImported(pytest.Module):
    """A test module that is not opened."""

    def collect(self) -> Iterable[pytest.Item]:
        return []


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module:
    with open(os.environ["COLLECTION_REPORT"], "a", encoding="utf-8") as report:
        print(module_path.relative_to(parent.config.rootpath), file=report)
    return NotImported.from_parent(parent, path=module_path)
