"""A movie as one DICOM object: Multi-frame Grayscale Word Secondary Capture, 16 bits, not compressed.

Secondary Capture is what the standard has for pictures that were made away from the scanner: it claims no
patient geometry and no sequence parameters, which a reconstruction for a reader study does not vouch for. The
object says how big a pixel is (Pixel Spacing) and when each frame was (Frame Time Vector: ms from the frame
before, rounded on the common clock), that it is derived and for research, and names the patient by a
pseudonym and by nothing else. Stored values are magnitude × factor; the factor is in Derivation Description,
because this object's own rescaling must be the identity.

Standard: DICOM PS3.3 2024, A.8.4 and C.8.6.3.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from studies.blinding import WHITE_PERCENTILE
from studies.clips import ClipMovie
from studies.errors import StudyError

LARGEST_STORED = 65_535
LONGEST_NAME = 63
PSEUDONYM = "RESEARCH"
RESEARCH_ONLY = "For research use only. Not for diagnosis."


def dicom_bytes(
    movie: ClipMovie, *, pseudonym: str = PSEUDONYM, description: str = "", software: Sequence[str] = ()
) -> bytes:
    """The content of a .dcm file.

    Objects of one scan (by the checksum of its raw data) and pseudonym are of one study.

    Args:
        movie: magnitude.
        pseudonym: stands for the patient; at most 63 characters, without backslash, ^ and =.
        description: of the series, for instance the method.
        software: names and versions.

    Raises:
        StudyError: the pseudonym does not do, or the movie has more rows or columns than DICOM can hold.
        ImportError: the package `pydicom` is not installed.
    """
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.filewriter import dcmwrite
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    stored, factor = stored_values(movie.frames)
    _check(pseudonym, stored.shape)
    frames, rows, columns = stored.shape
    raw = str(movie.provenance.get("raw_sha256", "")) or movie.name
    data = Dataset()
    data.SpecificCharacterSet = "ISO_IR 192"
    data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7.3"
    data.SOPInstanceUID = generate_uid(entropy_srcs=[pseudonym, description, stored.tobytes().hex()])
    data.StudyInstanceUID = generate_uid(entropy_srcs=["study", pseudonym, raw])
    data.SeriesInstanceUID = generate_uid(entropy_srcs=["series", pseudonym, raw, description])
    data.PatientName, data.PatientID = f"{pseudonym}^", pseudonym
    data.PatientBirthDate = data.PatientSex = ""
    data.PatientIdentityRemoved = "YES"
    data.DeidentificationMethod = "Made from raw data without patient data; named by a pseudonym"
    data.StudyDate = data.StudyTime = data.AccessionNumber = ""
    data.StudyID = "1"
    data.ReferringPhysicianName = ""
    data.Modality = "MR"
    data.Laterality = ""
    data.SeriesNumber = data.InstanceNumber = 1
    data.SeriesDescription = description[:LONGEST_NAME]
    data.Manufacturer = "blindcine"
    data.SoftwareVersions = [text[:LONGEST_NAME] for text in software] or "blindcine"
    data.ConversionType = "WSD"
    data.ImageType = ["DERIVED", "SECONDARY"]
    data.ContentDate = data.ContentTime = ""
    data.PatientOrientation = ""
    data.ImageComments = RESEARCH_ONLY
    data.DerivationDescription = f"Reconstructed magnitude movie; stored value = magnitude * {factor:.9g}"
    data.BurnedInAnnotation = "NO"
    data.LossyImageCompression = "00"
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.Rows, data.Columns, data.NumberOfFrames = rows, columns, frames
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 0
    data.PresentationLUTShape = "IDENTITY"
    data.RescaleIntercept, data.RescaleSlope, data.RescaleType = "0", "1", "US"
    white = max(float(np.percentile(stored, WHITE_PERCENTILE)), 1.0)
    data.WindowCenter, data.WindowWidth = decimal(white / 2), decimal(white)
    data.PixelSpacing = [decimal(length) for length in movie.pixel_spacing_mm]
    data.FrameIncrementPointer = 0x00181065
    data.FrameTimeVector = frame_time_vector(movie.frame_times_s)
    if frames > 1:
        seconds = float(np.median(np.diff(movie.frame_times_s)))
        data.CineRate = data.RecommendedDisplayFrameRate = str(max(1, round(1 / seconds)))
    data.PixelData = stored.tobytes()
    data["PixelData"].VR = "OW"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = data.SOPClassUID
    meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta = meta
    buffer = io.BytesIO()
    dcmwrite(buffer, data, enforce_file_format=True)
    return buffer.getvalue()


def stored_values(frames: NDArray[np.float32]) -> tuple[NDArray[np.uint16], float]:
    """Magnitudes (t, y, x) as whole numbers of 16 bits, and the factor: the brightest pixel becomes 65535."""
    peak = float(frames.max())
    factor = LARGEST_STORED / peak if peak > 0 else 1.0
    return np.rint(np.clip(frames * np.float64(factor), 0, LARGEST_STORED)).astype("<u2"), factor


def frame_time_vector(frame_times_s: NDArray[np.float64]) -> list[str]:
    """Milliseconds from one frame to the next, the first 0; their sums are the times to a nanosecond."""
    nanoseconds = np.rint((frame_times_s - frame_times_s[0]) * 1e9).astype(np.int64)
    return [decimal(step / 1e6) for step in np.diff(nanoseconds, prepend=0).tolist()]


def decimal(value: float) -> str:
    """A number in the 16 characters that DICOM has for one."""
    return f"{value:.10g}"


def _check(pseudonym: str, shape: tuple[int, ...]) -> None:
    if (
        not 0 < len(pseudonym.strip()) <= LONGEST_NAME
        or set(pseudonym) & set("\\^=")
        or not pseudonym.isprintable()
    ):
        raise StudyError(
            f"The pseudonym is {pseudonym!r}, but 1 to {LONGEST_NAME} characters without \\, ^ and = are "
            "needed."
        )
    if max(shape[1:]) > LARGEST_STORED:
        raise StudyError(f"A DICOM image holds at most {LARGEST_STORED} rows and columns.")
