"""SNRs without air against simulated noise of known size, and running replica statistics against NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import chi2

from studies.errors import StudyError
from studies.snr import ReplicaStatistics, difference_snr_db, temporal_snr_db

SHAPE = (24, 30)
MASK = np.zeros(SHAPE, bool)
MASK[4:20, 5:25] = True


def test_white_noise_gives_the_snr_that_was_put_in() -> None:
    """Signal 50 with a gradient, noise 2: 27.96 dB by both; a drift of the gain costs the temporal one."""
    rng = np.random.default_rng(1)
    anatomy = 50 + np.linspace(-10, 10, 30)[None, None, :] * np.ones((60, 24, 1))
    anatomy -= anatomy[:, MASK].mean() - 50
    movie = anatomy + rng.normal(0, 2, anatomy.shape)
    expected = 20 * math.log10(25)
    assert temporal_snr_db(movie, MASK) == pytest.approx(expected, abs=0.1)
    series = difference_snr_db(movie, MASK)
    assert series.shape == (59,) and series.mean() == pytest.approx(expected, abs=0.2)
    drifting = movie + np.linspace(0, 20, 60)[:, None, None]
    assert temporal_snr_db(drifting, MASK) < expected - 6
    assert difference_snr_db(drifting - 10, MASK).mean() == pytest.approx(expected, abs=0.25)


def test_by_hand() -> None:
    """Two pixels, three frames: every number can be checked on paper."""
    movie = np.array([[[10.0, 20.0]], [[12.0, 20.0]], [[14.0, 26.0]]])
    mask = np.ones((1, 2), bool)
    # Variances over time: 4 and 12, mean 8; mean value 17.
    assert temporal_snr_db(movie, mask) == pytest.approx(20 * math.log10(17 / math.sqrt(8)))
    # Differences (2, 0): SD sqrt 2, over sqrt 2 is 1, mean 15.5. Differences (2, 6): SD sqrt 8, 2, mean 18.
    expected = [20 * math.log10(15.5), 20 * math.log10(9)]
    np.testing.assert_allclose(difference_snr_db(movie, mask), expected)
    assert math.isnan(temporal_snr_db(movie[:1], mask))
    assert temporal_snr_db(np.ones((3, 1, 2)), mask) == math.inf


def test_a_moving_mask_reads_its_own_pixels() -> None:
    """A region that was followed over a moving object has the noise of the object, not of its movement."""
    rng = np.random.default_rng(2)
    movie, masks = np.zeros((20, 24, 60)), np.zeros((20, 24, 60), bool)
    texture = rng.uniform(40, 60, (16, 20))
    for frame in range(20):
        movie[frame, 4:20, frame : frame + 20] = texture
        masks[frame, 4:20, frame : frame + 20] = True
    movie += rng.normal(0, 1, movie.shape)
    expected = 20 * math.log10(texture.mean())
    assert temporal_snr_db(movie, masks) == pytest.approx(expected, abs=0.2)
    assert difference_snr_db(movie, masks).mean() == pytest.approx(expected, abs=0.2)
    assert temporal_snr_db(movie, masks[9]) < expected - 10
    with pytest.raises(StudyError, match="same pixels"):
        temporal_snr_db(movie, masks & (np.arange(60) < 30))
    with pytest.raises(StudyError, match="shape"):
        temporal_snr_db(movie, masks[:3])


# Replicas


def replicas(count: int, sigma: float = 3.0, seed: int = 3) -> np.ndarray:
    signal = 40 + 10 * np.random.default_rng(0).random((2, *SHAPE))
    return signal + np.random.default_rng(seed).normal(0, sigma, (count, 2, *SHAPE))


def test_running_statistics_equal_numpy() -> None:
    """Mean, SD and SNR to 1e-10 of the stacked replicas, on an offset that ruins a sum of squares."""
    stack = replicas(30) + 1e8
    found = ReplicaStatistics()
    for replica in stack:
        found.add(replica)
    np.testing.assert_allclose(found.mean, stack.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(found.sd, stack.std(axis=0, ddof=1), rtol=1e-7)
    stack = replicas(30)
    found = ReplicaStatistics()
    for replica in stack:
        found.add(replica)
    expected = 20 * np.log10(stack.mean(axis=0) / stack.std(axis=0, ddof=1))
    np.testing.assert_allclose(found.snr_db(), expected, rtol=1e-10)
    clean = np.full((2, *SHAPE), 90.0)
    expected = 20 * np.log10(90 / stack.std(axis=0, ddof=1))
    np.testing.assert_allclose(found.snr_db(clean), expected, rtol=1e-10)


@pytest.mark.parametrize("split", [0, 1, 11, 30])
def test_merged_workers_equal_one(split: int) -> None:
    """Two workers' replicas taken together are all replicas, whatever each had, with their regions."""
    stack = replicas(30)
    parts = [ReplicaStatistics({"heart": MASK}) for _ in range(2)]
    for number, replica in enumerate(stack):
        parts[number >= split].add(replica)
    merged = parts[0].merge(parts[1])
    whole = ReplicaStatistics({"heart": MASK})
    for replica in stack:
        whole.add(replica)
    assert merged.count == 30
    np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(merged.sd, whole.sd, rtol=1e-10)
    for one, other in zip(merged.region_snr("heart"), whole.region_snr("heart"), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10)


