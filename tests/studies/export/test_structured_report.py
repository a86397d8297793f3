"""Reports of measurements, read back item by item: numbers, units, outlines, frames, references."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from studies.drawings import Drawing
from studies.errors import StudyError
from studies.export.structured_report import export_study_reports
from studies.shapes import Line, Polygon, Rectangle, Shapes
from studies.study import Study
from studies.timed_shapes import Edit, TimedShapes

PASSPHRASE = "four horses and a lamp"
SIGNAL = Polygon(((1.0, 1.0), (4.0, 1.0), (2.5, 5.0)))
SHAPES = Shapes(
    signal=SIGNAL, background=Rectangle((6.0, 6.0), (2.0, 2.0)), line=Line((0.0, 3.0), (7.0, 3.5))
)


def measured(make_study: Callable[..., Study]) -> Study:
    """Two clips; the signal region of the second one moves after the second frame of its range."""
    study = make_study(scans=2, readers=["Anna"])
    moved = Edit(3, 5, Shapes(signal=Polygon(((2.0, 1.0), (5.0, 1.0), (3.5, 5.0)))))
    for number, clip in enumerate(study.clips):
        timed = TimedShapes(SHAPES, (moved,) if number else ())
        values = {
            movie_id: {
                "snr_db_mean": 20.0 + place + 1 / 3,
                "snr_db_sd": 0.5,
                "edge_sharpness_per_mm_mean": 0.25,
                "edge_width_mm_mean": float("nan") if place else 3.5,
                "signal_area_mm2": 12.0,
                "background_area_mm2": None,
                "frames": 4,
                "first_frame": 2,
                "warnings": ["small"],
            }
            for place, movie_id in enumerate(clip.movie_ids)
        }
        for each in values.values():
            if each["edge_width_mm_mean"] != each["edge_width_mm_mean"]:
                each["edge_width_mm_mean"] = None
        study.save_measurement("Ada Ång", clip.clip_id, Drawing(timed, (1, 5)).to_dict(), values)
    return study


def items(parent: Dataset, meaning: str) -> Iterator[Dataset]:
    for item in parent.get("ContentSequence", []):
        if "ConceptNameCodeSequence" in item and item.ConceptNameCodeSequence[0].CodeMeaning == meaning:
            yield item


def one(parent: Dataset, meaning: str) -> Dataset:
    (found,) = items(parent, meaning)
    return found


def test_reports_hold_the_numbers_and_point_into_the_movies(
    make_study: Callable[..., Study], tmp_path: Path
) -> None:
    study = measured(make_study)
    with pytest.raises(StudyError, match="blinded"):
        export_study_reports(study, tmp_path / "early")
    study.unblind(PASSPHRASE, "Ada", force=True)
    written = export_study_reports(study, tmp_path / "out")
    data = [pydicom.dcmread(path) for path in written]
    movies = {each.SOPInstanceUID: each for each in data if each.Modality == "MR"}
    reports = [each for each in data if each.Modality == "SR"]
    assert (len(movies), len(reports)) == (6, 2)
    for report in reports:
        assert report.SOPClassUID.name == "Comprehensive SR Storage"
        assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
        assert one(report, "Person Observer Name").PersonName == "Ada Ång^"
        groups = list(items(one(report, "Imaging Measurements"), "Measurement Group"))
        assert len(groups) == 3 * 2, "a region and a line for each movie; air has no finite number"
        evidence = report.CurrentRequestedProcedureEvidenceSequence[0]
        named = {
            reference.ReferencedSOPInstanceUID
            for series in evidence.ReferencedSeriesSequence
            for reference in series.ReferencedSOPSequence
        }
        assert evidence.StudyInstanceUID == report.StudyInstanceUID and len(named) == 3
        for uid in named:
            assert movies[uid].StudyInstanceUID == report.StudyInstanceUID
            assert movies[uid].PatientID == report.PatientID
    method_of, clip = study.method_of, study.clips[0]
    stems = {path: each for path, each in zip(written, data, strict=True)}
    (report,) = [each for path, each in stems.items() if clip.clip_id[:6] in path.name]
    groups = list(items(one(report, "Imaging Measurements"), "Measurement Group"))
    by_name = {one(group, "Tracking Identifier").TextValue: group for group in groups}
    for place, movie_id in enumerate(clip.movie_ids):
        method = method_of[movie_id]
        region = by_name[f"{method}: signal"]
        assert region.ContentTemplateSequence[0].TemplateIdentifier == "1410"
        mean, spread = items(region, "Signal-to-noise ratio against air")
        assert mean.MeasuredValueSequence[0].FloatingPointValue == 20.0 + place + 1 / 3
        assert float(mean.MeasuredValueSequence[0].NumericValue) == pytest.approx(20 + place + 1 / 3)
        assert mean.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue == "dB"
        derivations = [one(each, "Derivation").ConceptCodeSequence[0].CodeMeaning for each in (mean, spread)]
        assert derivations == ["Mean", "Standard Deviation"]
        outline = one(region, "Image Region")
        assert outline.GraphicData == [1.5, 1.5, 4.5, 1.5, 3.0, 5.5, 1.5, 1.5]
        reference = outline.ContentSequence[0].ReferencedSOPSequence[0]
        assert movies[reference.ReferencedSOPInstanceUID].SeriesDescription == method
        assert list(reference.ReferencedFrameNumber) == [2, 3, 4, 5]
        line = by_name[f"{method}: line"]
        sharpness = one(line, "Edge sharpness: largest gradient of the normalised profile")
        assert sharpness.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue == "/mm"
        source = one(sharpness, "Source of Measurement")
        assert source.RelationshipType == "INFERRED FROM" and source.GraphicData == [0.5, 3.5, 7.5, 4.0]
        assert len(list(items(line, "10-90 % distance of the fitted error function"))) == (place == 0)


def test_a_shape_that_moves_is_given_in_the_first_frame_that_counts(
    make_study: Callable[..., Study], tmp_path: Path
) -> None:
    study = measured(make_study)
    study.unblind(PASSPHRASE, "Ada", force=True)
    written = export_study_reports(study, tmp_path)
    clip = study.clips[1]
    (report,) = [pydicom.dcmread(path) for path in written if clip.clip_id[:6] in path.name]
    groups = list(items(one(report, "Imaging Measurements"), "Measurement Group"))
    moving = [group for group in groups if "moves" in one(group, "Tracking Identifier").TextValue]
    assert len(moving) == 3
    for group in moving:
        reference = one(group, "Image Region").ContentSequence[0].ReferencedSOPSequence[0]
        assert reference.ReferencedFrameNumber == 2


def test_a_study_without_measurements_says_so(make_study: Callable[..., Study], tmp_path: Path) -> None:
    study = make_study(scans=1, readers=["Anna"])
    study.unblind(PASSPHRASE, "Ada", force=True)
    with pytest.raises(StudyError, match="no measurements"):
        export_study_reports(study, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_measurement_of_all_frames_names_none_and_what_has_no_number_is_left_out(
    make_study: Callable[..., Study], tmp_path: Path
) -> None:
    """Of two clips one has a number, of one movie; a report that the disk refuses is named."""
    study = make_study(scans=2, readers=["Anna"])
    one_clip, other_clip = study.clips
    first, second, _ = one_clip.movie_ids
    drawing = Drawing(TimedShapes(SHAPES)).to_dict()
    values = {
        first: {"snr_db_mean": 21.5},
        second: {"snr_db_mean": None},
        "not of this study": {"snr_db_mean": 1.0},
    }
    study.save_measurement("Ada", one_clip.clip_id, drawing, values)
    study.save_measurement("Ada", other_clip.clip_id, drawing, {other_clip.movie_ids[0]: "nothing"})
    study.unblind(PASSPHRASE, "Ada", force=True)
    (path,) = [
        path for path in export_study_reports(study, tmp_path) if pydicom.dcmread(path).Modality == "SR"
    ]
    (group,) = items(one(pydicom.dcmread(path), "Imaging Measurements"), "Measurement Group")
    assert one(group, "Tracking Identifier").TextValue == f"{study.method_of[first]}: signal"
    reference = one(group, "Image Region").ContentSequence[0].ReferencedSOPSequence[0]
    assert "ReferencedFrameNumber" not in reference
    path.unlink()
    path.mkdir()
    with pytest.raises(StudyError, match=f"{path.name}' cannot be written: Is a directory"):
        export_study_reports(study, tmp_path)
