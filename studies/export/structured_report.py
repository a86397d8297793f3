"""Measurements of an unblinded study as DICOM Structured Reports (TID 1500), beside the movies they refer to.

One report for each clip and observer. A region is a group of TID 1410 with its outline (SCOORD) in the frames
that counted; what was read along a line is a group of TID 1501 whose numbers are inferred from the line.
Column and row of a report count from the corner of the first pixel, whose centre is (0.5, 0.5); the study's
shapes count from its centre. A shape that moves is given as it lies in the first frame. Names that DICOM has
no code for are in the private scheme 99BLINDCINE, units in UCUM.

Standard: DICOM PS3.16 2024 (TID 1500, 1501, 1410, 300), PS3.3 C.18.6.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from studies.drawings import Drawing
from studies.errors import StudyError
from studies.export.dicom import RESEARCH_ONLY, decimal
from studies.export.movies import MovieExport
from studies.export.study_movies import export_study_movies, file_stem
from studies.export.video import Progress
from studies.shapes import Line, Point
from studies.state import MeasurementRecord
from studies.storage import write_durably
from studies.study import Study
from studies.timed_shapes import ROLES, Role

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Code = tuple[str, str, str]
"""Value, scheme, meaning."""
PRIVATE = "99BLINDCINE"
COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.33"
DECIBEL: Code = ("dB", "UCUM", "decibel")
PER_MM: Code = ("/mm", "UCUM", "/mm")
MM: Code = ("mm", "UCUM", "mm")
MM2: Code = ("mm2", "UCUM", "mm2")
MEAN: Code = ("373098007", "SCT", "Mean")
SD: Code = ("386136009", "SCT", "Standard Deviation")
AREA: Code = ("42798000", "SCT", "Area")
SNR: Code = ("snr", PRIVATE, "Signal-to-noise ratio against air")
TEMPORAL_SNR: Code = ("temporal_snr", PRIVATE, "Temporal signal-to-noise ratio")
DIFFERENCE_SNR: Code = ("difference_snr", PRIVATE, "Difference-method signal-to-noise ratio")
SHARPNESS: Code = ("edge_sharpness", PRIVATE, "Edge sharpness: largest gradient of the normalised profile")
RISE: Code = ("edge_rise", PRIVATE, "10-90 % distance of the edge")
WIDTH: Code = ("edge_width", PRIVATE, "10-90 % distance of the fitted error function")
SIGMA: Code = ("edge_sigma", PRIVATE, "Sigma of the fitted error function")

QUANTITIES: Mapping[Role, Mapping[str, tuple[Code, Code | None, Code]]] = {
    "signal": {
        "snr_db_mean": (SNR, MEAN, DECIBEL),
        "snr_db_sd": (SNR, SD, DECIBEL),
        "temporal_snr_db": (TEMPORAL_SNR, None, DECIBEL),
        "difference_snr_db_mean": (DIFFERENCE_SNR, MEAN, DECIBEL),
        "difference_snr_db_sd": (DIFFERENCE_SNR, SD, DECIBEL),
        "signal_area_mm2": (AREA, None, MM2),
    },
    "background": {"background_area_mm2": (AREA, None, MM2)},
    "line": {
        "edge_sharpness_per_mm_mean": (SHARPNESS, MEAN, PER_MM),
        "edge_sharpness_per_mm_sd": (SHARPNESS, SD, PER_MM),
        "edge_rise_mm_mean": (RISE, MEAN, MM),
        "edge_rise_mm_sd": (RISE, SD, MM),
        "edge_width_mm_mean": (WIDTH, MEAN, MM),
        "edge_width_mm_sd": (WIDTH, SD, MM),
        "edge_sigma_mm_mean": (SIGMA, MEAN, MM),
        "edge_sigma_mm_sd": (SIGMA, SD, MM),
    },
}
"""By what was drawn, the fields of a measurement: concept, derivation over the frames, unit."""


@dataclass(frozen=True)
class Quantity:
    """A number: what it is, how it was taken over the frames, and its unit."""

    concept: Code
    derivation: Code | None
    unit: Code
    value: float


@dataclass(frozen=True, eq=False)
class Group:
    """What was measured in one region or along one line of one movie.

    Attributes:
        name: for people.
        image: DICOM attributes of the movie.
        line: whether it is a line.
        points: outline, or the two ends, (x, y) in pixels from the centre of the first one.
        frames: where it lies so, from 1.
        quantities: the numbers.
    """

    name: str
    image: Dataset
    line: bool
    points: tuple[Point, ...]
    frames: tuple[int, ...]
    quantities: Sequence[Quantity]


@dataclass(frozen=True)
class Report:
    """One observer's measurement of one clip: who, of which subject (pseudonym), when, and what."""

    observer: str
    subject: str
    time: datetime
    groups: Sequence[Group]


