"""Raw files to movie files: cache, times, provenance, what is left alone, what is prepared once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recon_backend import evaluation, models, reconstruct
from recon_backend.cache import ResultCache, user_cache
from recon_backend.device import Device
from recon_backend.errors import Cancelled, ReconstructionError
from recon_backend.formats import open_acquisition
from recon_backend.jobs import FinishedMovie, method_names, reconstruct_file
from recon_backend.models import ShelfModel
from recon_backend.movie import Movie, read_description
from recon_backend.reconstruct import Preparation, reconstruct_all, result_keys
from recon_backend.tracking import Status, Tracker


@pytest.fixture
def raw(scan: Any, tmp_path: Path) -> Path:
    path: Path = scan(sampling="radial", frames=4, matrix=(16, 16)).write(tmp_path / "scan.h5")
    return path


@pytest.fixture
def cache(own_cache: Path) -> ResultCache:
    found = user_cache()
    assert found is not None
    return found


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A network that doubles the gridded movie, without a framework; the list of what was really computed."""
    calls: list[str] = []
    gridded, prepare = reconstruct._gridded, reconstruct.prepare

    @contextmanager
    def use(_request: str) -> Iterator[Device]:
        yield Device("cpu", "cpu:0 (fake)", "cpu:0")

    def run(_network: object, prepared: Any, report: Callable[[float], None]) -> Any:
        calls.append("network")
        return 2 * gridded(prepared, "root_sum_of_squares", report)

    def run_gridded(prepared: Any, combination: Any, report: Callable[[float], None]) -> Any:
        calls.append("gridded")
        return gridded(prepared, combination, report)

    def counted(*arguments: Any, **options: Any) -> Any:
        calls.append("prepare")
        return prepare(*arguments, **options)

    monkeypatch.setattr(reconstruct.device, "use", use)
    monkeypatch.setattr(reconstruct, "_gridded", run_gridded)
    monkeypatch.setattr(reconstruct, "prepare", counted)
    monkeypatch.setitem(reconstruct._RUNNERS, "unet3d", run)
    monkeypatch.setattr(ShelfModel, "load", lambda _self, _precision: object())
    return calls


