"""Regions followed through movies that were moved by known shifts, and shapes that change over the frames."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.feature import match_template

from studies.errors import StudyError
from studies.measurement import measure
from studies.shapes import Ellipse, Line, Polygon, Rectangle, Shapes
from studies.timed_shapes import Edit, Motion, TimedShapes, follow
from studies.tracking import track

SIZE = (64, 80)
SHIFTS = [(0, 0), (1, 0), (3, -2), (5, -4), (2, 1), (-4, 3)]  # (dx, dy)
REGION = Ellipse((38, 30), (9, 7))


def moving(noise: float = 0.0, seed: int = 1) -> np.ndarray:
    """A blurred random texture, rolled by `SHIFTS`."""
    rng = np.random.default_rng(seed)
    texture = gaussian_filter(rng.normal(size=SIZE), 2, mode="wrap")
    texture = 5 + texture / texture.std()
    movie = np.stack([np.roll(texture, (dy, dx), axis=(0, 1)) for dx, dy in SHIFTS])
    return movie + noise * rng.normal(size=movie.shape)


@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("reference", [0, 3])
def test_known_shifts_are_found(noise: float, reference: int) -> None:
    """Relative to the reference frame, exactly, also under noise; a perfect match has NCC 1."""
    mask = np.roll(REGION.mask(SIZE), SHIFTS[reference][::-1], axis=(0, 1))
    found = track(moving(noise), mask, reference_frame=reference)
    expected = np.array(SHIFTS) - SHIFTS[reference]
    np.testing.assert_array_equal(np.column_stack([found.dx, found.dy]), expected)
    assert found.match.min() > (0.999999 if noise == 0 else 0.8) and found.distinctness.min() > 0.05
    assert found.match[reference] == pytest.approx(1)


def test_match_equals_another_library() -> None:
    """Place and height of the maximum are those of scikit-image's template matching."""
    movie = moving(0.2)
    mask = np.zeros(SIZE, bool)
    mask[24:37, 30:47] = True
    found = track(movie, mask, margin_px=0)
    for number in range(1, len(movie)):
        likeness = match_template(movie[number], movie[0, 24:37, 30:47])
        area = likeness[24 - 12 : 24 + 13, 30 - 12 : 30 + 13]
        dy, dx = np.unravel_index(area.argmax(), area.shape)
        assert (found.dx[number], found.dy[number]) == (dx - 12, dy - 12)
        assert found.match[number] == pytest.approx(area.max(), abs=1e-6)


def test_what_cannot_be_believed_is_refused() -> None:
    """Other tissue, a straight edge, repeated structure, no structure, a shift at the end of the search."""
    movie, mask = moving(), REGION.mask(SIZE)
    lost = movie.copy()
    lost[2] = np.random.default_rng(9).normal(size=SIZE)
    with pytest.raises(StudyError, match=r"frame 3 the region is not found again \(match 0\.\d\d"):
        track(lost, mask)
    edge = np.tile((np.arange(SIZE[1]) > 38) * 1.0, (2, SIZE[0], 1))
    with pytest.raises(StudyError, match="frame 1 another place matches"):
        track(edge, mask)
    stripes = np.tile(np.indices((8, 8)).sum(axis=0) % 8, (2, 8, 10)).astype(float)
    with pytest.raises(StudyError, match="another place matches"):
        track(stripes, mask)
    with pytest.raises(StudyError, match="no structure"):
        track(np.ones_like(movie), mask)
    with pytest.raises(StudyError, match=r"frame 4 the region lies at the end of the search \(5, -4\)"):
        track(movie, mask, search_px=5)
    with pytest.raises(StudyError, match="at least 3 pixels"):
        track(movie, mask, search_px=2)
    with pytest.raises(StudyError, match="must have pixels"):
        track(movie, np.zeros(SIZE, bool))
    with pytest.raises(StudyError, match="frames 1…6, but frame 7"):
        track(movie, mask, reference_frame=6)


def test_search_stays_in_the_image() -> None:
    """A region near the border is followed as far as its template fits; blank frames match nothing."""
    mask = np.zeros(SIZE, bool)
    mask[6:16, 60:74] = True
    found = track(moving()[[0, 1, 4]], mask)
    assert (found.dx.tolist(), found.dy.tolist()) == ([0, 1, 2], [0, 0, 1])
    with pytest.raises(StudyError, match="frame 2 the region lies at the end"):
        track(moving()[[0, 2]], mask)  # three pixels to the right it would leave the image
    blank = moving()
    blank[1] = 0
    with pytest.raises(StudyError, match="match 0.00"):
        track(blank, mask)
    # A template as large as the image has no other place to compare with.
    with pytest.raises(StudyError, match="another place"):
        track(moving()[:1], np.ones(SIZE, bool))


