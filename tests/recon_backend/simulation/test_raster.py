"""Areas, edges and layers of the drawing code against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from recon_backend.simulation.raster import Canvas, Texture, ellipse, inset, smooth_curve, stroke


def _square(top: float, left: float, side: float) -> np.ndarray:
    return np.array([[top, left], [top, left + side], [top + side, left + side], [top + side, left]])


def test_square_on_pixel_edges_fills_exactly_those_pixels() -> None:
    canvas = Canvas((8, 8), (8.0, 8.0))
    # Pixel i lies at i - 4 mm and reaches half a mm to both sides.
    canvas.paint(_square(-2.5, -1.5, 3.0), 2.0)
    expected = np.zeros((8, 8))
    expected[2:5, 3:6] = 2.0
    assert canvas.image == pytest.approx(expected, abs=1e-6)


def test_partly_covered_pixels_get_their_share() -> None:
    canvas = Canvas((8, 8), (8.0, 8.0))
    canvas.paint(_square(-0.5, -0.25, 1.0), 1.0)
    assert canvas.image[4, 4] == pytest.approx(0.75, abs=1e-6)
    assert canvas.image[4, 5] == pytest.approx(0.25, abs=1e-6)
    assert canvas.image.sum() == pytest.approx(1.0, abs=1e-6)


def test_area_of_an_ellipse_at_any_matrix() -> None:
    for matrix in (30, 61, 128):
        canvas = Canvas((matrix, matrix), (100.0, 100.0))
        canvas.paint(ellipse((3.0, -7.0), (20.0, 31.0), 0.4, 400), 1.0)
        area = canvas.image.sum() * (100 / matrix) ** 2
        assert area == pytest.approx(math.pi * 20 * 31, rel=2e-3)


def test_coarse_image_is_the_average_of_the_fine_one() -> None:
    shape = smooth_curve(np.array([[-20.0, -10], [-5, 25], [22, 8], [10, -24]]))
    fine, coarse = Canvas((180, 180), (90.0, 90.0)), Canvas((60, 60), (90.0, 90.0))
    for canvas in (fine, coarse):
        canvas.paint(shape, 1.0)
    # Both put pixel N // 2 at the centre: 3 fine pixels make a coarse one, half of one aside.
    shifted = np.roll(fine.image, (1, 1), (0, 1)).reshape(60, 3, 60, 3).mean(axis=(1, 3))
    assert coarse.image == pytest.approx(shifted, abs=0.05)


def test_shapes_outside_or_across_the_border_are_cut() -> None:
    canvas = Canvas((16, 16), (16.0, 16.0))
    canvas.paint(_square(100, 100, 5), 1.0)
    assert not canvas.image.any()
    canvas.paint(_square(-0.5, -50, 100.0), 1.0)
    assert canvas.image[8:].min() == pytest.approx(1.0)
    assert canvas.image[:8].max() == 0


def test_opacity_and_inside() -> None:
    canvas = Canvas((16, 16), (16.0, 16.0))
    canvas.paint(_square(-8.5, -8.5, 16.0), 1.0)
    limit = canvas.fill(_square(-0.5, -0.5, 4.0))
    canvas.paint(_square(-8.5, -8.5, 16.0), 3.0, opacity=0.5, inside=limit)
    assert canvas.image[8:12, 8:12] == pytest.approx(np.full((4, 4), 2.0))
    assert canvas.image.sum() == pytest.approx(256 + 16)


def test_layer_repeats_a_painting_over_any_image() -> None:
    def paint(canvas: Canvas) -> None:
        canvas.paint(ellipse((0, 0), (5, 4)), 0.7, opacity=0.6)
        canvas.paint(ellipse((2, 1), (3, 3)), 0.2, softness_mm=1.0)

    rng = np.random.default_rng(0)
    direct, layered = Canvas((24, 24), (24.0, 24.0)), Canvas((24, 24), (24.0, 24.0))
    direct.image[:] = layered.image[:] = rng.random((24, 24))
    paint(direct)
    layered.lay(layered.record(paint))
    assert layered.image == pytest.approx(direct.image, abs=1e-5)


def test_inset_and_stroke_keep_their_distance() -> None:
    circle = ellipse((0, 0), (10, 10), points=200)
    for curve in (circle, circle[::-1]):
        assert np.hypot(*inset(curve, 2.0).T) == pytest.approx(np.full(200, 8.0), abs=0.01)
    band = stroke(np.array([[0.0, 0], [0, 5], [0, 10]]), 3.0)
    assert sorted({round(float(y), 6) for y in band[:, 0]}) == [-1.5, 1.5]


def test_several_strokes_that_cross_count_once() -> None:
    canvas = Canvas((32, 32), (32.0, 32.0))
    cross = [stroke(np.array([[0.0, -8], [0, 8]]), 2.0), stroke(np.array([[8.0, 0], [-8, 0]]), 2.0)]
    assert canvas.fill(cross).coverage.sum() == pytest.approx(2 * 32 - 4, rel=1e-3)


def test_texture_is_standardised_and_periodic() -> None:
    texture = Texture(np.random.default_rng(1), 2.0)
    y, x = np.arange(512.0)[:, None], np.arange(512.0)[None, :]
    pattern = texture.at(y, x)
    assert pattern.mean() == pytest.approx(0, abs=1e-3)
    assert pattern.std() == pytest.approx(1, abs=1e-3)
    assert texture.at(y + 512, x - 512) == pytest.approx(pattern, abs=1e-3)
