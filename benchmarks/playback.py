"""How smoothly three movies play in a real window while a reconstruction runs beside it.

Plays k movies on one clock in a `PanelRow`, as the reading page does, and prints the share of frames that
were due and not painted, how late the others came, the longest time in which the event loop did nothing else
(a 5 ms timer says so), and how long a clip that lies decoded in memory takes from the request until all its
panels are painted. Goals, on two cores: under 1 % of 3 × 256² at 30 frames a second, no stall over 50 ms,
and a prefetched clip within 100 ms.

    xvfb-run -s "-screen 0 1920x1080x24" python benchmarks/playback.py --load reconstruction
    python benchmarks/playback.py --platform offscreen --load none

With `--load reconstruction` a scan is simulated and `blindcine reconstruct` runs on it over and over, with as
many threads as it likes. `--load FILE` takes raw data of your own.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402 - after the path
from numpy.typing import NDArray  # noqa: E402

HEARTBEAT_MS = 5
GOAL_SKIPPED, GOAL_STALL_MS, GOAL_APPEAR_MS = 0.01, 50.0, 100.0
_AGAIN = "import subprocess, sys\nwhile True:\n    subprocess.run(sys.argv[1:], check=True)\n"


@dataclass
class Result:
    """One measurement: what the JSON file holds."""

    panels: int
    matrix: int
    frames_per_second: float
    seconds: float
    load: str
    platform: str
    cores: int
    load_average: float
    frames_shown: int
    frames_skipped: int
    skipped_share: float
    late_median_ms: float
    late_99_ms: float
    late_worst_ms: float
    stall_99_9_ms: float
    stall_worst_ms: float
    stalls_over_goal: int
    window_cpu_share: float
    clip_appears_median_ms: float
    clip_appears_worst_ms: float
    passes_per_panel: list[int]
    device_pixels_per_pixel: float

    @property
    def reached(self) -> bool:
        """Whether all three goals were reached."""
        return (
            self.skipped_share < GOAL_SKIPPED
            and self.stall_worst_ms <= GOAL_STALL_MS
            and self.clip_appears_worst_ms <= GOAL_APPEAR_MS
        )


def say(text: str) -> None:
    """Print at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def clip(panels: int, frames: int, matrix: int, seed: int) -> NDArray[np.uint8]:
    """Movies with something in every pixel that changes from frame to frame: (panel, t, y, x)."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 255, (panels, frames, matrix, matrix), dtype=np.uint8)


@contextmanager
def beside(load: str, method: str) -> Iterator[str]:
    """Run a load beside the window; gives its name."""
    if load == "none":
        yield "nothing"
        return
    with tempfile.TemporaryDirectory() as folder:
        scan = Path(load)
        if load == "reconstruction":
            from recon_backend.simulation.phantoms import Phantom
            from recon_backend.simulation.scanner import simulate_scan

            scan = Path(folder) / "scan.h5"
            simulate_scan(scan, Phantom("short_axis", 0), sampling="radial", moments_per_frame=1)
        command = [sys.executable, "-m", "app", "reconstruct", str(scan)]
        command += ["--method", method, "--out", str(Path(folder) / "out")]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            [sys.executable, "-c", _AGAIN, *command],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # A group of its own ends as a whole; a session of its own would have its own share of the cores.
            process_group=0,
        )
        try:
            time.sleep(2.0)
            if process.poll() is not None:
                raise SystemExit(f"The reconstruction of {scan} ended at once.")
            yield f"{method} of {'a simulated scan' if load == 'reconstruction' else scan.name}"
            if process.poll() is not None:
                raise SystemExit("The reconstruction ended during the measurement.")
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def measure(arguments: argparse.Namespace, load: str) -> Result:
    """Play for the time asked for and count."""
    from PySide6.QtCore import QEventLoop, Qt, QTimer
    from PySide6.QtWidgets import QApplication

    from app import theme
    from app.widgets.panel_row import PanelRow

    application = QApplication.instance() or QApplication([sys.argv[0]])
    assert isinstance(application, QApplication)
    theme.apply_theme(application)
    frames = arguments.frames
    row = PanelRow()
    row.resize(arguments.width, arguments.height)
    times_s = np.arange(frames) / arguments.rate
    labels = [chr(ord("A") + position) for position in range(arguments.panels)]
    clips = [clip(arguments.panels, frames, arguments.matrix, seed) for seed in range(2)]
    row.show()

    def spin(milliseconds: int) -> None:
        loop = QEventLoop()
        QTimer.singleShot(milliseconds, loop.quit)
        loop.exec()

    # Appearing: from the request for a decoded clip until the last panel has painted its first frame.
    appears_ms = []
    for number in range(arguments.clips):
        began = time.perf_counter()
        row.set_clip(clips[number % 2], labels, times_s)
        row.clock.play()
        while not all(panel.painted for panel in row.panels):
            application.processEvents()
        appears_ms.append(1e3 * (time.perf_counter() - began))
        spin(200)

    row.set_clip(clips[0], labels, times_s)
    row.set_every_frame(arguments.every_frame)
    row.set_integer_scaling(not arguments.fit)
    late_ms: list[float] = []
    beats_s: list[float] = []
    started_s = 0.0

    def painted(_frame: int) -> None:
        due = row.clock.frames_shown + row.clock.frames_skipped
        if started_s and due:
            late_ms.append(1e3 * (time.perf_counter() - started_s - due / arguments.rate))

    row.panels[-1].frame_painted.connect(painted)
    heart = QTimer()
    heart.setTimerType(Qt.TimerType.PreciseTimer)
    heart.timeout.connect(lambda: beats_s.append(time.perf_counter()))
    spin(300)
    heart.start(HEARTBEAT_MS)
    row.clock.play()
    started_s = time.perf_counter()
    cpu_s = time.process_time()
    spin(round(1e3 * arguments.seconds))
    cpu_s = time.process_time() - cpu_s
    wall_s = time.perf_counter() - started_s
    row.clock.pause()
    heart.stop()
    stalls_ms = np.maximum(1e3 * np.diff(beats_s) - HEARTBEAT_MS, 0.0)
    due = row.frames_shown + row.frames_skipped
    result = Result(
        panels=arguments.panels,
        matrix=arguments.matrix,
        frames_per_second=arguments.rate,
        seconds=arguments.seconds,
        load=load,
        platform=f"{application.platformName()}, {platform.system()}",
        cores=os.cpu_count() or 1,
        load_average=os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan"),
        frames_shown=row.frames_shown,
        frames_skipped=row.frames_skipped,
        skipped_share=row.frames_skipped / max(due, 1),
        late_median_ms=float(np.median(late_ms)),
        late_99_ms=float(np.percentile(late_ms, 99)),
        late_worst_ms=float(np.max(late_ms)),
        stall_99_9_ms=float(np.percentile(stalls_ms, 99.9)),
        stall_worst_ms=float(stalls_ms.max()),
        stalls_over_goal=int((stalls_ms > GOAL_STALL_MS).sum()),
        window_cpu_share=cpu_s / wall_s,
        clip_appears_median_ms=float(np.median(appears_ms)),
        clip_appears_worst_ms=float(np.max(appears_ms)),
        passes_per_panel=row.loops_per_panel,
        device_pixels_per_pixel=row.device_pixels_per_pixel[0],
    )
    row.close()
    return result


def main() -> int:
    """Measure and print; 1 if a goal was missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--load", default="reconstruction", help="reconstruction, none, or a raw-data file")
    parser.add_argument("--method", default="compressed_sensing", help="how the load is reconstructed")
    parser.add_argument("--settle", type=float, default=10.0, help="seconds for the load to begin computing")
    parser.add_argument("--platform", default="", help="Qt platform, for instance offscreen")
    parser.add_argument("--panels", type=int, default=3)
    parser.add_argument("--matrix", type=int, default=256)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--rate", type=float, default=30.0, help="frames a second")
    parser.add_argument("--clips", type=int, default=20, help="clips to be shown one after the other")
    parser.add_argument("--every-frame", action="store_true", help="leave no frame out")
    parser.add_argument("--fit", action="store_true", help="fill the panels instead of whole screen pixels")
    parser.add_argument("--width", type=int, default=1880)
    parser.add_argument("--height", type=int, default=960)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.platform:
        os.environ["QT_QPA_PLATFORM"] = arguments.platform
    with beside(arguments.load, arguments.method) as load:
        if load != "nothing":
            time.sleep(arguments.settle)
        result = measure(arguments, load)
    say(
        f"{result.panels} movies of {result.matrix}² at {result.frames_per_second:g} frames/s for "
        f"{result.seconds:g} s beside {result.load} ({result.platform}, {result.cores} cores, "
        f"load average {result.load_average:.1f})"
    )
    say(f"  image pixel            {result.device_pixels_per_pixel:g} × screen pixel")
    due = result.frames_shown + result.frames_skipped
    say(f"  skipped                {result.skipped_share:.2%} of {due} frames")
    say(
        f"  late                   median {result.late_median_ms:.1f}, 99 % within {result.late_99_ms:.1f}, "
        f"worst {result.late_worst_ms:.1f} ms"
    )
    say(
        f"  event loop held up     99.9 % under {result.stall_99_9_ms:.1f}, "
        f"worst {result.stall_worst_ms:.1f} ms; "
        f"{result.stalls_over_goal} over {GOAL_STALL_MS:g} ms"
    )
    say(f"  window's own work      {result.window_cpu_share:.1%} of one core")
    say(
        f"  prefetched clip after  median {result.clip_appears_median_ms:.1f}, "
        f"worst {result.clip_appears_worst_ms:.1f} ms"
    )
    say(f"  complete passes        {', '.join(map(str, result.passes_per_panel))}")
    say(f"  goals                  {'reached' if result.reached else 'MISSED'}")
    if arguments.json:
        arguments.json.write_text(json.dumps(asdict(result), indent=2) + "\n")
    return 0 if result.reached else 1


if __name__ == "__main__":
    sys.exit(main())
