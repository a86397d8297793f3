"""Drawings as JSON: read back whole, bound to their movies, and refused where a field is not acceptable."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studies.drawings import Drawing
from studies.errors import StudyError
from studies.roi_files import RoiFile, movies_sha256, read_roi_file, write_roi_file
from studies.shapes import Ellipse, Freehand, Line, Shapes
from studies.state import MeasurementClip
from studies.timed_shapes import Edit, Motion, TimedShapes

SIZE, SPACING = (30, 42), (2.0, 1.5)
MOVIES = np.random.default_rng(1).random((3, 4, *SIZE)).astype(np.float32)


@pytest.fixture
def roi() -> RoiFile:
    drawing = Shapes(
        Ellipse((15, 12), (6, 4), 0.3),
        Freehand(((30, 20), (38, 21), (36, 27), (31, 26))),
        Line((3, 4), (9, 12), 3),
    )
    shapes = TimedShapes(
        drawing,
        (Edit(1, 1, Shapes(signal=Ellipse((16, 12), (6, 4)))),),
        {"signal": Motion(0, (0, 1, 1, 0), (0, 0, 1, 1))},
    )
    return RoiFile(
        shapes,
        SIZE,
        4,
        SPACING,
        movies_sha256(MOVIES),
        "Cy",
        "2026-11-22T10:00:00+00:00",
        "blindcine 0",
        (1, 4),
    )


def test_a_drawing_survives_its_file(roi: RoiFile, tmp_path: Path) -> None:
    write_roi_file(tmp_path / "a.json", roi)
    assert read_roi_file(tmp_path / "a.json") == roi
    with pytest.raises(StudyError, match="cannot be written"):
        write_roi_file(tmp_path / "nowhere" / "a.json", roi)


def test_physical_coordinates_and_sizes(roi: RoiFile) -> None:
    """mm are pixels times spacing, x first; mm² are counted pixels of 3 mm²."""
    data = roi.to_dict()
    assert data["outlines_mm"]["line"] == [[4.5, 8.0], [13.5, 24.0]]
    assert data["outlines_mm"]["background"] == [[45, 40], [57, 42], [54, 54], [46.5, 52]]
    x, y = np.array(data["outlines_mm"]["signal"]).T
    u, v = x / 1.5 - 15, y / 2 - 12
    turned = (u + 1j * v) * np.exp(-0.3j)
    np.testing.assert_allclose((turned.real / 6) ** 2 + (turned.imag / 4) ** 2, 1)
    pixels = int(Ellipse((15, 12), (6, 4), 0.3).mask(SIZE).sum())
    assert data["sizes"]["signal"] == {"pixels": pixels, "mm2": 3.0 * pixels}
    assert data["image"]["sha256"] == movies_sha256(MOVIES) and data["author"] == "Cy"


def test_sha256_is_of_shape_and_float32_pixels() -> None:
    expected = hashlib.sha256(b"(3, 4, 30, 42) float32" + MOVIES.tobytes()).hexdigest()
    assert movies_sha256(MOVIES) == expected == movies_sha256(MOVIES.astype(np.float64))
    changed = MOVIES.copy()
    changed[2, 3, 29, 41] += 1e-6
    assert movies_sha256(changed) != expected != movies_sha256(MOVIES.reshape(3, 4, 42, 30))


def test_a_drawing_stays_with_its_movies(roi: RoiFile) -> None:
    own = movies_sha256(MOVIES)
    roi.check(SIZE, SPACING, own)
    with pytest.raises(StudyError, match="other movies"):
        roi.check(SIZE, SPACING, "0" * 64)
    roi.check(SIZE, SPACING, "0" * 64, other_image=True)
    for size, spacing in [((42, 30), SPACING), (SIZE, (1.5, 2.0))]:
        with pytest.raises(StudyError, match="42 × 30 pixels of 1.5 × 2 mm"):
            roi.check(size, spacing, own, other_image=True)


def test_fields_that_are_not_acceptable_are_named(roi: RoiFile, tmp_path: Path) -> None:
    def with_change(*path: str | int, value: Any) -> dict[str, Any]:  # noqa: ANN401
        data = json.loads(json.dumps(roi.to_dict()))
        target = data
        for part in path[:-1]:
            target = target[part]
        target[path[-1]] = value
        return data

    for data, said in [
        (with_change("schema", value="blindcine-roi-9"), "schema 'blindcine-roi-9'"),
        (with_change("image", value=[]), "'image' of a drawing needs an object"),
        (with_change("image", "rows", value=0), "'rows' of a drawing is 0"),
        (with_change("image", "columns", value="42"), "'columns' of a drawing needs a whole number"),
        (with_change("image", "pixel_spacing_mm", value=[1.0]), "two lengths"),
        (with_change("image", "pixel_spacing_mm", value=[1.0, -2.0]), "two lengths"),
        (with_change("image", "pixel_spacing_mm", value=[1.0, "2"]), "two lengths"),
        (with_change("image", "sha256", value="xyz"), "64 hexadecimal"),
        (with_change("time_utc", value="noon"), "'noon', not a time"),
        (with_change("author", value=None), "'author' of a drawing needs a text"),
        (with_change("frame_range", value=[0, 5]), r"\[0, 5\], but the movie has 4 frames"),
        (with_change("frame_range", value="all"), "two whole numbers"),
        (with_change("frame_range", value=[0, 1.5]), "two whole numbers"),
        (with_change("shapes", "signal", "kind", value="star"), "'star' is unknown"),
        (with_change("outlines_mm", "line", 0, value=[4.6, 8.0]), "mm of the line is not that"),
        (with_change("outlines_mm", "line", value="far"), "mm of the line is not that"),
        (with_change("outlines_mm", value={}), "not of the same regions"),
    ]:
        with pytest.raises(StudyError, match=said):
            RoiFile.from_dict(data)
    assert RoiFile.from_dict(with_change("frame_range", value=None)).frame_range is None

    (tmp_path / "a.json").write_text("{")
    with pytest.raises(StudyError, match="not JSON"):
        read_roi_file(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("[1]")
    with pytest.raises(StudyError, match="not one JSON object"):
        read_roi_file(tmp_path / "a.json")
    with pytest.raises(StudyError, match="cannot be read"):
        read_roi_file(tmp_path / "b.json")


def test_the_file_of_a_clip_says_what_was_drawn_where(roi: RoiFile) -> None:
    """Made now, of these pixels; what was not drawn has no outline and no size."""
    before = datetime.now(UTC).replace(microsecond=0)
    clip = MeasurementClip("c0ffee", MOVIES, ("ab", "cd", "ef"), 0.05 * np.arange(4), SPACING)
    made = RoiFile.of(clip, Drawing(roi.shapes, (1, 4)), author="Cy", tool="blindcine 0")
    assert replace(made, time_utc=roi.time_utc) == roi
    assert before <= datetime.fromisoformat(made.time_utc) <= datetime.now(UTC)
    alone = replace(roi, shapes=TimedShapes(Shapes(line=Line((3, 4), (9, 12)))), frame_range=None)
    data = json.loads(json.dumps(alone.to_dict()))
    assert set(data["outlines_mm"]) == {"line"} and data["sizes"] == {}
    assert RoiFile.from_dict(data) == alone
