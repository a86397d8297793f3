"""Weak orders and their codings, against scipy.stats.rankdata and enumeration."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from scipy.stats import rankdata

from studies import ranking
from studies.errors import StudyError


@pytest.mark.parametrize("arms", [1, 2, 3, 4])
def test_codings_equal_scipy_rankdata(arms: int) -> None:
    """All digit strings of k movies give the codings of an independent implementation."""
    for digits in product(range(1, arms + 1), repeat=arms):
        assert ranking.competition(digits) == tuple(rankdata(digits, method="min"))
        assert ranking.dense(digits) == tuple(rankdata(digits, method="dense"))
        assert ranking.mid_ranks(digits) == tuple(rankdata(digits, method="average"))


@pytest.mark.parametrize(("arms", "count"), [(1, 1), (2, 3), (3, 13), (4, 75), (5, 541)])
def test_number_of_weak_orders_is_the_fubini_number(arms: int, count: int) -> None:
    """The number of weak orders is known (OEIS A000670), and each is its own normal form."""
    orders = ranking.weak_orders(arms)
    assert len(orders) == len(set(orders)) == count
    assert all(ranking.normalise(order, arms) == order for order in orders)
    assert set(permutations(range(1, arms + 1))) <= set(orders)


def test_typed_forms_of_one_order_are_one() -> None:
    """(1, 1, 2), (1, 1, 3) and (2, 2, 3) say the same."""
    assert {ranking.normalise(typed, 3) for typed in [(1, 1, 2), (1, 1, 3), (2, 2, 3)]} == {(1, 1, 3)}


def test_mid_ranks_keep_their_sum() -> None:
    """Mid-ranks sum to k (k + 1) / 2 for every weak order; the other codings do not."""
    assert {sum(ranking.mid_ranks(order)) for order in ranking.weak_orders(4)} == {10.0}


@pytest.mark.parametrize(
    ("ranks", "said"),
    [
        ((1, 2), "needs 3 ranks"),
        ((0, 1, 2), "from 1 to 3"),
        ((1, 2, 4), "movie 3"),
        ((1, 1.5, 2), "1.5"),
        ((1, float("nan"), 2), "finite"),
    ],
)
def test_wrong_rankings_are_refused(ranks: tuple[float, ...], said: str) -> None:
    """The error names what is wrong."""
    with pytest.raises(StudyError, match=said):
        ranking.normalise(ranks, 3)  # type: ignore[arg-type]


def test_numpy_ranks_become_plain_integers() -> None:
    """What is stored must be JSON."""
    assert [type(rank) for rank in ranking.normalise(np.array([2, 2, 1]))] == [int, int, int]


def test_describe() -> None:
    """Best first, ties joined."""
    assert ranking.describe((1, 3, 1), "ABC") == "A = C > B"
    assert ranking.describe((2, 2, 2), "ABC") == "A = B = C"


def test_what_is_no_ranking_at_all_is_refused() -> None:
    """No movies, more than are enumerated, other labels than movies."""
    with pytest.raises(StudyError, match="at least one movie"):
        ranking.competition(())
    for arms in (0, ranking.MAXIMUM_ARMS + 1):
        with pytest.raises(StudyError, match=f"1 to {ranking.MAXIMUM_ARMS} movies, not for {arms}"):
            ranking.weak_orders(arms)
    with pytest.raises(StudyError, match="2 ranks need 2 labels, but 3"):
        ranking.describe((1, 2), ("A", "B", "C"))
