"""The demo: nine simulated scans on their way through the whole house, from raw data to statistics.

Three subjects (two beating hearts, one speaking tongue) are scanned with three samplings by the acquisition
simulator into ISMRMRD files, reconstructed with the three methods of the paper and put into a locked study.
With a window the study opens on the page Read. Headless, a scripted reader who sees just what a reader sees
ranks the panels by their SSIM against the truth, scripted regions and lines are measured, and the study is
unblinded and exported.

Rule: every step leaves finished files or committed events, and a step whose result is there is not done
again; so a demo that was interrupted goes on where it was. The window and the script each have a study of
their own.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from app import __version__
from app.commands.failures import CommandError
from app.commands.study import import_scan
from app.commands.study_measure import measure_clip
from app.commands.terminal import ProgressCallback, progress_bar, say, say_fields

if TYPE_CHECKING:
    from recon_backend.movie import Movie
    from studies.shapes import Shapes
    from studies.state import BlindedClip
    from studies.study import Study

MARKER_NAME = "demo.json"
PASSPHRASE = "blindcine demo"
WINDOW_READERS = ("Reader 1", "Reader 2")
SCRIPTED_READER = "Scripted reader"
SCRIPTED_OBSERVER = "Scripted observer"
# Differences in SSIM that nobody sees are ties.
TIE_DECIMALS = 3


@dataclass(frozen=True)
class DemoScan:
    """What one scan of the demo is made from; see `recon_backend.simulation`."""

    subject: int
    phantom: Literal["short_axis", "sagittal_head"]
    sampling: Literal["cartesian", "radial", "spiral"]
    matrix: int
    tr_s: float | None
    seed: int
    frames: int = 24

    @property
    def stem(self) -> str:
        """Name of the raw file without its ending."""
        return f"subject{self.subject + 1}_{self.phantom}_{self.sampling}"

    @property
    def subject_name(self) -> str:
        """Pseudonym in the study."""
        return f"subject {self.subject + 1}"

    @property
    def plane(self) -> str:
        """Plane in the study."""
        return PLANES[self.phantom]


PLANES = {"short_axis": "short axis", "sagittal_head": "speech"}
SUBJECTS: tuple[Literal["short_axis", "sagittal_head"], ...] = ("short_axis", "short_axis", "sagittal_head")
# One block of frames for the networks, more than a heart beat, small matrices where the sampling allows it
# (the spiral arm is made for 240): five minutes on two cores are not much.
SCANS = tuple(
    scan
    for subject, phantom in enumerate(SUBJECTS)
    for scan in (
        DemoScan(subject, phantom, "cartesian", matrix=144, tr_s=4.5e-3, seed=100 * subject + 1),
        DemoScan(subject, phantom, "radial", matrix=144, tr_s=3.8e-3, seed=100 * subject + 2),
        DemoScan(subject, phantom, "spiral", matrix=240, tr_s=None, seed=100 * subject + 3),
    )
)
MEASUREMENT_WINDOW_S = 1.0
COILS = 6
MOMENTS_PER_FRAME = 2


def run_demo(folder: Path, *, headless: bool, scans: Sequence[DemoScan] = SCANS) -> int:
    """Bring the demo in `folder` to its end; returns the exit code.

    Args:
        folder: of the demo; made if it is not there.
        headless: let a script read and export the results, instead of opening the window.
        scans: what is simulated.

    Raises:
        CommandError: the folder holds something else.
        ReconstructionError: a scan cannot be reconstructed.
        StudyError: the study in the folder is damaged.
    """
    claim_folder(folder, scans)
    simulate(folder, scans)
    reconstruct(folder, scans)
    if not headless:
        from app.commands.window import open_window

        study = make_study(folder / "study", folder, scans, WINDOW_READERS)
        say(f"The study lies in {study.folder}; the passphrase that unblinds it is '{PASSPHRASE}'.")
        return open_window(study.folder, [], "read")
    study = make_study(folder / "study-scripted", folder, scans, (SCRIPTED_READER,))
    results = read_and_export(study, folder, scans)
    say()
    say("The demo is complete. Simulated scans of phantoms, for trying the program; for research use only.")
    say_fields({name: path.resolve() for name, path in results.items()})
    return 0


def claim_folder(folder: Path, scans: Sequence[DemoScan]) -> None:
    """Mark the folder as this demo's, or find that it is.

    Raises:
        CommandError: it holds something else, or a demo with another recipe.
    """
    marker = folder / MARKER_NAME
    recipe = {"demo": 1, "scans": [asdict(scan) for scan in scans]}
    if marker.is_file():
        try:
            found = json.loads(marker.read_text(encoding="utf-8"))
        except ValueError:
            found = None
        if not isinstance(found, dict) or found.get("recipe") != recipe:
            raise CommandError(
                f"{folder} holds a demo of another version of blindcine; delete it, or name another folder."
            )
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CommandError(f"{folder} is not empty and holds no demo; name another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    partial = marker.with_suffix(".partial")
    partial.write_text(json.dumps({"made_by": f"blindcine {__version__}", "recipe": recipe}, indent=1))
    os.replace(partial, marker)


# --- scans and movies


def raw_path(folder: Path, scan: DemoScan) -> Path:
    """Return where the raw data of a scan lie."""
    return folder / "raw" / f"{scan.stem}.h5"


def truth_path(folder: Path, scan: DemoScan) -> Path:
    """Return where the truth of a scan lies."""
    return folder / "raw" / f"{scan.stem}_truth.h5"


def movie_paths(folder: Path, scan: DemoScan, arms: Sequence[str]) -> dict[str, Path]:
    """Return where the movies of a scan lie, by method."""
    return {arm: folder / "movies" / f"{scan.stem}_{arm}.h5" for arm in arms}


def simulate(folder: Path, scans: Sequence[DemoScan]) -> None:
    """Make the raw data that are not there yet, one scan on each core."""
    missing = [scan for scan in scans if not truth_path(folder, scan).is_file()]
    if not missing:
        return
    (folder / "raw").mkdir(exist_ok=True)
    workers = min(len(missing), os.cpu_count() or 1)
    with (
        progress_bar("Simulating scans") as progress,
        # Spawned, because a fork of a process with threads (FINUFFT's, TensorFlow's) can hang.
        ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool,
    ):
        running = {pool.submit(simulate_one, folder, scan): scan for scan in missing}
        for number, finished in enumerate(as_completed(running), start=1):
            finished.result()
            progress(running[finished].stem, number / len(missing))


def simulate_one(folder: Path, scan: DemoScan) -> None:
    """Simulate one scan; its truth is moved into place last and so says that both files are whole."""
    from recon_backend.simulation.phantoms import Phantom
    from recon_backend.simulation.scanner import simulate_scan

    with tempfile.TemporaryDirectory(prefix="partial-", dir=folder / "raw") as partial:
        files = simulate_scan(
            Path(partial) / f"{scan.stem}.h5",
            Phantom(scan.phantom, scan.subject),
            sampling=scan.sampling,
            frames=scan.frames,
            matrix=scan.matrix,
            tr_s=scan.tr_s,
            coils=COILS,
            seed=scan.seed,
            moments_per_frame=MOMENTS_PER_FRAME,
        )
        os.replace(files.raw, raw_path(folder, scan))
        os.replace(files.truth, truth_path(folder, scan))


def reconstruct(folder: Path, scans: Sequence[DemoScan]) -> None:
    """Make the movies that are not there yet."""
    from studies.study import PAPER_ARMS

    waiting = {
        scan: [arm for arm, path in movie_paths(folder, scan, PAPER_ARMS).items() if not path.is_file()]
        for scan in scans
    }
    waiting = {scan: arms for scan, arms in waiting.items() if arms}
    if not waiting:
        return
    from recon_backend.cache import user_cache
    from recon_backend.jobs import reconstruct_file
    from recon_backend.tracking import Status

    cache = user_cache()
    with progress_bar("Reconstructing") as progress:
        for number, (scan, arms) in enumerate(waiting.items()):

            def show(status: Status, number: int = number, stem: str = scan.stem) -> None:
                progress(f"{stem}: {status.phase}", (number + status.fraction) / len(waiting))

            raw, movies = raw_path(folder, scan), folder / "movies"
            for _ in reconstruct_file(raw, arms, movies, cache=cache, progress=show):
                pass  # each is on disk as it comes


# --- the study


def make_study(study_folder: Path, folder: Path, scans: Sequence[DemoScan], readers: Sequence[str]) -> Study:
    """Make and lock the study, or bring one that was interrupted to that point."""
    from studies.folder import StudyFolder
    from studies.study import Study

    if StudyFolder(study_folder).has_log:
        study = Study.open(study_folder)
    else:
        study = Study.create(
            study_folder, name="Demo of simulated scans", measurement_window_s=MEASUREMENT_WINDOW_S
        )
    if study.phase != "design":
        return study
    there = {strata(scan.subject, scan.plane, scan.sampling): scan for scan in study.scans}
    with progress_bar("Making the study") as progress:
        for number, scan in enumerate(scans):
            progress(scan.stem, number / len(scans))
            known = there.get(strata(scan.subject_name, scan.plane, scan.sampling))
            if known is not None and known.complete:
                continue
            scan_id = known.scan_id if known is not None else None
            if scan_id is None:
                scan_id = import_scan(study, raw_path(folder, scan), scan.subject_name, scan.plane)
            study.attach_movies(scan_id, movie_paths(folder, scan, study.arms))
    study.lock(readers, PASSPHRASE)
    return study


def strata(subject: str, plane: str, sampling: str) -> tuple[str, str, str]:
    """Return what tells the demo's scans apart in the study."""
    return subject, plane, sampling


