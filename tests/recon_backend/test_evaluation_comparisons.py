"""Data sets, samplings, methods: references, ceiling, failures, the best λ, named models, summaries."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from recon_backend import models, reconstruct
from recon_backend.cache import user_cache
from recon_backend.compressed_sensing_settings import CompressedSensingSettings
from recon_backend.device import Device
from recon_backend.errors import Cancelled, ReconstructionError
from recon_backend.evaluation import (
    Case,
    EvaluationOptions,
    Score,
    compare,
    evaluate_cases,
    find_cases,
    summarise,
)
from recon_backend.models import ShelfModel
from recon_backend.movie import Movie
from recon_backend.simulation.ranges import SimulationRanges

FEW = SimulationRanges.published(coils=(2, 2))


@pytest.fixture
def hearts(tmp_path: Path) -> list[Case]:
    """Two patients."""
    with h5py.File(tmp_path / "hearts.h5", "w") as file:
        for number in (1, 2):
            file[f"patient{number}"] = np.random.default_rng(number).integers(
                0, 255, (1, 6, 30, 30), np.uint8
            )
    return find_cases([tmp_path / "hearts.h5"])


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two coils; a network that doubles the gridded movie, without a framework; what was computed."""
    calls: list[str] = []
    gridded, prepare = reconstruct._gridded, reconstruct.prepare

    @contextmanager
    def use(_request: str) -> Iterator[Device]:
        yield Device("cpu", "cpu:0 (fake)", "cpu:0")

    def run(network: Any, prepared: Any, report: Any) -> Any:
        calls.append(network)
        frames = 2 * gridded(prepared, "root_sum_of_squares", report)
        return frames[4:] if prepared.acquisition.sampling == "spiral" else frames

    def run_gridded(*arguments: Any) -> Any:
        calls.append("gridded")
        return gridded(*arguments)

    def counted(*arguments: Any, **options: Any) -> Any:
        calls.append("prepare")
        return prepare(*arguments, **options)

    monkeypatch.setattr(SimulationRanges, "published", staticmethod(lambda: FEW))
    monkeypatch.setattr(reconstruct.device, "use", use)
    monkeypatch.setattr(reconstruct, "_gridded", run_gridded)
    monkeypatch.setattr(reconstruct, "prepare", counted)
    for name in ("varnet", "unet3d", "fastdvdnet"):
        monkeypatch.setitem(reconstruct._RUNNERS, name, run)
    monkeypatch.setattr(ShelfModel, "load", lambda self, _precision: self.manifest.name)
    return calls


def options(*methods: str, **more: Any) -> EvaluationOptions:
    return EvaluationOptions(methods=methods, frames=6, **more)


@pytest.mark.parametrize(("sampling", "frames"), [("cartesian", 6), ("radial", 6), ("spiral", 2)])
def test_all_methods_meet_the_same_frames_and_references(
    hearts: list[Case], computed: list[str], sampling: Any, frames: int
) -> None:
    """The fake network is gridding times two, so both score alike; spirals begin with the fifth frame."""
    chosen = options("gridded", "dl_natural", samplings=(sampling,))
    found = list(evaluate_cases(hearts[:1], chosen))
    assert [comparison.method for comparison in found] == [
        "ceiling",
        "ceiling_with_floor",
        "gridded",
        "dl_natural",
    ]
    ceiling, with_floor, gridded, network = found
    assert [score.reference for score in ceiling.scores] == ["noisy"]
    assert [score.reference for score in gridded.scores] == ["noisy", "truth"]
    for one, other in zip(gridded.scores, network.scores, strict=True):
        assert (one.frames, other.frames) == (frames, frames)
        assert one.ssim == pytest.approx(other.ssim, abs=1e-6)
        assert one.mse_db == pytest.approx(other.mse_db, abs=1e-4)
    assert gridded.scores[0].mse_db > ceiling.scores[0].mse_db > with_floor.scores[0].mse_db
    np.testing.assert_array_equal(gridded.truth, network.truth)
    np.testing.assert_array_equal(gridded.truth, ceiling.truth)
    assert compare(gridded.truth, gridded.images)[2] == pytest.approx(gridded.scores[-1].ssim, abs=1e-6)
    model = models.find(sampling, "natural").manifest.name
    assert (network.scores[0].model, gridded.scores[0].model) == (model, "")
    assert computed == ["prepare", "gridded", model]


