"""A few hundred damaged files; `fuzz.py` beside this opens ten thousand and measures memory."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recon_backend.formats import hdf5

KINDS = "ismrmrd_cartesian ismrmrd_radial vd vb vd_radial bart bart_radial fastmri cmrxrecon".split()


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_read_or_refused(
    kind: str, fuzz: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5, "_PATIENCE_S", 2.0)  # some damage sends the HDF5 library into an endless loop
    name, files = fuzz.good_files(kind, False)
    outcomes = set()

    @settings(
        max_examples=40, deadline=None, derandomize=True, database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )  # fmt: skip
    @given(seed=st.integers(0, 2**32))
    def check(seed: int) -> None:
        for beside, data in fuzz.damaged(name, files, random.Random(seed)).items():
            (tmp_path / beside).write_bytes(data)
        outcome = fuzz.open_once(tmp_path / name)
        outcomes.add(outcome)
        assert outcome in ("read", "refused")

    check()
    assert outcomes == {"read", "refused"}


def test_the_fuzzer_notices_what_goes_wrong(
    fuzz: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recon_backend import formats
    from recon_backend.errors import FormatError

    def fail(error: BaseException) -> Any:
        def read(_path: Path) -> None:
            raise error

        return read

    monkeypatch.setattr(formats, "open_acquisition", fail(KeyError("x")))
    assert fuzz.open_once(tmp_path) == "KeyError: 'x'"
    monkeypatch.setattr(formats, "open_acquisition", fail(FormatError(tmp_path, "two\nlines.")))
    assert fuzz.open_once(tmp_path).startswith("not one sentence")
