"""Raw-data files in: one module a format, found by what the file holds, never by its name.

A reader module has `recognises(path) -> bool` (cheap: first bytes) and `read(path, slice_index, progress)`.
HDF5 is the container of several formats; `hdf5_formats` tells them apart.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from recon_backend.acquisition import Acquisition
from recon_backend.errors import FormatError
from recon_backend.formats import bart, hdf5, hdf5_formats, twix

_READERS = (
    (hdf5.recognises, hdf5_formats.read),
    (bart.recognises, bart.read),
    (twix.recognises, twix.read),
)


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
                # Numbers that overflow come out infinite, and Acquisition refuses those.
                with np.errstate(over="ignore", invalid="ignore"):
                    return read(path, slice_index, progress)
    except OSError as error:
        reason = error.strerror or "input/output error"
        raise FormatError(path, f"the file cannot be read ({reason.lower()}).") from error
    except MemoryError as error:
        raise FormatError(path, "this machine has not enough memory to read the file.") from error
    raise FormatError(
        path,
        "this is no raw data that can be read: not ISMRMRD/OCMR, fastMRI or CMRxRecon (HDF5), Siemens twix "
        "(.dat), or BART (.cfl with .hdr); convert it to ISMRMRD first.",
    )
