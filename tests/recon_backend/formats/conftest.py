"""The helper modules of this folder as fixtures (tests are imported by path, not as a package)."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from recon_backend.errors import FormatError
from recon_backend.formats import open_acquisition


def load(name: str) -> ModuleType:
    """A module of this folder."""
    if f"formats_{name}" not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            f"formats_{name}", Path(__file__).with_name(f"{name}.py")
        )
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    return sys.modules[f"formats_{name}"]


@pytest.fixture
def writers() -> Any:
    """Writers of raw files."""
    return load("writers")


@pytest.fixture
def fuzz() -> Any:
    """The fuzzing script."""
    return load("fuzz")


@pytest.fixture
def refusal() -> Any:
    """`refusal(path)`: the one sentence that opening a file ends with."""

    def sentence(path: Path, **arguments: int) -> str:
        with pytest.raises(FormatError) as caught:
            open_acquisition(path, **arguments)
        text = str(caught.value)
        assert text.endswith(".")
        assert "\n" not in text
        return text

    return sentence
