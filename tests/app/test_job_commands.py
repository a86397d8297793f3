"""`reconstruct` with its cache and cluster, `cache` and `times`, on small scans without a framework."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.cli import main
from recon_backend import cluster
from recon_backend.cluster import FileJob, FileOutcome
from recon_backend.errors import ReconstructionError
from recon_backend.jobs import FinishedMovie
from recon_backend.movie import Movie
from recon_backend.options import ReconstructionOptions
from recon_backend.simulation.phantoms import Phantom
from recon_backend.simulation.scanner import simulate_scan


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("raw") / "S01_radial.h5"
    simulate_scan(
        path, Phantom("short_axis", 0), sampling="radial", frames=3, matrix=32, coils=2, moments_per_frame=1
    )
    return path


def save_movie(
    folder: Path, scan: str, method: str, device: str, reconstruction_s: float, **steps: float
) -> None:
    provenance = {
        "raw_name": scan,
        "raw_sha256": f"sha of {scan}",
        "sampling": "radial",
        "method": method,
        "device": device,
        "created": "2026-11-22T10:00:00+00:00",
        "seconds": {"preparation": 0.5, "reconstruction": reconstruction_s, "writing": 0.01, **steps},
    }
    movie = Movie(np.ones((5, 8, 8), np.float32), (1.0, 1.0), np.arange(5) * 0.05, provenance)
    movie.save(folder / f"{scan}_{method}_{device[:3]}.h5")


def test_a_second_reconstruction_comes_from_the_cache_unless_told_otherwise(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], own_cache: Path
) -> None:
    words = ["reconstruct", str(raw), "--method", "gridded", "--out", str(tmp_path)]
    target = tmp_path / "S01_radial_gridded.h5"
    for options, cached in (([], False), ([], True), (["--no-cache"], False)):
        assert main(words + options) == 0
        captured = capsys.readouterr()
        assert captured.out == f"{target}\n"
        assert ("taken from the cache" in captured.err) == cached
        assert ("from_cache" in Movie.load(target).provenance) == cached
    assert main(["cache", "info", "--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert (info["folder"], info["movies"], info["limit_bytes"]) == (str(own_cache), 1, 5_000_000_000)
    assert info["size_bytes"] > 3 * 32 * 32 * 4
    assert main(["cache", "clear", "--raw", str(raw)]) == 0
    assert "1 kept movie removed" in capsys.readouterr().out
    assert main(words) == 0
    assert main(["cache", "info"]) == 0
    assert "limit   5 GB" in capsys.readouterr().out
    assert main(["cache", "clear"]) == 0
    assert main(["cache", "clear"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("0 kept movies removed")


def test_options_of_a_reconstruction_are_recorded(raw: Path, tmp_path: Path, own_cache: Path) -> None:
    words = ["reconstruct", str(raw), "--method", "gridded", "--out", str(tmp_path)]
    options = ["--sensitivities", "espirit", "--no-delay-correction", "--combination", "adaptive"]
    assert main(words) == 0
    target = tmp_path / "S01_radial_gridded.h5"
    plain = Movie.load(target)
    assert main(words + options) == 0  # not what the cache holds
    chosen = Movie.load(target)
    recorded = chosen.provenance["parameters"]
    assert recorded["sensitivities"] == "espirit"
    assert recorded["correct_delays"] is False
    assert recorded["combination"] == "adaptive"
    assert plain.provenance["parameters"]["sensitivities"] == "inati"
    assert not np.allclose(chosen.frames, plain.frames)


@pytest.mark.parametrize("option", ["settings", "sensitivities", "combination"])
def test_help_names_the_choices_that_there_are(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["reconstruct", "--help"])
    choices = ReconstructionOptions.choices()[option]
    assert f"--{option} {{{','.join(choices)}}}" in " ".join(capsys.readouterr().out.split())


def test_a_limit_that_is_no_number_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BLINDCINE_CACHE_GB", "plenty")
    assert main(["cache", "info"]) == 2
    assert capsys.readouterr().err == (
        "BLINDCINE_CACHE_GB is 'plenty', but a number of gigabytes was expected.\n"
    )


def test_times_are_compared_with_compressed_sensing_of_the_same_scan_and_device(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    movies = tmp_path / "movies"
    for scan, reference_s in (("S1", 20.0), ("S2", 30.0)):
        save_movie(movies, scan, "compressed_sensing", "cpu:0 (tensorflow)", reference_s, reading=0.25)
        save_movie(movies, scan, "dl_natural", "cpu:0 (jax)", 2.0, model_loading=1.5)
    save_movie(movies, "S1", "compressed_sensing", "gpu:0 (tensorflow)", 0.5)
    save_movie(movies, "S1", "dl_natural", "gpu:0 (tensorflow)", 0.1)
    (movies / "other.h5").write_text("no movie")
    Movie(np.ones((2, 8, 8), np.float32), (1.0, 1.0), np.arange(2.0), {}).save(movies / "truth.h5")
    table = tmp_path / "times.csv"
    assert main(["times", str(movies), "--csv", str(table)]) == 0
    rows = list(csv.DictReader(table.read_text().splitlines()))
    found = {
        (row["scan"], row["method"], row["device"][:3]): row["ratio_to_compressed_sensing"] for row in rows
    }
    assert found == {
        ("S1", "compressed_sensing", "cpu"): "1.0",
        ("S1", "compressed_sensing", "gpu"): "1.0",
        ("S1", "dl_natural", "cpu"): "0.1",
        ("S1", "dl_natural", "gpu"): "0.2",
        ("S2", "compressed_sensing", "cpu"): "1.0",
        ("S2", "dl_natural", "cpu"): "0.06667",
    }
    network = next(row for row in rows if row["method"] == "dl_natural" and row["scan"] == "S2")
    steps = ("reading", "preparation", "model_loading", "reconstruction", "writing", "frames")
    assert [network[step] for step in steps] == ["", "0.5", "1.5", "2.0", "0.01", "5"]
    summary = capsys.readouterr().out.split("\n\n")[1].splitlines()
    # Times of different devices are not averaged.
    assert [line.split() for line in summary[1:]] == [
        ["radial", "compressed_sensing", "cpu", "2", "25", "7.07", "1"],
        ["radial", "compressed_sensing", "gpu", "1", "0.5", "1"],
        ["radial", "dl_natural", "cpu", "2", "2", "0", "0.0833"],
        ["radial", "dl_natural", "gpu", "1", "0.1", "0.2"],
    ]


@pytest.mark.parametrize(("name", "sentence"), [("missing.h5", "no such file"), (".", "No movie with times")])
def test_times_of_what_is_no_movie(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, sentence: str
) -> None:
    assert main(["times", str(tmp_path / name)]) == 2
    assert sentence in capsys.readouterr().err


def fake_cluster(
    seen: list[tuple[str, list[FileJob]]], closed: list[bool], fail: BaseException | None = None
) -> Callable[..., Generator[FileOutcome, None, None]]:
    def reconstruct_on_cluster(
        address: str, jobs: Sequence[FileJob], *, progress: Any
    ) -> Generator[FileOutcome, None, None]:
        seen.append((address, list(jobs)))
        try:
            progress("1 of 2 files", 0.5)
            movie = FinishedMovie("gridded", jobs[0].out / "a_gridded.h5", {}, cached=True)
            yield FileOutcome(jobs[0].path, (movie,), worker="node1")
            if fail is not None:
                raise fail
            yield FileOutcome(jobs[1].path, error="b.h5: there is no such file.", worker="node2")
        finally:
            closed.append(True)

    return reconstruct_on_cluster


def test_a_cohort_on_a_cluster_names_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[str, list[FileJob]]] = []
    monkeypatch.setattr(cluster, "reconstruct_on_cluster", fake_cluster(seen, []))
    monkeypatch.chdir(tmp_path)
    words = ["reconstruct", "a.h5", "b.h5", "a.h5", "--out", "out", "--no-cache"]
    assert main([*words, "--cluster", "tcp://host:8786"]) == 2
    captured = capsys.readouterr()
    assert captured.out == f"{tmp_path / 'out' / 'a_gridded.h5'}\n"
    assert captured.err.splitlines()[-2:] == [
        "1 of 2 files are reconstructed (1 movies were there before).",
        f"Failed (on node2): {tmp_path / 'b.h5'}: b.h5: there is no such file.",
    ]
    ((address, jobs),) = seen
    assert address == "tcp://host:8786"
    # Workers stand in other folders: paths are absolute.
    assert jobs[1] == FileJob(tmp_path / "b.h5", ("all",), tmp_path / "out", "auto", use_cache=False)


def test_settings_that_are_not_known_are_one_sentence(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["reconstruct", str(raw), "--method", "gridded", "--out", str(tmp_path)]
    with pytest.raises(SystemExit) as caught:
        main([*words, "--settings", "best"])
    assert caught.value.code == 2
    assert "'best' (choose from 'quality', 'fast', 'published')" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt(), 130), (ReconstructionError("The cluster has no workers."), 2)]
)
def test_an_interrupted_cohort_is_left_in_order(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
) -> None:
    closed: list[bool] = []
    monkeypatch.setattr(cluster, "reconstruct_on_cluster", fake_cluster([], closed, error))
    words = ["reconstruct", "a.h5", "b.h5", "--out", str(tmp_path), "--cluster", "tcp://host:8786"]
    assert main(words) == code
    assert closed == [True]
    assert "Traceback" not in capsys.readouterr().err
