"""Choices beside the method: checked where they come in, recorded, and part of the cache's key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from recon_backend.acquisition import Acquisition
from recon_backend.coils import root_sum_of_squares
from recon_backend.errors import ReconstructionError
from recon_backend.options import ReconstructionOptions
from recon_backend.preparation import prepare
from recon_backend.reconstruct import Preparation, reconstruct_all, result_keys


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        ({"settings": "best"}, "settings is 'best', but one of quality, fast, published was expected."),
        ({"sensitivities": None}, "sensitivities is None, but one of inati, espirit, walsh"),
        ({"correct_delays": 1}, "correct_delays is 1, but one of True, False was expected."),
        ({"combination": ["adaptive"]}, "combination is ['adaptive'], but one of root_sum_of_squares"),
        ({"lambda": 3}, "there is no option 'lambda'; expected some of settings, sensitivities"),
    ],
)
def test_other_values_are_refused_by_name(record: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ReconstructionError) as caught:
        ReconstructionOptions.from_dict(record)
    assert str(caught.value).startswith(sentence)


def test_every_choice_is_accepted_and_only_differences_reach_the_preparation() -> None:
    for name, choices in ReconstructionOptions.choices().items():
        for choice in choices:
            options = ReconstructionOptions.from_dict({name: choice})
            assert ReconstructionOptions.from_dict(options.to_dict()) == options
    assert ReconstructionOptions().preparation() == {}
    chosen = ReconstructionOptions(sensitivities="espirit", correct_delays=False, combination="adaptive")
    assert chosen.preparation() == {"sensitivities": "espirit", "correct_delays": False}


@pytest.fixture
def radial(scan: Callable[..., Any], tmp_path: Any) -> Acquisition:
    from recon_backend.formats import open_acquisition

    return open_acquisition(scan(sampling="radial", frames=6).write(tmp_path / "scan.h5"))


def test_combination_of_coils(radial: Acquisition) -> None:
    prepared = prepare(radial)
    images = prepared.zero_filled(0, radial.frames)
    found, keys = {}, set()
    for how in ("root_sum_of_squares", "adaptive", "sensitivities"):
        preparation = Preparation(radial)
        ((_, movie),) = reconstruct_all(preparation, ["gridded"], combination=how)  # type: ignore[arg-type]
        assert movie.provenance["parameters"]["combination"] == how
        keys.add(result_keys(preparation, ["gridded"], combination=how)["gridded"])  # type: ignore[arg-type]
        found[how] = movie.frames
    assert len(keys) == 3
    np.testing.assert_allclose(found["root_sum_of_squares"], root_sum_of_squares(images), rtol=1e-5)
    by_maps = np.abs(np.einsum("cyx,ctyx->tyx", prepared.sensitivities.conj(), images))
    np.testing.assert_allclose(found["sensitivities"], by_maps, rtol=1e-4, atol=1e-6)
    # Projections onto a unit vector: no combination exceeds the root of the sum of squares.
    for how in ("adaptive", "sensitivities"):
        assert (found[how] <= found["root_sum_of_squares"] * 1.0001 + 1e-6).all()
        assert found[how].mean() > 0.3 * found["root_sum_of_squares"].mean()


def test_preparation_options_are_recorded_and_change_the_key(radial: Acquisition) -> None:
    options = ReconstructionOptions(sensitivities="espirit", correct_delays=False)
    preparation = Preparation(radial, options.preparation())
    ((_, movie),) = reconstruct_all(preparation, ["gridded"])
    parameters = movie.provenance["parameters"]
    assert (parameters["sensitivities"], parameters["correct_delays"]) == ("espirit", False)
    assert result_keys(preparation, ["gridded"]) != result_keys(Preparation(radial), ["gridded"])
