"""The writer of checkpoint files, as a module: the tests are no packages."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def bundles() -> ModuleType:
    """`bundles.py` of this folder."""
    name = "checkpoint_bundles"
    specification = importlib.util.spec_from_file_location(name, Path(__file__).with_name("bundles.py"))
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    specification.loader.exec_module(module)
    return module