def test_followed_masks_are_shifted_masks_and_measure_the_same_pixels() -> None:
    """With the same tissue under the region, SNR is that of the first frame in all frames; air stays."""
    movie = moving()
    movie[:, :12, :20] = np.random.default_rng(4).normal(0, 0.1, (12, 20))
    shapes = TimedShapes(Shapes(REGION, Rectangle((10, 6), (15, 8)), Line((30, 30), (46, 30))))
    followed = follow(np.stack([movie, 2 * movie]), shapes, moves=("signal", "line"))
    masks = followed.masks("signal", len(SHIFTS), SIZE)
    for mask, (dx, dy) in zip(masks, SHIFTS, strict=True):
        np.testing.assert_array_equal(mask, np.roll(REGION.mask(SIZE), (dy, dx), axis=(0, 1)))
    assert (followed.masks("background", 6, SIZE) == shapes.masks("background", 1, SIZE)).all()
    first, second = measure(np.stack([movie, 2 * movie]), followed, (1, 1), np.arange(6) * 0.1)
    still = measure(movie[None], shapes, (1, 1), np.arange(6) * 0.1)[0]
    assert first.snr_db is not None and second.snr_db is not None and still.snr_db is not None
    np.testing.assert_allclose(first.snr_db, first.snr_db[0], rtol=1e-12)
    np.testing.assert_allclose(second.snr_db, first.snr_db, rtol=1e-12)
    assert np.ptp(still.snr_db) > 0.1 and first.snr_db[0] == still.snr_db[0]
    assert first.edge_sharpness_per_mm is not None
    np.testing.assert_allclose(first.edge_sharpness_per_mm, first.edge_sharpness_per_mm[0], rtol=1e-9)
    assert first.temporal_snr_db is not None and first.temporal_snr_db > 200  # the same tissue, no noise
    assert first.displacement_px == pytest.approx(np.hypot(5, -4)) and still.displacement_px == 0
    with pytest.raises(StudyError, match="background region cannot be followed"):
        follow(movie[None], TimedShapes(Shapes(REGION)), "background")
    with pytest.raises(StudyError, match="followed for 6 frames, but frame 7"):
        followed.at("signal", 6)


def test_edits_replace_the_drawing_in_their_frames_only() -> None:
    """The last edit wins, edits win over tracks, and roles that an edit leaves out are untouched."""
    other, third = Ellipse((20, 20), (3, 3)), Polygon(((1, 1), (9, 1), (5, 8)))
    drawing = Shapes(REGION, Rectangle((10, 50), (9, 9)), Line((5, 5), (20, 5)))
    motion = Motion(0, (0, 1, 2, 3), (0, 0, -1, -1))
    timed = TimedShapes(
        drawing,
        (
            Edit(1, 2, Shapes(signal=other)),
            Edit(2, 2, Shapes(signal=third)),
            Edit(3, 3, Shapes(line=Line((1, 1), (9, 9)))),
        ),
        {"signal": motion},
    )
    assert [timed.at("signal", frame) for frame in range(4)] == [REGION, other, third, REGION.moved(3, -1)]
    assert {timed.at("background", frame) for frame in range(4)} == {drawing.background}
    assert timed.at("line", 3) == Line((1, 1), (9, 9)) and timed.at("line", 2) == drawing.line
    masks = timed.masks("signal", 4, SIZE)
    for frame in range(4):
        np.testing.assert_array_equal(masks[frame], timed.at("signal", frame).mask(SIZE))  # type: ignore[union-attr]
    assert not TimedShapes(Shapes()).masks("signal", 2, SIZE).any()

    movie = np.random.default_rng(1).normal(10, 1, (1, 4, *SIZE))
    (result,) = measure(movie, timed, (1, 1), np.arange(4) * 0.1)
    smallest = min(int(mask.sum()) for mask in masks)
    assert result.signal_pixels == smallest < 30
    assert any(f"signal region holds only {smallest}" in text for text in result.warnings)
    assert any("changes its size" in text for text in result.warnings) and result.temporal_snr_db is None
    background = drawing.background.mask(SIZE)  # type: ignore[union-attr]
    expected = [
        20 * np.log10(frame[mask].mean() / frame[background].std(ddof=1))
        for frame, mask in zip(movie[0], masks, strict=True)
    ]
    assert result.snr_db is not None
    np.testing.assert_allclose(result.snr_db, expected, rtol=1e-12)


def test_timed_shapes_survive_json_and_old_readers_see_the_drawing() -> None:
    drawing = Shapes(REGION, Rectangle((10, 50), (9, 9)))
    timed = TimedShapes(
        drawing,
        (Edit(1, 2, Shapes(signal=Ellipse((20, 20), (3, 3)))),),
        {"signal": Motion(0, (0, 1), (0, -1), (1.0, 0.9), (0.4, 0.3))},
    )
    stored = json.loads(json.dumps(timed.to_dict()))
    assert TimedShapes.from_dict(stored) == timed
    assert Shapes.from_dict(stored) == drawing
    assert TimedShapes.from_dict(drawing.to_dict()) == TimedShapes(drawing)
    assert TimedShapes(drawing).to_dict() == drawing.to_dict()  # a log of today reads like one of before
    for broken in (
        {"edits": [{"frames": [1]}]},
        {"edits": 3},
        {"motions": {"signal": {"reference_frame": 0, "dx": [0.5], "dy": [0]}}},
        [1],
    ):
        with pytest.raises(StudyError, match="not readable"):
            TimedShapes.from_dict({**drawing.to_dict(), "over_time": broken})
    for wrong in (
        lambda: Edit(3, 2, Shapes()),
        lambda: Motion(0, (0, 1), (0,)),
        lambda: Motion(2, (0, 1), (0, 1)),
        lambda: TimedShapes(drawing, (Edit(0, 1, Shapes(line=Line((1, 1), (5, 5)))),)),
        lambda: TimedShapes(Shapes(), motions={"signal": Motion(0, (0,), (0,))}),
    ):
        with pytest.raises(StudyError):
            wrong()