def test_what_was_computed_is_not_computed_again(hearts: list[Case], computed: list[str]) -> None:
    chosen = options("gridded", "dl_cardiac", samplings=("radial",), cache=user_cache())
    first = [comparison.scores for comparison in evaluate_cases(hearts, chosen)]
    assert computed.count("radial-cardiac") == 2
    del computed[:]
    again = [comparison.scores for comparison in evaluate_cases(hearts, chosen)]
    assert again == first
    assert set(computed) == {"prepare"}


def test_one_failure_does_not_stop_the_others(
    hearts: list[Case], computed: list[str], tmp_path: Path
) -> None:
    (tmp_path / "damaged.mp4").write_bytes(b"no video")
    damaged = find_cases([tmp_path / "damaged.mp4"])
    failures: list[tuple[str, str, str]] = []
    chosen = options("gridded", samplings=("cartesian", "radial"))
    found = evaluate_cases(
        [*damaged, hearts[0]],
        chosen,
        on_failure=lambda *what: failures.append((what[0].name, what[1], str(what[2]))),
    )
    assert {(comparison.case.name, comparison.sampling) for comparison in found} == {
        ("patient1", "cartesian"),
        ("patient1", "radial"),
    }
    assert [failure[:2] for failure in failures] == [("damaged.mp4", "cartesian"), ("damaged.mp4", "radial")]
    assert all("damaged.mp4" in failure[2] for failure in failures)
    with pytest.raises(ReconstructionError, match=r"damaged\.mp4"):
        list(evaluate_cases(damaged, chosen))


def test_what_cannot_be_done_is_told_before_work_begins(
    hearts: list[Case], computed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ReconstructionError, match="magic"):
        next(evaluate_cases(hearts, options("gridded", "magic"), on_failure=lambda *_: None))
    monkeypatch.setattr(models, "shelf", lambda: [])
    with pytest.raises(ReconstructionError, match="No natural model"):
        next(evaluate_cases(hearts, options("dl_natural"), on_failure=lambda *_: None))
    assert computed == []
    only = options(samplings=("radial",))
    only = dataclasses.replace(only, methods=None)
    monkeypatch.setattr(reconstruct, "_compressed_sensing", fake_compressed_sensing)
    labels = [comparison.method for comparison in evaluate_cases(hearts[:1], only)]
    assert labels == ["ceiling", "ceiling_with_floor", "gridded", "compressed_sensing"]


def test_progress_rises_and_cancels(hearts: list[Case], computed: list[str]) -> None:
    seen: list[tuple[str, float]] = []
    chosen = options("gridded", samplings=("cartesian", "spiral"))
    list(evaluate_cases(hearts, chosen, progress=lambda *both: seen.append(both)))
    fractions = [fraction for _, fraction in seen]
    assert fractions == sorted(fractions) and fractions[-1] <= 1
    assert any(phase.startswith("patient2, spiral: ") for phase, _ in seen)

    def stop(phase: str, _fraction: float) -> None:
        if phase.startswith("patient2"):
            raise Cancelled("stop")

    kept = []
    with pytest.raises(Cancelled):
        for comparison in evaluate_cases(
            hearts, chosen, progress=stop, on_failure=lambda *_: pytest.fail("no failure")
        ):
            kept.append(comparison.case.name)
    assert set(kept) == {"patient1"}


def fake_compressed_sensing(
    prepared: Any, settings: CompressedSensingSettings, _report: Any
) -> tuple[Any, dict[str, Any]]:
    """The nearer λ is to 0.4, the less noise."""
    clean = reconstruct.combined_magnitude(prepared.zero_filled(0, prepared.frames), "root_sum_of_squares")
    error = abs(math.log(settings.relative_regularisation / 0.4))
    noise = np.random.default_rng(0).standard_normal(clean.shape).astype(np.float32)
    return clean + 0.2 * clean.max() * error * noise, {"regularisation": 1.0}


