"""Error against time of compressed sensing: blindcine beside BART, bartorch and SigPy, in one run.

All methods get the same k-space, maps and number of threads and minimise the same kind of objective (½‖Ax −
y‖² plus temporal total variation) at the best of a few weights each. Error: NRMSE and SSIM of the magnitude
against the truth, after one least-squares factor. Time: planning and solving; of the command-line programs
the whole process with its files; of blindcine both the first call in a process, which compiles, and the
second. Without `--data` the program makes its own problems out of its phantom.

    python benchmarks/compressed_sensing.py [--data DIR] [--peers bart,bartorch,sigpy] [--json FILE]

`bartorch` and `sigpy` may live in an environment of their own: `--peer-python PATH`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np  # noqa: E402 - after the environment

from recon_backend import compressed_sensing as solver  # noqa: E402
from recon_backend import device  # noqa: E402
from recon_backend.acquisition import Acquisition  # noqa: E402
from recon_backend.compressed_sensing_settings import (  # noqa: E402
    SETTINGS,
    CompressedSensingSettings,
)
from recon_backend.evaluation import ssim_map_mean  # noqa: E402
from recon_backend.fourier import NonuniformFourier, centred_ifft  # noqa: E402
from recon_backend.preparation import Prepared  # noqa: E402

SAMPLINGS = ("cartesian", "radial", "spiral")
FILES = {"cartesian": "cartesian17.npz", "radial": "radial13.npz", "spiral": "spiral15.npz"}
# The best error that anybody's temporal total variation reached on the files of `--data`.
GATE = {"cartesian": 0.0881, "radial": 0.0805, "spiral": 0.0545}
# Physical limits in seconds for 24 frames and 15 iterations, by arithmetic and memory traffic: of an H100,
# and of two CPU cores at 15 GFLOP/s in FFTs and 130 in products.
LIMIT_S = {
    "gpu": {"cartesian": 0.0015, "radial": 0.005, "spiral": 0.005},
    "cpu": {"cartesian": 0.45, "radial": 2.0, "spiral": 2.0},
}
LIMIT_FRAMES = 24
HERE = Path(__file__).resolve().parent


@dataclass
class Problem:
    """One benchmark problem: k-space in the file's layout, maps, truth."""

    sampling: str
    kspace: np.ndarray
    maps: np.ndarray
    truth: np.ndarray
    mask: np.ndarray | None = None
    trajectory: np.ndarray | None = None
    weights: np.ndarray | None = None


@dataclass
class Row:
    """One run: what the JSON file lists."""

    sampling: str
    method: str
    seconds: float
    nrmse: float
    ssim: float
    iterations: int
    settings: str


def load(folder: Path, sampling: str) -> Problem:
    """Read a benchmark file; k in cycles per field of view, order (x, y)."""
    with np.load(folder / FILES[sampling]) as data:
        truth = data["truth_re_im"].astype(np.float32)
        magnitude, maps = np.hypot(truth[..., 0], truth[..., 1]), np.ascontiguousarray(data["maps"])
        frames, size = len(truth), truth.shape[1]
        if sampling == "cartesian":
            kspace = np.zeros((maps.shape[0], frames, size, size), np.complex64)
            for frame, lines in enumerate(data["lines"]):
                kspace[:, frame, lines] = data["kspace"][frame]
            return Problem(sampling, kspace, maps, magnitude, mask=data["mask"].astype(bool))
        kspace = np.ascontiguousarray(np.moveaxis(data["kspace"], 1, 0))
        trajectory = np.clip(2 * np.pi / size * data["traj"][..., ::-1], -np.pi, np.pi).astype(np.float32)
        weights = data["dcf"].astype(np.float32)
        return Problem(sampling, kspace, maps, magnitude, trajectory=trajectory, weights=weights)


