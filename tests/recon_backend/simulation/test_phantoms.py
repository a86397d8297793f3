"""The phantoms look alike at every matrix, the heart keeps its intervals, the tongue speaks."""

from __future__ import annotations

import numpy as np
import pytest

from recon_backend.simulation.heart import HeartScene, heart_motion, systole_s
from recon_backend.simulation.phantoms import Phantom, beating_heart, speaking_tongue
from recon_backend.simulation.speech import ARTICULATORS, HeadScene, utter


def _area(curve: np.ndarray) -> float:
    following = np.roll(curve, -1, 0)
    return 0.5 * abs(float(np.sum(curve[:, 1] * following[:, 0] - following[:, 1] * curve[:, 0])))


@pytest.mark.parametrize("make", [beating_heart, speaking_tongue])
def test_movies_are_magnitudes_with_a_peak_of_one(make: object) -> None:
    movie = make(3, (64, 80), 0.1, subject=1)  # type: ignore[operator]
    assert movie.shape == (3, 64, 80)
    assert movie.dtype == np.float32
    assert movie.max() == 1
    assert movie.min() >= 0
    assert np.array_equal(movie, make(3, (64, 80), 0.1, subject=1))  # type: ignore[operator]
    other = make(3, (64, 80), 0.1, subject=2)  # type: ignore[operator]
    assert np.abs(movie - other).max() > 0.2


@pytest.mark.parametrize("plane", ["short_axis", "sagittal_head"])
def test_fine_and_coarse_agree(plane: str) -> None:
    phantom = Phantom(plane)  # type: ignore[arg-type]
    fine = phantom.frames(np.array([0.4]), 180)[0]
    coarse = phantom.frames(np.array([0.4]), 60)[0]
    averaged = np.roll(fine, (1, 1), (0, 1)).reshape(60, 3, 60, 3).mean(axis=(1, 3))
    assert np.sqrt(np.mean((coarse - averaged) ** 2)) < 0.03
    assert np.corrcoef(coarse.ravel(), averaged.ravel())[0, 1] > 0.99


def test_motion_does_not_depend_on_when_it_is_looked_at() -> None:
    late = heart_motion(np.array([0.3, 0.9, 8.0]), 70, 3)
    early = heart_motion(np.array([0.3, 0.9]), 70, 3)
    assert late.contraction[:2] == pytest.approx(early.contraction)
    assert late.breathing[:2] == pytest.approx(early.breathing)
    assert utter(np.array([0.5, 9.0]), 2).positions[0] == pytest.approx(
        utter(np.array([0.5]), 2).positions[0]
    )


@pytest.mark.parametrize("rate", [45.0, 62.0, 90.0, 130.0])
def test_heart_rate_and_intervals(rate: float) -> None:
    times = np.arange(0, 30, 0.002)
    motion = heart_motion(times, rate, 0)
    assert motion.contraction.min() >= 0
    assert motion.contraction.max() <= 1
    rises = np.flatnonzero((motion.contraction[:-1] < 0.5) & (motion.contraction[1:] >= 0.5))
    assert rises.size * 2 == pytest.approx(rate, rel=0.06)
    # Half emptied about 0.13 s after the end of diastole, half filled about as long after systole's end.
    contracted = float(np.mean(motion.contraction > 0.5)) * 60 / rate
    assert contracted == pytest.approx(systole_s(60 / rate), abs=0.05)


def test_slow_heart_rests_in_diastole() -> None:
    times = np.arange(0, 10, 0.005)
    motion = heart_motion(times, 60, 0)
    speed = np.abs(np.gradient(motion.contraction, times))
    resting = (speed < 0.35) & (motion.contraction < 0.3)
    assert 0.15 < resting.mean() < 0.45, "diastasis lasts a good part of a slow beat"
    assert speed.max() > 3, "and ejection is quick beside it"