def export_study_reports(study: Study, folder: Path, progress: Progress | None = None) -> list[Path]:
    """Write all movies as DICOM and `<subject>_<plane>_<sampling>_<clip>_<observer>_sr.dcm` per measurement.

    Args:
        study: unblinded.
        folder: made if it is not there.
        progress: called with (phase, fraction); may raise to stop between two files.

    Returns:
        Movies first, then reports.

    Raises:
        StudyError: the study is blinded or has no measurement, or a file cannot be written.
        ImportError: the package `pydicom` is not installed.
    """
    from pydicom import dcmread

    method_of = study.method_of
    records = study.measurements
    if not records:
        raise StudyError("The study has no measurements to report.")
    movies = export_study_movies(study, folder, MovieExport("dicom"), progress)
    heads = {movie_id: dcmread(path, stop_before_pixels=True) for path, movie_id in movies.items()}
    written = list(movies)
    for record in records:
        groups = groups_of(record, heads, method_of)
        if not groups:
            continue
        report = Report(record.observer, record.subject, datetime.fromisoformat(record.time_utc), groups)
        words = (record.subject, record.plane, record.sampling, record.clip_id[:6], record.observer, "sr")
        target = folder / f"{file_stem(words)}.dcm"
        try:
            write_durably(target, report_bytes(report))
        except OSError as error:
            raise StudyError(f"'{target}' cannot be written: {error.strerror}.") from error
        written.append(target)
    return written


def groups_of(
    record: MeasurementRecord, heads: Mapping[str, Dataset], method_of: Mapping[str, str]
) -> list[Group]:
    """The groups of a measurement: for each movie, one for each thing drawn that has a finite number.

    Args:
        record: the measurement.
        heads: DICOM attributes of the movies by movie id.
        method_of: methods by movie id.
    """
    drawing = Drawing.from_dict(record.shapes)
    found = []
    for movie_id, values in record.values.items():
        if movie_id not in heads or not isinstance(values, Mapping):
            continue
        image = heads[movie_id]
        first = int(values.get("first_frame") or 1) - 1
        end = min(first + int(values.get("frames") or image.NumberOfFrames), int(image.NumberOfFrames))
        for role in ROLES:
            shape = drawing.shapes.at(role, first)
            quantities = [
                Quantity(concept, derivation, unit, float(values[name]))
                for name, (concept, derivation, unit) in QUANTITIES[role].items()
                if isinstance(values.get(name), int | float) and math.isfinite(values[name])
            ]
            if shape is None or not quantities:
                continue
            stays = all(drawing.shapes.at(role, frame) == shape for frame in range(first, end))
            points = [shape.start_xy, shape.end_xy] if isinstance(shape, Line) else list(shape.outline())
            frames = range(first + 1, (end if stays else first + 1) + 1)
            name = f"{method_of[movie_id]}: {role}" + (
                "" if stays else f", which moves, in frame {first + 1}"
            )
            found.append(
                Group(name, image, isinstance(shape, Line), tuple(points), tuple(frames), quantities)
            )
    return found