def test_a_gpu_that_is_too_small_leaves_the_work_to_the_cpu(
    raw: Path, tmp_path: Path, computed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CPU's movie is delivered, with the device that made it and a sentence that says why."""
    loaded: list[str] = []
    now = "none"

    def choose(request: str) -> Device:
        kind = "cpu" if request == "cpu" else "gpu"
        return Device(kind, f"{kind}:0 (fake)", f"{kind}:0")

    @contextmanager
    def use(request: str) -> Iterator[Device]:
        nonlocal now
        now = choose(request).kind
        yield choose(request)

    class ResourceExhaustedError(MemoryError):
        """What a framework says of its device."""

    network = reconstruct._RUNNERS["unet3d"]

    def run_on(model: Any, prepared: Any, report: Callable[[float], None]) -> Any:
        if now == "gpu":
            raise ResourceExhaustedError
        return network(model, prepared, report)

    def load(_self: ShelfModel, _precision: str) -> object:
        loaded.append(now)
        return object()

    monkeypatch.setattr(reconstruct.device, "choose", choose)
    monkeypatch.setattr(reconstruct.device, "use", use)
    monkeypatch.setattr(reconstruct.device, "precision", lambda: f"the {now}'s")
    monkeypatch.setattr(ShelfModel, "load", load)
    monkeypatch.setitem(reconstruct._RUNNERS, "unet3d", run_on)
    movie = run(raw, tmp_path / "out", "dl_natural")["dl_natural"]
    record = Movie.load(movie.path).provenance
    assert loaded == ["gpu", "cpu"]
    assert record["device"] == "cpu:0 (fake)"
    assert record["parameters"]["precision"] == "the cpu's"
    assert record["notes"][-1].startswith("The GPU's memory does not hold this scan")
    monkeypatch.setattr(reconstruct.device, "choose", lambda _request: choose("cpu"))
    with pytest.raises(MemoryError):  # there is nothing smaller than a CPU
        run(raw, tmp_path / "again", "dl_natural")


def run(raw: Path, out: Path, *methods: str, **options: Any) -> dict[str, FinishedMovie]:
    return {movie.method: movie for movie in reconstruct_file(raw, methods, out, **options)}


def test_the_same_job_is_not_computed_twice(
    raw: Path, tmp_path: Path, cache: ResultCache, computed: list[str]
) -> None:
    first = run(raw, tmp_path / "a", "gridded", "dl_natural", cache=cache)
    assert computed == ["prepare", "gridded", "network"]
    assert not any(movie.cached for movie in first.values())
    renamed = raw.rename(raw.with_name("other.h5"))  # the same data under another name
    second = run(renamed, tmp_path / "b", "dl_natural", "gridded", cache=cache)
    assert computed == ["prepare", "gridded", "network"]
    for method, movie in second.items():
        assert movie.cached
        assert movie.path == tmp_path / "b" / f"other_{method}.h5"
        assert movie.seconds == first[method].seconds
        before, after = Movie.load(first[method].path), Movie.load(movie.path)
        np.testing.assert_array_equal(before.frames, after.frames)
        assert after.provenance.pop("from_cache")
        assert after.provenance == before.provenance
    run(renamed, tmp_path / "c", "gridded")
    assert computed == ["prepare", "gridded", "network", "prepare", "gridded"]


def test_another_job_is_computed(
    raw: Path, cache: ResultCache, computed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    acquisition = open_acquisition(raw)
    list(reconstruct_all(acquisition, ["gridded", "dl_natural"], cache=cache))
    del computed[:]
    list(reconstruct_all(acquisition, ["dl_natural"], cache=cache))
    assert computed == []
    list(reconstruct_all(acquisition.frames_slice(0, 3), ["dl_natural"], cache=cache))
    assert computed == ["prepare", "network"]
    options = {"virtual_coils": 1}
    list(reconstruct_all(Preparation(acquisition, options), ["dl_natural"], cache=cache))
    assert computed == ["prepare", "network"] * 2
    keys = [
        result_keys(Preparation(acquisition), ["compressed_sensing"], name)["compressed_sensing"]
        for name in ("quality", "fast", "published")
    ]
    assert len(set(keys)) == 3
    model = models.find("radial", "natural")
    manifest = dataclasses.replace(model.manifest, weights_sha256="0" * 64)
    monkeypatch.setattr(models, "find", lambda *_: ShelfModel(model.folder, manifest))
    list(reconstruct_all(acquisition, ["dl_natural"], cache=cache))
    assert computed == ["prepare", "network"] * 3


def test_what_is_kept_comes_first_and_only_the_rest_is_computed(
    raw: Path, cache: ResultCache, computed: list[str]
) -> None:
    acquisition = open_acquisition(raw)
    list(reconstruct_all(acquisition, ["dl_natural"], cache=cache))
    del computed[:]
    order = [name for name, _ in reconstruct_all(acquisition, ["gridded", "dl_natural"], cache=cache)]
    assert order == ["dl_natural", "gridded"]
    assert computed == ["prepare", "gridded"]


def test_a_damaged_result_is_computed_again(
    raw: Path, tmp_path: Path, cache: ResultCache, computed: list[str], own_cache: Path
) -> None:
    (first,) = run(raw, tmp_path, "gridded", cache=cache).values()
    (entry,) = (own_cache / "results").iterdir()
    entry.write_bytes(entry.read_bytes()[:-100])
    (second,) = run(raw, tmp_path, "gridded", cache=cache).values()
    assert not second.cached
    assert computed == ["prepare", "gridded"] * 2
    (third,) = run(raw, tmp_path, "gridded", cache=cache).values()
    assert third.cached


def test_times_of_every_step_are_kept(raw: Path, tmp_path: Path, computed: list[str]) -> None:
    movies = run(raw, tmp_path, "gridded", "dl_natural")
    assert set(movies["gridded"].seconds) == {"reading", "preparation", "reconstruction", "writing"}
    assert set(movies["dl_natural"].seconds) == {
        "reading",
        "preparation",
        "model_loading",
        "reconstruction",
        "writing",
    }
    for movie in movies.values():
        assert all(value >= 0 for value in movie.seconds.values())
        frames, provenance = read_description(movie.path)
        assert frames == 4
        assert provenance["seconds"] == movie.seconds
        assert provenance["job_sha256"] == result_keys(Preparation(open_acquisition(raw)), [movie.method])[
            movie.method
        ]


def test_movies_of_this_very_job_are_left_alone(raw: Path, tmp_path: Path, computed: list[str]) -> None:
    run(raw, tmp_path, "gridded", "dl_natural")
    del computed[:]
    (tmp_path / "scan_dl_natural.h5").write_bytes(b"damaged")
    written = (tmp_path / "scan_gridded.h5").stat().st_mtime_ns
    again = run(raw, tmp_path, "gridded", "dl_natural", keep_finished=True)
    assert computed == ["prepare", "network"]
    assert (again["gridded"].cached, again["dl_natural"].cached) == (True, False)
    assert (tmp_path / "scan_gridded.h5").stat().st_mtime_ns == written


def test_progress_names_phases_and_never_goes_back(
    raw: Path, tmp_path: Path, cache: ResultCache, computed: list[str]
) -> None:
    seen: list[Status] = []
    for _ in range(2):
        del seen[:]
        run(raw, tmp_path, "gridded", "dl_natural", progress=seen.append)
    phases = list(dict.fromkeys(status.phase for status in seen))
    label = "Network, natural videos"
    assert phases[0] == "Reading"
    assert set(phases) >= {"Preparing coils", "Gridding (zero-filled)", f"{label}: loading the model", label}
    fractions = [status.fraction for status in seen]
    assert fractions == sorted(fractions)
    # The second run knows what the first one took.
    assert any(status.remaining_s is not None for status in seen)


@pytest.mark.parametrize("phase", ["Reading", "Preparing coils", "Network, natural videos"])
def test_every_phase_can_be_cancelled(raw: Path, tmp_path: Path, computed: list[str], phase: str) -> None:
    def stop(status: Status) -> None:
        if status.phase == phase:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        run(raw, tmp_path / "out", "dl_natural", progress=stop)
    assert not (tmp_path / "out").exists()


def test_names_are_checked_before_work_begins(raw: Path, computed: list[str]) -> None:
    with pytest.raises(ReconstructionError, match="method is 'magic'"):
        reconstruct_all(open_acquisition(raw), ["gridded", "magic"])
    assert computed == []


def test_all_stands_for_what_there_is_for_the_sampling(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = ["gridded", "compressed_sensing", "dl_natural", "dl_cardiac"]
    assert method_names(["all"], "radial") == everything
    assert method_names(["dl_cardiac", "all"], "radial") == ["dl_cardiac", *everything[:3]]
    monkeypatch.setattr(models, "shelf", lambda: [])
    assert method_names(["all"], "radial") == ["gridded", "compressed_sensing"]


def test_evaluation_prepares_each_scan_once(
    raw: Path, tmp_path: Path, cache: ResultCache, computed: list[str]
) -> None:
    acquisition = open_acquisition(raw)
    truth = np.random.default_rng(0).random((4, *acquisition.matrix), np.float32)
    Movie(truth, acquisition.pixel_spacing_mm, acquisition.frame_times_s).save(tmp_path / "scan_truth.h5")
    scores = list(evaluation.evaluate([raw], ["gridded", "dl_natural"], cache=cache))
    assert [(score.method, score.reference) for score in scores] == [
        ("gridded", "plain"),
        ("gridded", "shaded"),
        ("dl_natural", "plain"),
        ("dl_natural", "shaded"),
    ]
    assert computed == ["prepare", "gridded", "network"]
    again = list(evaluation.evaluate([raw], ["gridded", "dl_natural"], cache=cache))
    assert again == scores
    assert computed == ["prepare", "gridded", "network", "prepare"]


def test_a_tracker_can_be_given_and_plain_callbacks_too(raw: Path, computed: list[str]) -> None:
    acquisition = open_acquisition(raw)
    plain: list[tuple[str, float]] = []
    list(reconstruct_all(acquisition, ["gridded"], progress=lambda *both: plain.append(both)))
    tracked: list[Status] = []
    list(reconstruct_all(acquisition, ["gridded"], progress=Tracker(tracked.append)))
    assert {phase for phase, _ in plain} == {status.phase for status in tracked}
