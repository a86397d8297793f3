"""The raw file of a scan that was received: ISMRMRD HDF5 that names nobody.

The header is rewritten from a list of what may pass (`anonymous_header`); what is not on the list is left
out. Readouts go to a temporary file as they come, which takes its name when the scan has ended: a
half-written file never looks like a whole one.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import h5py
import numpy as np

from recon_backend.formats.header import Identity, identity_of
from recon_backend.mrd.protocol import ACQUISITION_HEADER, Readout

NAMESPACE = "http://www.ismrm.org/ISMRMRD"
_READOUTS_A_BLOCK = 64
_ELEMENT = np.dtype(
    [
        ("head", ACQUISITION_HEADER),
        ("traj", h5py.vlen_dtype(np.float32)),
        ("data", h5py.vlen_dtype(np.float32)),
    ]
)
# Child elements of the header that may pass, None meaning with all that is in them.
_MAY_PASS: dict[str, frozenset[str] | None] = {
    "version": None,
    "measurementInformation": frozenset({"patientPosition", "protocolName", "sequenceName"}),
    "acquisitionSystemInformation": frozenset(
        {
            "systemVendor",
            "systemModel",
            "systemFieldStrength_T",
            "relativeReceiverNoiseBandwidth",
            "receiverChannels",
            "coilLabel",
        }
    ),
    "experimentalConditions": None,
    "encoding": None,
    "sequenceParameters": None,
    "userParameters": frozenset({"userParameterLong", "userParameterDouble"}),
}


def anonymous_header(root: ElementTree.Element) -> bytes:
    """The header's XML without patient, place, dates, identifiers and free text that repeats them.

    Args:
        root: from `parse_xml`; it is not changed.
    """
    identity = identity_of(root)
    kept = ElementTree.Element("ismrmrdHeader", {"xmlns": NAMESPACE})
    for section in root:
        if section.tag not in _MAY_PASS:
            continue
        allowed = _MAY_PASS[section.tag]
        copy = ElementTree.SubElement(kept, section.tag)
        copy.text = section.text
        for child in section:
            if allowed is None or child.tag in allowed:
                _copy(child, copy, identity)
    ElementTree.indent(kept)
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(kept)


def _copy(element: ElementTree.Element, parent: ElementTree.Element, identity: Identity) -> None:
    text = (element.text or "").strip()
    if text and not _is_number(text) and identity.is_named_in(text):
        return
    copy = ElementTree.SubElement(parent, element.tag)
    copy.text = text or None
    for child in element:
        _copy(child, copy, identity)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def file_stem(root: ElementTree.Element, now: datetime | None = None) -> str:
    """A name for the scan's file: when it was received and the protocol, if that names nobody."""
    protocol = (root.findtext("measurementInformation/protocolName") or "").strip()
    if identity_of(root).is_named_in(protocol):
        protocol = ""
    words = re.sub(r"[^A-Za-z0-9]+", "_", protocol).strip("_")[:60]
    return f"{(now or datetime.now(UTC)):%Y%m%d_%H%M%S}_{words or 'scan'}"


class RawFileWriter:
    """Writes readouts as they come.

    Args:
        folder: where the file goes; made if it is not there.
        root: the scan's header, from `parse_xml`.
        stem: the file's name without ending; a number is added if it is taken.

    Raises:
        OSError: the folder or the file cannot be written.
    """

    def __init__(self, folder: Path, root: ElementTree.Element, stem: str) -> None:
        """Begin the temporary file."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._stem = stem
        self._temporary = folder / f".{stem}.{secrets.token_hex(8)}.part"
        self._block: list[Readout] = []
        self.readouts = 0
        self._file = h5py.File(self._temporary, "w")
        group = self._file.create_group("dataset")
        xml = group.create_dataset("xml", (1,), dtype=h5py.string_dtype("utf-8"))
        xml[0] = anonymous_header(root)
        self._data = group.create_dataset(
            "data", (0,), dtype=_ELEMENT, maxshape=(None,), chunks=(_READOUTS_A_BLOCK,)
        )

    def add(self, readout: Readout) -> None:
        """Append a readout. Raises OSError."""
        self._block.append(readout)
        self.readouts += 1
        if len(self._block) == _READOUTS_A_BLOCK:
            self._flush()

    def finish(self, *, complete: bool) -> Path:
        """Give the file its name and return it; an incomplete scan's has `_incomplete`. Raises OSError."""
        self._flush()
        self._file.close()
        with self._temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        stem = self._stem if complete else f"{self._stem}_incomplete"
        path = self._folder / f"{stem}.h5"
        number = 1
        while path.exists():
            number += 1
            path = self._folder / f"{stem}_{number}.h5"
        os.replace(self._temporary, path)
        return path

    def abandon(self) -> None:
        """Remove what was written."""
        with contextlib.suppress(OSError, RuntimeError):
            self._file.close()
        self._temporary.unlink(missing_ok=True)

    def _flush(self) -> None:
        if not self._block:
            return
        rows: Any = np.zeros(len(self._block), _ELEMENT)
        for row, readout in zip(rows, self._block, strict=True):
            row["head"] = readout.head
            row["traj"] = readout.trajectory.ravel()
            row["data"] = np.ascontiguousarray(readout.samples).view(np.float32).ravel()
        start = len(self._data)
        self._data.resize(start + len(rows), axis=0)
        self._data[start:] = rows
        self._block.clear()