def read_and_export(study: Study, folder: Path, scans: Sequence[DemoScan]) -> dict[str, Path]:
    """Let the script read and measure, unblind the study, export it, and return the files by their names."""
    from studies.report import export
    from studies.report.figures import panel_png

    if study.phase == "reading":
        scan_of = {strata(scan.subject_name, scan.plane, scan.sampling): scan for scan in scans}
        clips = {
            clip.clip_id: scan_of[strata(clip.subject, clip.plane, clip.sampling)] for clip in study.clips
        }
        with progress_bar("Reading and measuring") as progress:
            read_by_script(study, folder, clips, progress)
            for number, (clip_id, scan) in enumerate(clips.items()):
                progress("measuring", 0.5 + 0.5 * number / len(clips))
                clip = study.load_movies(clip_id)
                shapes = scripted_shapes(scan, clip.pixel_spacing_mm, clip.movies.shape[2:])
                measure_clip(study, SCRIPTED_OBSERVER, clip_id, shapes)
        study.unblind(PASSPHRASE, SCRIPTED_OBSERVER)
    exported = export(study, folder / "results")
    panel = folder / "results" / "panel.png"
    panel_png(study.load_clip(study.schedule(SCRIPTED_READER)[0]), panel)
    return {**{path.name: path for path in exported.documents}, "blinded panel": panel}


