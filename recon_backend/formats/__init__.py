"""Raw-data files in: one module a format, found by what the file holds, never by its name.

A reader module has `recognises(path) -> bool` (cheap: first bytes) and `read(path, slice_index, progress)`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from recon_backend.acquisition import Acquisition
from recon_backend.errors import FormatError
from recon_backend.formats import ismrmrd

_READERS = ((ismrmrd.recognises, ismrmrd.read),)


def open_acquisition(
    path: str | Path,
    *,
    slice_index: int | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Acquisition:
    """Read a raw-data file of any known format.

    Args:
        path: the file.
        slice_index: which slice of a file with several; the lowest one if None.
        progress: called with ("Reading", fraction 0 to 1); an exception that it raises stops the reading.

    Returns:
        The scan: prewhitened if there is a noise scan, imaging readouts only, without readout oversampling
        (Cartesian), trajectory in rad/pixel (non-Cartesian).

    Raises:
        FormatError: the file is missing, of an unknown format, damaged, or contradicts itself; one sentence.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise FormatError(path, "this is a folder; open the raw-data files in it.")
        if not path.exists():
            raise FormatError(path, "there is no such file.")
        if path.stat().st_size == 0:
            raise FormatError(path, "the file is empty.")
        for recognises, read in _READERS:
            if recognises(path):
                return read(path, slice_index, progress)
    except OSError as error:
        reason = error.strerror or "input/output error"
        raise FormatError(path, f"the file cannot be read ({reason.lower()}).") from error
    raise FormatError(
        path, "this is not an ISMRMRD (HDF5) raw-data file; convert the vendor's raw data to ISMRMRD first."
    )
