"""The Cartesian pattern equals the published table, and other sizes and draws keep its rule."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from recon_backend.sampling.cartesian import cartesian_rule, published_lines, published_mask, random_mask

REFERENCE = Path(__file__).parents[2] / "data" / "sampling_reference.json"


def test_published_lines_equal_the_table() -> None:
    table = json.loads(REFERENCE.read_text())["cartesian_rows"]
    for frame, drawn in enumerate(table):
        assert published_lines(frame).tolist() == sorted([*range(116, 124), *drawn])
        assert published_lines(frame + 15).tolist() == published_lines(frame).tolist()


def test_published_mask_counts_and_untouched_rows() -> None:
    mask = published_mask(32)
    assert mask.shape == (32, 240)
    assert np.all(mask.sum(axis=1) == 17)
    assert not mask[:, :96].any()
    assert np.flatnonzero(~mask[:, 96:].any(axis=0)).tolist() == [169 - 96]


@pytest.mark.parametrize("matrix", [48, 64, 128, 192, 224, 256, 384])
def test_other_matrices_keep_the_rule(matrix: int) -> None:
    rule = cartesian_rule(matrix)
    mask = published_mask(rule.cycle, matrix)
    assert np.all(mask.sum(axis=1) == matrix // 14)
    assert mask[:, rule.centre].all()
    assert rule.centre[len(rule.centre) // 2] == matrix // 2
    others = np.delete(np.arange(matrix), rule.centre)
    assert mask[:, others].sum(axis=0).max() == 1, "a row outside the centre is drawn once a cycle at most"


def test_random_mask_is_another_draw_of_the_same_rule() -> None:
    first = random_mask(15, 240, np.random.default_rng(1))
    again = random_mask(15, 240, np.random.default_rng(1))
    other = random_mask(15, 240, np.random.default_rng(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, published_mask(15))
    assert np.all(first.sum(axis=1) == 17)
    assert first[:, 116:124].all()
    assert not first[:, :96].any()
    assert first[:, 96:].sum() == 15 * 17


def test_refusals() -> None:
    with pytest.raises(ValueError, match="32 or more"):
        published_mask(3, 16)
    with pytest.raises(ValueError, match="at least one frame"):
        published_mask(0)
