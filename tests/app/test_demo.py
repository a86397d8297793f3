from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from app import demo
from app.cli import main
from app.commands import window
from app.commands.failures import CommandError
from recon_backend import reconstruct as reconstruction
from recon_backend.movie import Movie
from recon_backend.reconstruct import Preparation
from recon_backend.tracking import Tracker
from studies.profiles import line_profile
from studies.shapes import Shapes
from studies.state import BlindedClip
from studies.study import PAPER_ARMS

SCANS = (
    demo.DemoScan(0, "short_axis", "cartesian", matrix=48, tr_s=None, seed=1, frames=6),
    demo.DemoScan(1, "sagittal_head", "radial", matrix=48, tr_s=None, seed=2, frames=6),
)
# The reader must rank in this order: the fake reconstructions are the truth with more and more noise.
NOISE = dict(zip(("dl_cardiac", "compressed_sensing", "dl_natural"), (0.02, 0.1, 0.3), strict=True))


@pytest.fixture
def reconstructed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Reconstruction by looking up the truth; returns the list of what was reconstructed."""
    done: list[str] = []

    def reconstruct_all(
        preparation: Preparation, names: Sequence[str], *, progress: Tracker, **_options: object
    ) -> Iterator[tuple[str, Movie]]:
        acquisition = preparation.acquisition
        rng = np.random.default_rng(7)
        for name in names:
            done.append(f"{acquisition.name} {name}")
            progress.look()
            truth = Movie.load(TRUTHS / f"{acquisition.name}_truth.h5")
            frames = np.abs(truth.frames + NOISE[name] * rng.standard_normal(truth.frames.shape))
            yield name, Movie(17 * frames, acquisition.pixel_spacing_mm, acquisition.frame_times_s)

    monkeypatch.setattr(reconstruction, "reconstruct_all", reconstruct_all)
    return done


TRUTHS = Path()


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Raw data of the small demo, made as the demo makes them."""
    folder = tmp_path_factory.mktemp("simulated")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo.os, "cpu_count", lambda: 1)
        demo.simulate(folder, SCANS)
    return folder / "raw"


@pytest.fixture
def folder(tmp_path: Path, simulated: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A demo whose scans are simulated; doing so again is an error."""
    folder = tmp_path / "demo"
    demo.claim_folder(folder, SCANS)
    shutil.copytree(simulated, folder / "raw")
    monkeypatch.setitem(globals(), "TRUTHS", folder / "raw")
    monkeypatch.setattr(demo, "simulate_one", None)
    return folder


def test_headless_demo_ranks_measures_and_exports_and_goes_on_where_it_was(
    folder: Path, reconstructed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo.run_demo(folder, headless=True, scans=SCANS) == 0
    assert len(reconstructed) == len(SCANS) * len(PAPER_ARMS)
    output = capsys.readouterr().out
    for name in ("ranking.csv", "measurements.csv", "statistics.csv", "report.html", "panel.png"):
        assert str(folder / "results" / name) in output
        assert (folder / "results" / name).stat().st_size > 0

    with (folder / "results" / "ranking.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(SCANS) * len(PAPER_ARMS)
    ranks = {arm: {row["rank_competition"] for row in rows if row["method"] == arm} for arm in PAPER_ARMS}
    assert ranks == {arm: {str(place)} for place, arm in enumerate(NOISE, start=1)}

    with (folder / "results" / "measurements.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(SCANS) * len(PAPER_ARMS)

    before = (folder / "results" / "ranking.csv").read_bytes()
    assert demo.run_demo(folder, headless=True, scans=SCANS) == 0
    assert len(reconstructed) == len(SCANS) * len(PAPER_ARMS), "complete movies were made again"
    assert (folder / "results" / "ranking.csv").read_bytes() == before


def test_an_interrupted_demo_repeats_only_what_is_missing(
    folder: Path, reconstructed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = demo.make_study

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "make_study", killed)
    with pytest.raises(KeyboardInterrupt):
        demo.run_demo(folder, headless=True, scans=SCANS)
    monkeypatch.setattr(demo, "make_study", whole)
    lost = folder / "movies" / f"{SCANS[0].stem}_dl_natural.h5"
    lost.unlink()
    reconstructed.clear()
    assert demo.run_demo(folder, headless=True, scans=SCANS) == 0
    assert reconstructed == [f"{SCANS[0].stem} dl_natural"]


def test_with_a_window_the_study_opens_on_read_and_is_not_read_yet(
    folder: Path, reconstructed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[tuple[Path, str]] = []

    def open_window(study: Path, files: list[Path], page: str) -> int:
        opened.append((study, page))
        return 0

    monkeypatch.setattr(window, "open_window", open_window)
    assert demo.run_demo(folder, headless=False, scans=SCANS) == 0
    assert opened == [(folder / "study", "read")]
    assert main(["study", "status", str(opened[0][0])]) == 0


def test_foreign_folders_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(CommandError, match="is not empty and holds no demo"):
        demo.claim_folder(tmp_path, SCANS)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]
    demo.claim_folder(tmp_path / "new", SCANS)
    with pytest.raises(CommandError, match="another version"):
        demo.claim_folder(tmp_path / "new", SCANS[:1])


def test_the_scripted_reader_ties_equal_movies() -> None:
    rng = np.random.default_rng(1)
    truth = Movie(rng.random((3, 32, 32), dtype=np.float32), (2.0, 2.0), np.arange(3) * 0.05)
    good = np.round(200 * truth.frames).astype(np.uint8)
    bad = np.round(200 * rng.random((3, 32, 32))).astype(np.uint8)
    times = truth.frame_times_s
    clip = BlindedClip("presentation", "clip", np.stack([bad, good, good]), times, (2.0, 2.0))
    assert demo.ranks_by_similarity(clip, truth) == (3, 1, 1)


@pytest.mark.parametrize("scan", demo.SCANS[::3], ids=lambda scan: scan.stem)
def test_scripted_regions_lie_in_blood_or_tongue_and_in_air(scan: demo.DemoScan) -> None:
    from recon_backend.simulation.phantoms import Phantom

    matrix, spacing_mm = 160, 2.5
    frames = Phantom(scan.phantom, scan.subject).frames(np.arange(5) * 0.21, matrix)
    shapes: Shapes = demo.scripted_shapes(scan, (spacing_mm, spacing_mm), (matrix, matrix))
    assert shapes.signal is not None and shapes.background is not None and shapes.line is not None
    inside = frames[:, shapes.signal.mask((matrix, matrix))]
    air = frames[:, shapes.background.mask((matrix, matrix))]
    assert air.shape[1] > 100
    assert air.max() < 1e-3
    # Blood or muscle of the tongue; the papillary muscles may touch the region when the heart contracts.
    assert np.mean(inside > 0.6 * inside.max()) > 0.95
    along = line_profile(frames, shapes.line.start_xy, shapes.line.end_xy).values
    assert np.all(along.min(axis=1) < 0.5 * along.max(axis=1)), "the line meets no border"
