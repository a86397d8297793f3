"""Masks against a pixel loop, matplotlib paths and slices; shapes that are moved and stored."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from matplotlib.path import Path

from studies.errors import StudyError
from studies.shapes import (
    Ellipse,
    Freehand,
    Line,
    Polygon,
    Rectangle,
    Shapes,
    area_mm2,
    ellipse_mask,
    mask_inside,
    polygon_mask,
    rectangle_mask,
    shape_from_dict,
)

SHAPE = (40, 56)  # not square: a swapped axis shows at once


def test_ellipse_mask_equals_a_pixel_loop() -> None:
    """Every pixel centre is tried on its own, in the frame of the turned ellipse."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        cx, cy = rng.uniform(5, 50), rng.uniform(5, 35)
        a, b, angle = rng.uniform(0.6, 12), rng.uniform(0.6, 12), rng.uniform(-4, 4)
        expected = np.zeros(SHAPE, bool)
        for j in range(SHAPE[0]):
            for i in range(SHAPE[1]):
                turned = complex(i - cx, j - cy) * np.exp(-1j * angle)
                expected[j, i] = math.hypot(turned.real / a, turned.imag / b) <= 1
        np.testing.assert_array_equal(ellipse_mask(SHAPE, (cx, cy), (a, b), angle), expected)


def test_ellipse_angle_turns_from_x_towards_y() -> None:
    """A thin ellipse at +45° runs down to the right, on the pixels [j, j]."""
    mask = ellipse_mask((21, 21), (10, 10), (8, 0.3), math.pi / 4)
    assert mask[14, 14] and mask[6, 6] and not mask[14, 6] and not mask[6, 14]


def test_polygon_mask_equals_matplotlib() -> None:
    """Random star polygons off the grid, against another library's point-in-polygon."""
    rng = np.random.default_rng(2)
    x, y = np.meshgrid(np.arange(SHAPE[1]), np.arange(SHAPE[0]))
    points = np.column_stack([x.ravel(), y.ravel()])
    for _ in range(20):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
        radii = rng.uniform(4, 17, 9)
        vertices = [
            (27.3 + r * math.cos(t), 19.7 + r * math.sin(t)) for r, t in zip(radii, angles, strict=True)
        ]
        expected = Path([*vertices, vertices[0]]).contains_points(points).reshape(SHAPE)
        np.testing.assert_array_equal(polygon_mask(SHAPE, vertices), expected)


def test_rectangle_and_polygon_agree_with_slices_border_included() -> None:
    """Corners on pixel centres: the border belongs to the region, whichever way it was drawn."""
    expected = np.zeros(SHAPE, bool)
    expected[3:9, 10:21] = True  # rows 3…8, columns 10…20
    np.testing.assert_array_equal(Rectangle.from_corners((20, 8), (10, 3)).mask(SHAPE), expected)
    corners = [(10, 3), (20, 3), (20, 8), (10, 8)]
    np.testing.assert_array_equal(polygon_mask(SHAPE, corners), expected)
    np.testing.assert_array_equal(polygon_mask(SHAPE, corners[::-1]), expected)


def test_turned_rectangle_equals_its_polygon() -> None:
    """A turned rectangle and the polygon of its four corners are one region."""
    rectangle = Rectangle((25.2, 18.1), (17.3, 9.4), 0.4)
    turn = np.exp(0.4j)
    corners = [
        (25.2 + (turn * complex(u, v)).real, 18.1 + (turn * complex(u, v)).imag)
        for u, v in [(-8.65, -4.7), (8.65, -4.7), (8.65, 4.7), (-8.65, 4.7)]
    ]
    np.testing.assert_array_equal(rectangle.mask(SHAPE), polygon_mask(SHAPE, corners))


def test_masks_are_cut_at_the_image() -> None:
    """A region that is half outside keeps its inside half only."""
    assert rectangle_mask((10, 10), (0, 0), (4, 4)).sum() == 9  # columns and rows 0…2
    assert ellipse_mask((10, 10), (-20, 5), (3, 3)).sum() == 0


def test_shapes_survive_json_and_refuse_nonsense() -> None:
    """What was drawn can be read back; other schemas and broken fields are named."""
    shapes = Shapes(
        Polygon(((1, 2), (9, 2.5), (5, 11))), Ellipse((4, 5), (2, 3), 0.3), Line((1, 2), (3, 4.5), 2)
    )
    stored = json.loads(json.dumps(shapes.to_dict()))
    assert Shapes.from_dict(stored) == shapes
    rectangle = Rectangle((1, 2), (3, 4), 0.5)
    assert shape_from_dict(json.loads(json.dumps(rectangle.to_dict()))) == rectangle
    with pytest.raises(StudyError, match="schema 'other'"):
        Shapes.from_dict(stored | {"schema": "other"})
    with pytest.raises(StudyError, match="semi_axes"):
        Shapes.from_dict(stored | {"background": {"kind": "ellipse", "centre_xy": [1, 2], "semi_axes": [1]}})
    with pytest.raises(StudyError, match="must be regions"):
        Shapes.from_dict(stored | {"signal": stored["line"]})
    with pytest.raises(StudyError, match="larger than 0"):
        Ellipse((0, 0), (0, 1))
    with pytest.raises(StudyError, match="stored line must be a line, but it is of kind 'polygon'"):
        Shapes.from_dict(stored | {"line": stored["signal"]})
    for centre in ({}, {"centre_xy": 3}, {"centre_xy": ["left", 2]}):
        with pytest.raises(StudyError, match="stored ellipse needs the field 'centre_xy' as a list of numb"):
            Shapes.from_dict(stored | {"signal": {"kind": "ellipse", "semi_axes": [1, 2], **centre}})
    with pytest.raises(StudyError, match="width of a line must be at least 1 pixel, but 0 was given"):
        Line((0, 0), (1, 1), 0)