def test_region_snr_and_its_jackknife_equal_a_loop() -> None:
    """SNR of the region by definition, and its standard error by really leaving out each replica."""
    stack = replicas(12)
    found = ReplicaStatistics({"heart": MASK})
    for replica in stack:
        found.add(replica)

    def snr(chosen: np.ndarray, signal: np.ndarray | None) -> np.ndarray:
        values = chosen[:, :, MASK]
        level = values.mean(axis=(0, 2)) if signal is None else signal[:, MASK].mean(axis=1)
        return 20 * np.log10(level / np.sqrt(values.var(axis=0, ddof=1).mean(axis=1)))

    for signal in (None, np.full((2, *SHAPE), 70.0)):
        result = found.region_snr("heart", signal)
        np.testing.assert_allclose(result.snr_db, snr(stack, signal), rtol=1e-10)
        fewer = np.array([snr(np.delete(stack, number, axis=0), signal) for number in range(12)])
        error = np.sqrt(11 / 12 * ((fewer - fewer.mean(axis=0)) ** 2).sum(axis=0))
        np.testing.assert_allclose(result.standard_error_db, error, rtol=1e-8)
        assert (result.low_db < result.snr_db).all() and (result.snr_db < result.high_db).all()


def test_uncertainties_are_those_of_repeated_experiments() -> None:
    """Standard errors foretell the spread over 200 experiments of 16 replicas; intervals hold the truth."""
    pixel, region, errors, region_errors, covered, in_chi2 = [], [], [], [], 0, 0
    truth = 20 * math.log10(50 / 3)
    mask = np.ones((4, 5), bool)
    rng = np.random.default_rng(5)
    for _ in range(200):
        found = ReplicaStatistics({"all": mask})
        for _ in range(16):
            found.add(50 + rng.normal(0, 3, (1, 4, 5)))
        pixel.append(found.snr_db()[0, 0, 0])
        errors.append(found.standard_error_db()[0, 0, 0])
        result = found.region_snr("all")
        region.append(result.snr_db[0])
        region_errors.append(result.standard_error_db[0])
        covered += bool(result.low_db[0] < truth < result.high_db[0])
        low, high = found.sd_interval_factors()
        in_chi2 += bool(low * found.sd[0, 0, 0] < 3 < high * found.sd[0, 0, 0])
    assert np.mean(errors) == pytest.approx(np.std(pixel, ddof=1), rel=0.2)
    assert np.mean(region_errors) == pytest.approx(np.std(region, ddof=1), rel=0.2)
    assert 180 <= covered <= 198 and 180 <= in_chi2 <= 198


def test_sd_interval_is_the_chi_square_one() -> None:
    found = ReplicaStatistics()
    for replica in replicas(8):
        found.add(replica)
    low, high = found.sd_interval_factors(0.9)
    assert low == pytest.approx(math.sqrt(7 / chi2.ppf(0.95, 7)))
    assert high == pytest.approx(math.sqrt(7 / chi2.ppf(0.05, 7)))


def test_replicas_that_do_not_fit_are_refused() -> None:
    found = ReplicaStatistics({"heart": MASK})
    with pytest.raises(StudyError, match="0 replicas"):
        _ = found.mean
    found.add(replicas(1)[0])
    with pytest.raises(StudyError, match="at least 2"):
        _ = found.sd
    with pytest.raises(StudyError, match="shape"):
        found.add(np.ones((3, *SHAPE)))
    with pytest.raises(StudyError, match="not numbers"):
        found.add(np.full((2, *SHAPE), np.nan))
    with pytest.raises(StudyError, match="no region 'liver'; the regions are heart"):
        found.region_snr("liver")
    with pytest.raises(StudyError, match="at least 3"):
        found.region_snr("heart")
    with pytest.raises(StudyError, match="different shapes or regions"):
        found.merge(ReplicaStatistics().add(replicas(1)[0]))
    with pytest.raises(StudyError, match="different shapes or regions"):
        ReplicaStatistics().add(np.ones((1, *SHAPE))).merge(ReplicaStatistics().add(replicas(1)[0]))
    wrong = ReplicaStatistics({"heart": MASK.T})
    with pytest.raises(StudyError, match="shape"):
        wrong.add(replicas(1)[0])
    assert wrong.count == 0
