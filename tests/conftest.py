"""What all tests share: none of them reads or writes the user's own cache of results or shelf of models."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

_CACHE = tempfile.TemporaryDirectory(prefix="blindcine-test-cache-", ignore_cleanup_errors=True)
_NUMBERS = count(1)
# Also for fixtures of modules and of the session, which come before those of a test.
os.environ["BLINDCINE_CACHE"] = str(Path(_CACHE.name) / "shared")
os.environ["BLINDCINE_MODELS"] = str(Path(_CACHE.name) / "no-models")


@pytest.fixture(autouse=True)
def own_cache() -> Iterator[Path]:
    """Each test, and each process that it starts, has an empty cache of its own."""
    folder = Path(_CACHE.name) / str(next(_NUMBERS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLINDCINE_CACHE", str(folder))
        yield folder