def test_a_corner_that_is_given_twice_changes_nothing() -> None:
    """As a double click leaves it; also the first corner again at the end."""
    once = [(3.2, 4.1), (30.5, 6.0), (22.0, 33.7)]
    twice = [once[0], once[1], once[1], once[2], once[2], once[0]]
    np.testing.assert_array_equal(polygon_mask(SHAPE, twice), polygon_mask(SHAPE, once))
    assert polygon_mask(SHAPE, once).sum() > 100
    # A polygon without extent is the pixel it lies on.
    assert np.argwhere(polygon_mask(SHAPE, [(7, 2), (7, 2), (7, 3)])).tolist() == [[2, 7], [3, 7]]


def test_an_image_without_pixels_has_no_region() -> None:
    with pytest.raises(StudyError, match="0 × 5 pixels has no region"):
        ellipse_mask((0, 5), (1, 1), (1, 1))


def test_moved_shapes_move_their_masks() -> None:
    """Nudging by whole pixels shifts the mask and nothing else."""
    for shape in [
        Ellipse((20.3, 15.1), (6, 4), 0.7),
        Rectangle((20, 15), (9, 5), 0.2),
        Polygon(((14, 10), (27, 12), (20, 22))),
    ]:
        moved = shape.moved(3, -2).mask(SHAPE)
        np.testing.assert_array_equal(moved, np.roll(shape.mask(SHAPE), (-2, 3), axis=(0, 1)))


def test_freehand_is_an_outline_with_a_name() -> None:
    """The mask is that of the polygon of its points; it is stored as what it is, and moved as what it is."""
    points = tuple(
        (27 + (9 + math.cos(5 * t)) * math.cos(t), 19 + (8 + math.sin(3 * t)) * math.sin(t))
        for t in np.linspace(0, 2 * math.pi, 120, endpoint=False)
    )
    drawn = Freehand(points)
    np.testing.assert_array_equal(drawn.mask(SHAPE), Polygon(points).mask(SHAPE))
    stored = json.loads(json.dumps(drawn.to_dict()))
    assert stored["kind"] == "freehand" and shape_from_dict(stored) == drawn != Polygon(points)
    assert type(drawn.moved(1, 2)) is Freehand and drawn.moved(1, 2).vertices_xy[0] == (points[0][0] + 1, 21)
    with pytest.raises(StudyError, match="outline needs 3 points, but 2"):
        Freehand(points[:2])
    with pytest.raises(StudyError, match="polygon needs at least 3 corners"):
        Polygon(points[:2])
    with pytest.raises(StudyError, match="list of points"):
        shape_from_dict({"kind": "freehand", "vertices_xy": 3})
    with pytest.raises(StudyError, match="'star' is unknown"):
        shape_from_dict({"kind": "star"})


def test_regions_that_leave_the_image_are_refused() -> None:
    """Up to half a pixel beyond the centres of the border pixels; turned shapes by their reach."""
    fits = Rectangle((27.5, 19.5), (56, 40))  # the whole image of 56 × 40 pixels
    assert mask_inside(fits, SHAPE, "signal").all()
    turned = Ellipse((12, 12), (17, 3), math.pi / 4)  # reaches 12.2 pixels along x and along y
    for region in (
        fits.moved(0.1, 0),
        fits.moved(0, -0.1),
        Ellipse((5, 20), (5.6, 2)),
        Ellipse((53, 20), (2.6, 2)),
        Ellipse((20, 37), (2, 2.6)),
        turned.moved(-0.4, 0),
        Polygon(((1, 1), (9, 1), (5, -1))),
    ):
        with pytest.raises(StudyError, match="The air region reaches from .* of 56 × 40 pixels"):
            mask_inside(region, SHAPE, "air")
    inside = turned.moved(-0.2, -0.2)
    np.testing.assert_array_equal(mask_inside(inside, SHAPE, "air"), inside.mask(SHAPE))
    assert inside.moved(50, 50).mask((200, 200)).sum() == inside.mask(SHAPE).sum()  # nothing was cut


def test_outlines_lie_on_the_borders() -> None:
    """Corners of a turned rectangle by complex numbers; points of an ellipse fulfil its equation."""
    turn = np.exp(0.4j)
    corners = [complex(u, v) * turn + complex(25, 18) for u, v in [(-8, -4), (8, -4), (8, 4), (-8, 4)]]
    found = [complex(*point) for point in Rectangle((25, 18), (16, 8), 0.4).outline()]
    np.testing.assert_allclose(found, corners)
    on_ellipse = (
        np.array([complex(*p) for p in Ellipse((25, 18), (8, 4), 0.4).outline()]) - (25 + 18j)
    ) / turn
    np.testing.assert_allclose((on_ellipse.real / 8) ** 2 + (on_ellipse.imag / 4) ** 2, 1)
    assert len(set(on_ellipse)) == 64
    assert Line((1, 2), (3, 4)).outline() == ((1, 2), (3, 4))


def test_areas_are_counted_pixels() -> None:
    assert area_mm2(12, (2.0, 1.25)) == 30.0
