"""The raw-data formats that live in HDF5 files, told apart by the datasets in the file."""

from __future__ import annotations

from pathlib import Path

from recon_backend.acquisition import Acquisition
from recon_backend.errors import FormatError, InvalidAcquisition
from recon_backend.formats import arrays, ismrmrd
from recon_backend.formats.hdf5 import open_file
from recon_backend.formats.storage import Progress, silent


def read(path: Path, slice_index: int | None, progress: Progress | None) -> Acquisition:
    """Read one slice of an HDF5 file.

    Args:
        path: the file.
        slice_index: which slice; the lowest one if None.
        progress: called with ("Reading", fraction 0 to 1).

    Raises:
        FormatError: the file is damaged, holds no raw data, or contradicts itself.
    """
    report = progress or silent
    report("Reading", 0.0)
    try:
        with open_file(path) as file:
            if file.format.startswith("blindcine-movie"):
                raise FormatError(path, "this is a reconstructed movie, not raw data.")
            group = ismrmrd.find_group(file)
            found = arrays.find(file)
            if group is not None:
                acquisition = ismrmrd.read(file, *group, slice_index, report)
            elif found:
                acquisition = arrays.read(file, found, slice_index, report)
            else:
                names = [name for name in sorted(file.datasets) if name.isprintable()]
                held = ", ".join(f"'{name[:40]}'" for name in names[:4]) or "nothing"
                raise FormatError(
                    path,
                    "this HDF5 file holds no raw data; expected ISMRMRD (a group with 'xml' and 'data') or a "
                    f"complex array 'kspace' (fastMRI, CMRxRecon), found {held}.",
                )
    except InvalidAcquisition as error:
        raise FormatError(path, str(error)) from error
    report("Reading", 1.0)
    return acquisition