def test_left_ventricle_empties_and_thickens() -> None:
    scene = HeartScene(0)
    inner_diastole, outer_diastole = scene.radii_mm(0.0)
    inner_systole, outer_systole = scene.radii_mm(1.0)
    fraction = 1 - (inner_systole / inner_diastole) ** 2
    assert 0.5 < fraction < 0.7
    thickening = (outer_systole - inner_systole) / (outer_diastole - inner_diastole)
    assert 1.3 < thickening < 1.8
    assert outer_systole < outer_diastole
    blood, muscle = scene.left_ventricle(0.0, 0.0)
    assert _area(blood) == pytest.approx(np.pi * inner_diastole**2, rel=0.05)
    assert _area(muscle) > 1.4 * _area(blood)


def test_blood_pool_of_the_movie_follows_the_beat() -> None:
    phantom = Phantom("short_axis", heart_rate_per_min=60)
    times = np.arange(16) * 0.07
    movie = phantom.frames(times, 128, 400.0)
    motion = heart_motion(times, 60, 0)
    scene = HeartScene(0)
    bright = []
    axis = (np.arange(128) - 64) * 400 / 128
    for frame in range(16):
        y, x = scene.centre(float(motion.contraction[frame]), float(motion.breathing[frame]))
        near = np.hypot(axis[:, None] - y, axis[None, :] - x) < 26
        bright.append(np.count_nonzero(movie[frame][near] > 0.55))
    assert np.corrcoef(bright, motion.contraction)[0, 1] < -0.9


def test_breathing_moves_the_heart_down() -> None:
    scene = HeartScene(0)
    assert scene.centre(0.0, 1.0)[0] - scene.centre(0.0, 0.0)[0] == pytest.approx(9.0)


def test_counting_says_all_words_with_pauses() -> None:
    times = np.arange(0, 12, 0.01)
    spoken = utter(times, 0)
    assert set(spoken.words.tolist()) == set(range(11))
    changes = spoken.words[np.flatnonzero(np.diff(spoken.words) != 0) + 1]
    first_round = [int(word) for word in changes if word > 0][:12]
    assert first_round == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1, 2]
    assert 0.1 < np.mean(spoken.words == 0) < 0.4


def test_sounds_move_the_right_articulators() -> None:
    times = np.arange(0, 8, 0.005)
    spoken = utter(times, 0)
    column = {name: spoken.positions[:, index] for index, name in enumerate(ARTICULATORS)}
    three, two, five, ten = (spoken.words == word for word in (3, 2, 5, 10))
    assert column["body_x"][three].min() < -0.5, "the tongue comes forward in three"
    assert column["round"][two].max() > 0.8, "the lips are rounded in two"
    assert column["jaw"][five].max() > 0.7, "the jaw opens in five"
    assert column["lips"][five].min() < 0.2, "and the lips close on its f"
    assert column["velum"][ten].max() > 0.8
    assert column["velum"][ten].min() < 0.35, "the palate falls for the n of ten"


def test_tongue_moves_in_the_movie_but_the_brain_does_not() -> None:
    movie = speaking_tongue(14, 96, 0.1)
    spread = movie.std(axis=0)
    axis = (np.arange(96) - 48) * 400 / 96
    brain = (axis[:, None] < -45) & np.ones((1, 96), dtype=bool)
    mouth = (axis[:, None] > 15) & (axis[:, None] < 75) & (axis[None, :] > -90) & (axis[None, :] < -20)
    assert spread[brain].max() < 1e-3
    assert spread[mouth].mean() > 0.03
    scene = HeadScene(0)
    low = scene.tongue(8.0, 0.3, -0.9, -0.3)[:, 0].min()
    high = scene.tongue(1.0, -0.7, 1.0, 0.1)[:, 0].min()
    assert low - high > 10, "more than a centimetre between the vowels of five and three"


def test_refusals() -> None:
    with pytest.raises(ValueError, match="plane"):
        Phantom("coronal")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="30 to 150"):
        beating_heart(2, 32, 0.1, heart_rate_per_min=300)
    with pytest.raises(ValueError, match="negative"):
        Phantom("short_axis").frames(np.array([-1.0]), 32)
    with pytest.raises(ValueError, match="above 0"):
        speaking_tongue(0, 32, 0.1)