def read_by_script(
    study: Study, folder: Path, clips: Mapping[str, DemoScan], progress: ProgressCallback
) -> None:
    """Rank every presentation that is left, by the SSIM of what the panel shows against the truth."""
    from recon_backend.movie import Movie

    while (presentation := study.next_presentation(SCRIPTED_READER)) is not None:
        done, total = study.progress(SCRIPTED_READER)
        progress(f"reading {done + 1} of {total}", 0.5 * done / total)
        truth = Movie.load(truth_path(folder, clips[presentation.clip_id]))
        ranks = ranks_by_similarity(study.load_clip(presentation), truth)
        study.commit_ranking(SCRIPTED_READER, presentation, ranks)


def ranks_by_similarity(clip: BlindedClip, truth: Movie) -> tuple[int, ...]:
    """Return competition ranks of the movies on the screen: 1 for the one most like the truth.

    Args:
        clip: what a reader sees; grey values (position, frame, y, x).
        truth: the phantom on the same grid.

    Raises:
        ReconstructionError: clip and truth have no frame time in common.
    """
    from recon_backend.evaluation import compare, matching_frames
    from recon_backend.movie import Movie
    from studies.ranking import competition

    similarities = []
    for display in clip.display:
        movie = Movie(display.astype(np.float32), clip.pixel_spacing_mm, clip.frame_times_s)
        in_movie, in_truth = matching_frames(movie, truth)
        _, _, similarity = compare(truth.frames[in_truth], movie.frames[in_movie])
        similarities.append(round(similarity, TIE_DECIMALS))
    return competition([-similarity for similarity in similarities])


# Positions in mm (x to the right, y down) from the middle of the image, in the phantoms' own anatomy.
HEART_SIGNAL = ((18.0, -18.0), (9.0, 9.0))
HEART_LINE = ((-25.0, -15.0), (18.0, -15.0))
TONGUE_SIGNAL = ((-54.0, 52.0), (10.0, 10.0))
TONGUE_LINE = ((-54.0, 55.0), (-54.0, 20.0))
AIR = ((-165.0, -165.0), (40.0, 40.0))


def scripted_shapes(scan: DemoScan, pixel_spacing_mm: tuple[float, float], shape: tuple[int, int]) -> Shapes:
    """Return what the scripted observer draws: blood pool or tongue, air in a corner, a line across a border.

    Args:
        scan: says which phantom is seen.
        pixel_spacing_mm: (y, x).
        shape: (rows, columns) of the image.
    """
    from studies.shapes import Ellipse, Line, Rectangle, Shapes

    def pixels(point_mm: tuple[float, float]) -> tuple[float, float]:
        return (
            shape[1] // 2 + point_mm[0] / pixel_spacing_mm[1],
            shape[0] // 2 + point_mm[1] / pixel_spacing_mm[0],
        )

    def lengths(size_mm: tuple[float, float]) -> tuple[float, float]:
        return size_mm[0] / pixel_spacing_mm[1], size_mm[1] / pixel_spacing_mm[0]

    signal, line = (
        (HEART_SIGNAL, HEART_LINE) if scan.phantom == "short_axis" else (TONGUE_SIGNAL, TONGUE_LINE)
    )
    return Shapes(
        signal=Ellipse(pixels(signal[0]), lengths(signal[1])),
        background=Rectangle(pixels(AIR[0]), lengths(AIR[1])),
        line=Line(pixels(line[0]), pixels(line[1])),
    )