def make(sampling: str, folder: Path, frames: int) -> Problem:
    """A problem from the project's own phantom and scan simulator, with maps from the data."""
    from recon_backend.formats import open_acquisition
    from recon_backend.movie import Movie
    from recon_backend.preparation import prepare
    from recon_backend.simulation.heart import BeatingHeart
    from recon_backend.simulation.scanner import simulate_scan

    path = folder / f"{sampling}.h5"
    files = simulate_scan(path, BeatingHeart(0), sampling=sampling, frames=frames, coils=10)
    acquisition = open_acquisition(files.raw)
    prepared = prepare(acquisition)
    magnitude = Movie.load(files.truth).frames
    return Problem(
        sampling,
        prepared.kspace if acquisition.mask is None else _whole_kspace(prepared, acquisition.mask),
        prepared.sensitivities,
        magnitude,
        acquisition.mask,
        acquisition.trajectory,
        prepared.weights,
    )


def _whole_kspace(prepared: Prepared, mask: np.ndarray) -> np.ndarray:
    from recon_backend.fourier import centred_fft

    return centred_fft(prepared.kspace, (3,)).astype(np.complex64) * mask[None, :, :, None]


def error(images: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """NRMSE and SSIM of the magnitude after one least-squares factor."""
    image = np.abs(images)
    image = image * float((image * truth).sum() / (image * image).sum())
    nrmse = float(np.linalg.norm(image - truth) / np.linalg.norm(truth))
    peak = float(truth.max())
    ssim = np.mean([ssim_map_mean(t / peak, i / peak) for t, i in zip(truth, image, strict=True)])
    return nrmse, float(ssim)


def prepared_of(problem: Problem) -> Prepared:
    """The problem as blindcine's solver takes it."""
    size = problem.truth.shape[1:]
    times = np.arange(len(problem.truth)) * 0.05
    acquisition = Acquisition(
        problem.sampling,
        problem.kspace,
        (size[0], size[1]),
        (400.0, 400.0),
        times,
        mask=problem.mask,
        trajectory=problem.trajectory,
    )
    compression = np.eye(len(problem.maps), dtype=np.complex64)
    if problem.mask is not None:
        hybrid = centred_ifft(problem.kspace, (3,)).astype(np.complex64)
        return Prepared(acquisition, hybrid, problem.maps, 1.0, compression)
    fourier = NonuniformFourier(problem.trajectory, acquisition.matrix)
    return Prepared(acquisition, problem.kspace, problem.maps, 1.0, compression, problem.weights, fourier)


def ours(problem: Problem) -> Iterator[Row]:
    """Blindcine at its named settings; the first call of a process compiles."""
    prepared = prepared_of(problem)
    quality_s = 0.0
    with device.use("auto") as used:
        for settings in [*TUNED.get(problem.sampling, []), *SETTINGS.values()]:
            for call in ("first call", "second call"):
                started = time.perf_counter()
                result = solver.compressed_sensing(prepared, settings)
                seconds = time.perf_counter() - started
                if settings.name == "quality":
                    quality_s = seconds
                label = f"blindcine {settings.name}, {call} ({used.kind})"
                yield Row(
                    problem.sampling,
                    label,
                    seconds,
                    *error(result.images, problem.truth),
                    settings.iterations,
                    f"lambda={result.regularisation:.3g} {result.operator}",
                )
        limit_s = LIMIT_S[used.kind][problem.sampling] * len(problem.truth) / LIMIT_FRAMES
        say(
            f"{problem.sampling}: the limit of such a {used.kind} is {limit_s:.3g} s; quality took "
            f"{quality_s / limit_s:.1f} times that."
        )


def write_cfl(path: Path, values: np.ndarray, dimensions: list[int]) -> None:
    """BART's format: dimensions fastest first."""
    path.with_suffix(".hdr").write_text("# Dimensions\n" + " ".join(map(str, dimensions)) + "\n")
    np.ascontiguousarray(values, np.complex64).tofile(path.with_suffix(".cfl"))


def bart_files(problem: Problem, folder: Path) -> list[str]:
    """Write k-space, maps and trajectory for `bart pics`; frames are dimension 10."""
    coils, size = len(problem.maps), problem.truth.shape[1]
    frames = len(problem.truth)
    write_cfl(folder / "maps", problem.maps, [size, size, 1, coils])
    middle = [1] * 6
    if problem.mask is not None:
        values = np.moveaxis(problem.kspace, 0, 1)  # frame, coil, ky, kx: the slowest first
        write_cfl(folder / "kspace", values, [size, size, 1, coils, *middle, frames])
        return []
    readouts, samples = problem.kspace.shape[2:]
    values = np.moveaxis(problem.kspace, 0, 1)
    write_cfl(folder / "kspace", values, [1, samples, readouts, coils, *middle, frames])
    cycles = problem.trajectory[..., ::-1] * size / (2 * np.pi)
    points = np.concatenate([cycles, np.zeros_like(cycles[..., :1])], axis=-1)
    write_cfl(folder / "trajectory", points, [3, samples, readouts, 1, *middle, frames])
    return ["-t", "trajectory"]


def read_image(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """A BART image series as (frame, y, x)."""
    return np.fromfile(path.with_suffix(".cfl"), np.complex64).reshape(shape)


# As with the peers, the weights that are best on the files of `--data`.
TUNED = {
    "cartesian": [CompressedSensingSettings("tuned", 0.015, iterations=16, proximal_steps=10)],
    "radial": [CompressedSensingSettings("tuned", 0.08, iterations=11, proximal_steps=12)],
    "spiral": [CompressedSensingSettings("tuned", 0.06, iterations=12, proximal_steps=24)],
}
BART_RUNS = {
    "cartesian": [("-i", "60", "0.03"), ("-i", "100", "0.03")],
    "radial": [("-i", "30", "0.01"), ("-i", "60", "0.01")],
    "spiral": [("-i", "30", "0.004"), ("-i", "60", "0.004")],
}
BARTORCH_RUNS = {
    "cartesian": [("40", "0.03"), ("60", "0.03")],
    "radial": [("30", "0.01"), ("60", "0.01")],
    "spiral": [("30", "0.004"), ("60", "0.004")],
}
SIGPY_RUNS = {"cartesian": [("8", "0.012")]}


def _pics(program: list[str], problem: Problem, label: str, options: list[str], weight: str) -> Row:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trajectory = bart_files(problem, folder)
        command = [*program, "pics", "-S", "-e", *options, "-R", f"T:1024:0:{weight}", *trajectory]
        started = time.perf_counter()
        subprocess.run(
            [*command, "kspace", "maps", "image"], cwd=folder, check=True, stdout=subprocess.DEVNULL
        )
        seconds = time.perf_counter() - started
        image = read_image(folder / "image", problem.truth.shape)
    iterations = int(options[options.index("-i") + 1])
    shown = " ".join([*options, "-R", f"T:1024:0:{weight}"])
    return Row(problem.sampling, label, seconds, *error(image, problem.truth), iterations, shown)


def bart(problem: Problem, _python: str) -> Iterator[Row]:
    """The BART on the path (Debian's, if its package is installed), ADMM."""
    program = shutil.which("bart")
    if program is None:
        raise FileNotFoundError("bart is not installed (apt-get install bart)")
    for *options, weight in BART_RUNS[problem.sampling]:
        yield _pics([program], problem, "bart", options, weight)


def bartorch(problem: Problem, python: str) -> Iterator[Row]:
    """bartorch: BART's own primal-dual command on a grid, ADMM on its FINUFFT operator off it."""
    for iterations, weight in BARTORCH_RUNS[problem.sampling]:
        if problem.mask is not None:
            # Its own reading of the command knows no frames; the command itself, in its process, does.
            command = "from bartorch._dispatch import run_command; sys.exit(-run_command(sys.argv[1:])[0])"
            program = [python, "-c", f"import sys; {command}"]
            yield _pics(program, problem, "bartorch", ["-i", iterations, "-a"], weight)
            continue
        cycles = problem.trajectory[..., ::-1] * problem.truth.shape[1] / (2 * np.pi)
        points = np.concatenate([cycles, np.zeros_like(cycles[..., :1])], axis=-1).astype(np.float32)
        arrays = {"maps": problem.maps, "kspace": problem.kspace, "trajectory": points}
        yield _script("bartorch", problem, python, arrays, iterations, weight)


def sigpy(problem: Problem, python: str) -> Iterator[Row]:
    """SigPy's ADMM on the grid; off the grid it has no operator for a trajectory that changes by frame."""
    for iterations, weight in SIGPY_RUNS.get(problem.sampling, []):
        arrays = {"maps": problem.maps, "kspace": problem.kspace, "mask": problem.mask}
        yield _script("sigpy", problem, python, arrays, iterations, weight)


def _script(
    name: str, problem: Problem, python: str, arrays: dict[str, np.ndarray], iterations: str, weight: str
) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "problem.npz", Path(folder) / "result.npz"
        np.savez(source, **arrays)
        script = HERE / f"peer_{name}.py"
        subprocess.run(
            [python, str(script), str(source), str(target), weight, iterations],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        with np.load(target) as result:
            image, seconds = result["image"], float(result["seconds"])
    return Row(
        problem.sampling,
        name,
        seconds,
        *error(image, problem.truth),
        int(iterations),
        f"lambda={weight}",
    )


PEERS = {"bart": bart, "bartorch": bartorch, "sigpy": sigpy}


def say(text: str) -> None:
    """Print at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def show(row: Row) -> None:
    """One line of the table."""
    say(
        f"{row.sampling:<10}{row.method:<42}{row.seconds:>8.2f} s  NRMSE {row.nrmse:.4f}  "
        f"SSIM {row.ssim:.3f}  {row.iterations:>4} it  {row.settings}"
    )


def show_ratios(rows: list[Row], gates: dict[str, float]) -> None:
    """How many times faster blindcine is than each peer, at an error that is at most the peer's best."""
    for sampling in SAMPLINGS:
        own = [row for row in rows if row.sampling == sampling and row.method.startswith("blindcine")]
        for peer in PEERS:
            runs = [row for row in rows if row.sampling == sampling and row.method == peer]
            if not runs or not own:
                continue
            best = min(runs, key=lambda row: row.nrmse)
            gate = min(best.nrmse, gates.get(sampling, best.nrmse))
            for call in ("first call", "second call"):
                # The gates are known to four decimals.
                good = [row for row in own if round(row.nrmse, 4) <= round(gate, 4) and call in row.method]
                if not good:
                    say(f"{sampling}: no {call} of blindcine reaches NRMSE {gate:.4f}.")
                    continue
                quickest = min(good, key=lambda row: row.seconds)
                say(
                    f"{sampling}: {best.seconds / quickest.seconds:.1f} times faster than {peer} at its best "
                    f"({best.seconds:.1f} s, NRMSE {best.nrmse:.4f}): {quickest.method}, "
                    f"{quickest.seconds:.2f} s, NRMSE {quickest.nrmse:.4f}."
                )


def main() -> None:
    """Run and print; write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with cartesian17.npz, radial13.npz, spiral15.npz")
    parser.add_argument("--peers", default="bart,bartorch,sigpy", help="comma-separated; empty for none")
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter with bartorch and sigpy")
    parser.add_argument("--frames", type=int, default=24, help="of the problems that are made (no --data)")
    parser.add_argument("--samplings", default=",".join(SAMPLINGS))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    peers = [name for name in arguments.peers.split(",") if name]
    if unknown := set(peers) - set(PEERS):
        parser.error(f"unknown peers: {', '.join(sorted(unknown))}; known: {', '.join(PEERS)}")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for sampling in arguments.samplings.split(","):
            problem = (
                load(arguments.data, sampling)
                if arguments.data
                else make(sampling, Path(folder), arguments.frames)
            )
            sources = [ours(problem)] + [PEERS[name](problem, arguments.peer_python) for name in peers]
            for source in sources:
                try:
                    for row in source:
                        show(row)
                        rows.append(row)
                except (FileNotFoundError, subprocess.CalledProcessError) as failure:
                    say(f"{sampling}: a peer did not run: {failure}")
    show_ratios(rows, GATE if arguments.data else {})
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