def test_the_best_weight_is_picked_for_each_scan(
    hearts: list[Case], computed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconstruct, "_compressed_sensing", fake_compressed_sensing)
    chosen = options("compressed_sensing", samplings=("radial",), best_grid=(0.1, 0.2, 0.4, 0.8))
    found = list(evaluate_cases(hearts[:1], chosen))
    assert [comparison.method for comparison in found] == [
        "ceiling",
        "ceiling_with_floor",
        "compressed_sensing",
        "compressed_sensing_best",
    ]
    usual, best = found[2].scores[-1], found[3].scores[-1]
    assert (usual.regularisation, best.regularisation) == (0.2, 0.4)
    assert best.ssim > usual.ssim


def test_models_that_are_named_are_used(hearts: list[Case], computed: list[str]) -> None:
    """Two of one kind keep apart; those of other samplings are left out."""
    model = models.find("radial", "natural")
    other = ShelfModel(
        model.folder, dataclasses.replace(model.manifest, name="mine", weights_sha256="0" * 64)
    )
    spiral = models.find("spiral", "cardiac")
    chosen = options("gridded", "dl_cardiac", samplings=("radial",), models=(model, other, spiral))
    found = list(evaluate_cases(hearts[:1], chosen))
    assert [comparison.method for comparison in found] == [
        "ceiling",
        "ceiling_with_floor",
        "gridded",
        "dl_natural",
        "dl_natural (mine)",
    ]
    assert computed == ["prepare", "gridded", "radial-natural", "mine"]


def test_a_measured_scan_has_its_noise_in_every_reference(computed: list[str], tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    path = tmp_path / "raw.h5"
    with h5py.File(path, "w") as file:
        file["kspace"] = rng.standard_normal((1, 6, 2, 240, 240)).astype(np.complex64)
    found = list(evaluate_cases(find_cases([path]), options("gridded", samplings=("cartesian",))))
    assert [(item.method, [score.reference for score in item.scores]) for item in found] == [
        ("gridded", ["noisy"])
    ]


def test_scans_of_other_samplings_are_passed_over(computed: list[str], scan: Any, tmp_path: Path) -> None:
    raw = scan(sampling="radial", frames=4, matrix=(16, 16)).write(tmp_path / "scan.h5")
    truth = np.random.default_rng(0).random((4, 16, 16), np.float32)
    Movie(truth, (1.0, 1.0), 0.05 * np.arange(4)).save(tmp_path / "scan_truth.h5")
    cases = find_cases([raw])
    assert list(evaluate_cases(cases, options("gridded", samplings=("spiral",)))) == []
    assert computed == []


def row(dataset: str, method: str, reference: str, ssim: float, mse_db: float = -20.0) -> Score:
    return Score(dataset, "radial", method, reference, mse_db, -mse_db, ssim, 24, 1.0, "videos", "video")


def test_summaries_are_means_and_closed_gaps() -> None:
    """(0.8 − 0.4) / (0.9 − 0.4) against the noisy target, (0.8 − 0.4) / (1 − 0.4) against the truth."""
    scores = []
    for name, shift in (("a", -0.1), ("b", 0.1)):
        scores.append(row(name, "ceiling", "noisy", 0.9 + shift))
        scores.append(row(name, "ceiling_with_floor", "noisy", 0.95 + shift))
        for reference in ("noisy", "truth"):
            scores.append(row(name, "gridded", reference, 0.4 + shift, -10 + 10 * shift))
            scores.append(row(name, "dl_natural", reference, 0.8 + shift))
    found = {(entry.method, entry.reference): entry for entry in summarise(scores)}
    gridded, network = found["gridded", "noisy"], found["dl_natural", "noisy"]
    assert gridded.n == network.n == 2
    assert gridded.ssim == pytest.approx((0.4, 0.1 * math.sqrt(2)))
    assert gridded.mse_db == pytest.approx((-10.0, math.sqrt(2)))
    assert gridded.gap_closed is None and found["ceiling", "noisy"].gap_closed is None
    assert network.gap_closed == pytest.approx(0.8) and network.ceiling == pytest.approx(0.9)
    assert found["dl_natural", "truth"].gap_closed == pytest.approx(2 / 3)
    assert network.gap_closed_with_floor == pytest.approx(0.4 / 0.55)
    assert found["dl_natural", "truth"].gap_closed_with_floor is None
    alone = summarise(scores[:6])
    assert all(math.isnan(entry.ssim[1]) and entry.n == 1 for entry in alone)
    without = summarise([score for score in scores if (score.dataset, score.method) != ("b", "gridded")])
    assert next(entry for entry in without if entry.method == "dl_natural").gap_closed is None