def report_bytes(report: Report) -> bytes:
    """The content of a report. Raises ImportError without the package `pydicom`."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.filewriter import dcmwrite
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    first = report.groups[0].image
    moment = report.time.astimezone(UTC)
    seeds = [report.observer, report.subject, moment.isoformat(), str(first.SOPInstanceUID)]
    data = Dataset()
    data.SpecificCharacterSet = "ISO_IR 192"
    data.SOPClassUID = COMPREHENSIVE_SR
    data.SOPInstanceUID = generate_uid(entropy_srcs=["report", *seeds])
    data.StudyInstanceUID = first.StudyInstanceUID
    data.SeriesInstanceUID = generate_uid(entropy_srcs=["reports", *seeds])
    data.PatientName, data.PatientID = first.PatientName, first.PatientID
    data.PatientBirthDate = data.PatientSex = ""
    data.PatientIdentityRemoved = "YES"
    data.DeidentificationMethod = first.DeidentificationMethod
    data.StudyDate = data.StudyTime = data.AccessionNumber = data.ReferringPhysicianName = ""
    data.StudyID = first.StudyID
    data.Modality, data.SeriesNumber, data.InstanceNumber = "SR", 2, 1
    data.SeriesDescription = RESEARCH_ONLY
    data.ReferencedPerformedProcedureStepSequence = []
    data.PerformedProcedureCodeSequence = []
    data.Manufacturer = "blindcine"
    data.CompletionFlag, data.VerificationFlag, data.PreliminaryFlag = "COMPLETE", "UNVERIFIED", "FINAL"
    data.ContentDate, data.ContentTime = moment.strftime("%Y%m%d"), moment.strftime("%H%M%S")
    data.TimezoneOffsetFromUTC = "+0000"
    scheme = Dataset()
    scheme.CodingSchemeDesignator, scheme.CodingSchemeName = PRIVATE, "blindcine measurements"
    data.CodingSchemeIdentificationSequence = [scheme]
    data.CurrentRequestedProcedureEvidenceSequence = [_evidence([group.image for group in report.groups])]
    root = _container(("126000", "DCM", "Imaging Measurement Report"), "", "1500")
    observer = _item("PNAME", ("121008", "DCM", "Person Observer Name"), "HAS OBS CONTEXT")
    observer.PersonName = f"{report.observer.replace('^', ' ').replace('=', ' ')[:63]}^"
    measurements = _container(("126010", "DCM", "Imaging Measurements"), "CONTAINS")
    measurements.ContentSequence = [_group(group, number) for number, group in enumerate(report.groups)]
    root.ContentSequence = [
        _coded(
            ("121049", "DCM", "Language of Content Item and Descendants"),
            "HAS CONCEPT MOD",
            ("en", "RFC5646", "English"),
        ),
        _coded(("121005", "DCM", "Observer Type"), "HAS OBS CONTEXT", ("121006", "DCM", "Person")),
        observer,
        _coded(
            ("121058", "DCM", "Procedure reported"),
            "HAS CONCEPT MOD",
            ("113091000", "SCT", "Magnetic resonance imaging"),
        ),
        measurements,
    ]
    data.update(root)
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = io.BytesIO()
    dcmwrite(buffer, data, enforce_file_format=True)
    return buffer.getvalue()


def _group(group: Group, number: int) -> Dataset:
    from pydicom.uid import generate_uid

    container = _container(
        ("125007", "DCM", "Measurement Group"), "CONTAINS", "1501" if group.line else "1410"
    )
    identifier = _item("TEXT", ("112039", "DCM", "Tracking Identifier"), "HAS OBS CONTEXT")
    identifier.TextValue = group.name
    unique = _item("UIDREF", ("112040", "DCM", "Tracking Unique Identifier"), "HAS OBS CONTEXT")
    unique.UID = generate_uid(entropy_srcs=[group.image.SOPInstanceUID, group.name, str(number)])
    content = [identifier, unique]
    if not group.line:
        content.append(_coordinates(group, ("111030", "DCM", "Image Region"), "CONTAINS"))
    for quantity in group.quantities:
        item = _item("NUM", quantity.concept, "CONTAINS")
        item.MeasuredValueSequence = [_measured(quantity)]
        more = []
        if quantity.derivation is not None:
            more.append(_coded(("121401", "DCM", "Derivation"), "HAS CONCEPT MOD", quantity.derivation))
        if group.line:
            source = ("121112", "DCM", "Source of Measurement")
            more.append(_coordinates(group, source, "INFERRED FROM"))
        if more:
            item.ContentSequence = more
        content.append(item)
    container.ContentSequence = content
    return container


def _coordinates(group: Group, concept: Code, relation: str) -> Dataset:
    """The outline, closed, or the line; in the frames that it is valid in."""
    from pydicom.dataset import Dataset

    item = _item("SCOORD", concept, relation)
    points = list(group.points) if group.line else [*group.points, group.points[0]]
    item.GraphicType = "POLYLINE"
    item.GraphicData = [float(value) + 0.5 for point in points for value in point]
    reference = Dataset()
    reference.ReferencedSOPClassUID = group.image.SOPClassUID
    reference.ReferencedSOPInstanceUID = group.image.SOPInstanceUID
    if len(group.frames) < int(group.image.NumberOfFrames):
        reference.ReferencedFrameNumber = list(group.frames)
    image = Dataset()
    image.RelationshipType, image.ValueType = "SELECTED FROM", "IMAGE"
    image.ReferencedSOPSequence = [reference]
    item.ContentSequence = [image]
    return item


def _measured(quantity: Quantity) -> Dataset:
    from pydicom.dataset import Dataset

    value = Dataset()
    value.NumericValue = decimal(quantity.value)
    value.FloatingPointValue = quantity.value
    value.MeasurementUnitsCodeSequence = [_code(quantity.unit)]
    return value


def _evidence(images: Sequence[Dataset]) -> Dataset:
    """The images of one study by series, each once."""
    from pydicom.dataset import Dataset

    series: dict[str, Dataset] = {}
    for image in {str(image.SOPInstanceUID): image for image in images}.values():
        entry = series.setdefault(str(image.SeriesInstanceUID), Dataset())
        entry.SeriesInstanceUID = image.SeriesInstanceUID
        reference = Dataset()
        reference.ReferencedSOPClassUID = image.SOPClassUID
        reference.ReferencedSOPInstanceUID = image.SOPInstanceUID
        entry.ReferencedSOPSequence = [*entry.get("ReferencedSOPSequence", []), reference]
    study = Dataset()
    study.StudyInstanceUID = images[0].StudyInstanceUID
    study.ReferencedSeriesSequence = list(series.values())
    return study


def _container(concept: Code, relation: str, template: str = "") -> Dataset:
    from pydicom.dataset import Dataset

    item = _item("CONTAINER", concept, relation)
    item.ContinuityOfContent = "SEPARATE"
    if template:
        named = Dataset()
        named.MappingResource, named.TemplateIdentifier = "DCMR", template
        item.ContentTemplateSequence = [named]
    return item


def _coded(concept: Code, relation: str, value: Code) -> Dataset:
    item = _item("CODE", concept, relation)
    item.ConceptCodeSequence = [_code(value)]
    return item


def _item(kind: str, concept: Code, relation: str) -> Dataset:
    from pydicom.dataset import Dataset

    item = Dataset()
    if relation:
        item.RelationshipType = relation
    item.ValueType = kind
    item.ConceptNameCodeSequence = [_code(concept)]
    return item


def _code(code: Code) -> Dataset:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code
    return item
