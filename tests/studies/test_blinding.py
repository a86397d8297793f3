"""Opaque ids, encryption, the sealed key, the common grey scale."""

from __future__ import annotations

import json

import numpy as np
import pytest

from studies import blinding
from studies.errors import StudyError


def test_ids_do_not_follow_the_order_of_drawing() -> None:
    """Over 600 draws of three, each place is the smallest about 200 times (5 standard deviations)."""
    draws = [blinding.opaque_ids(3) for _ in range(600)]
    assert len({identifier for draw in draws for identifier in draw}) == 1800
    for place in range(3):
        smallest = sum(draw[place] == min(draw) for draw in draws)
        assert abs(smallest - 200) < 5 * (600 * 2 / 9) ** 0.5


def test_encryption_hides_content_and_length() -> None:
    """Short and long names give equal lengths, and the text comes back under the same context only."""
    key = blinding.new_key()
    short = blinding.encrypt(key, {"method": "cs"}, context="movies 1")
    long = blinding.encrypt(key, {"method": "compressed_sensing" * 9}, context="movies 1")
    assert len(short) == len(long)
    assert short != blinding.encrypt(key, {"method": "cs"}, context="movies 1")
    assert blinding.decrypt(key, short, context="movies 1") == {"method": "cs"}
    with pytest.raises(StudyError, match="movies 2"):
        blinding.decrypt(key, short, context="movies 2")
    with pytest.raises(StudyError):
        blinding.decrypt(blinding.new_key(), short, context="movies 1")
    with pytest.raises(StudyError):
        blinding.decrypt(key, "no base64", context="movies 1")


def test_seal_opens_with_its_passphrase_only(quick_seal: None) -> None:
    """Composed and decomposed letters are one passphrase; a changed header or content is not opened."""
    sealed = blinding.seal({"key": "abc"}, "Zoë's door")
    assert blinding.unseal(sealed, "Zoe\u0308's door") == {"key": "abc"}
    assert b"abc" not in sealed
    with pytest.raises(StudyError, match="passphrase"):
        blinding.unseal(sealed, "Zoe's door")
    document = json.loads(sealed)
    document["header"]["salt"] = "00" * 16
    with pytest.raises(StudyError, match="passphrase"):
        blinding.unseal(json.dumps(document).encode(), "Zoë's door")
    document["header"]["n"] = 2**40
    with pytest.raises(StudyError, match="does not know"):
        blinding.unseal(json.dumps(document).encode(), "Zoë's door")
    with pytest.raises(StudyError, match="damaged"):
        blinding.unseal(b"{}", "Zoë's door")


def test_seal_is_dear_in_earnest() -> None:
    """The shipped cost asks for at least 64 MiB a guess (128 n r bytes)."""
    header = json.loads(blinding.seal({}, "x"))["header"]
    assert 128 * header["n"] * header["r"] >= 64 * 2**20


def test_least_squares_takes_each_arms_own_scale_away() -> None:
    """One movie at three scales looks the same in all panels; joint_percentile shows them as they are."""
    movie = np.random.default_rng(1).random((4, 6, 5)).astype(np.float32)
    movies = [movie, 1000 * movie, 0.01 * movie]
    display = blinding.display_frames(movies, "least_squares")
    assert display.dtype == np.uint8
    assert np.array_equal(display[0], display[1])
    assert np.array_equal(display[0], display[2])
    assert display.max() == 255
    assert display.min() == 0
    joint = blinding.display_frames(movies, "joint_percentile")
    assert joint[1].max() == 255
    assert joint[2].max() == 0


def test_factors_are_those_of_least_squares() -> None:
    """Against numpy.linalg.lstsq on arms that differ in more than scale."""
    rng = np.random.default_rng(2)
    truth = rng.random((3, 7, 7))
    movies = np.stack([scale * (truth + 0.1 * rng.random(truth.shape)) for scale in (1.0, 3.0, 0.2)])
    norms = np.sqrt((movies**2).sum(axis=(1, 2, 3)))
    mean = np.mean([movie / norm for movie, norm in zip(movies, norms, strict=True)], axis=0) * norms.mean()
    expected = [np.linalg.lstsq(movie.reshape(-1, 1), mean.ravel(), rcond=None)[0][0] for movie in movies]
    factors = blinding.arm_factors(movies.astype(np.float32), "least_squares")
    assert factors == pytest.approx(expected, rel=1e-5)


def test_display_does_not_depend_on_the_order_of_the_arms() -> None:
    """Relabelling the arms relabels the panels and does nothing else (to one grey level, by rounding)."""
    movies = np.random.default_rng(3).random((4, 3, 5, 5)).astype(np.float32)
    display = blinding.display_frames(movies)
    turned = blinding.display_frames(movies[[2, 0, 3, 1]])
    assert np.abs(turned.astype(int) - display[[2, 0, 3, 1]].astype(int)).max() <= 1


def test_grey_values_are_linear_between_black_and_white() -> None:
    """0 → 0 and the 99.8th percentile → 255, in between by closed form."""
    ramp = np.linspace(0, 1, 1001, dtype=np.float32)[None, :, None]
    display = blinding.display_frames([ramp, ramp], "joint_percentile")
    expected = np.rint(np.clip(ramp / 0.998 * 255, 0, 255))
    assert np.abs(display[0].astype(float) - expected).max() <= 1
    assert display[0, 0, -1, 0] == 255
    assert display[0, 0, 0, 0] == 0


def test_odd_movies() -> None:
    """Black arms stay black; unknown rules and unequal shapes are refused."""
    zeros = np.zeros((2, 3, 3), np.float32)
    assert not blinding.display_frames([zeros, zeros]).any()
    assert blinding.arm_factors([zeros, zeros + 1], "least_squares")[0] == 1
    with pytest.raises(StudyError, match="'log' is unknown"):
        blinding.display_frames([zeros], "log")
    with pytest.raises(StudyError, match="equal in shape"):
        blinding.display_frames([zeros, zeros[:1]])
