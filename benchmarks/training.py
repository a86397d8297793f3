"""Training speed of the three networks beside the published epoch times, per voxel of the target.

 For each network and precision: steps per second of the training step alone, on real batches from the
simulators, and of the whole loop, which also waits for the simulators. The published runs took 519 steps an
epoch, one clip a step (VarNet 24×240×240 in 1153.7 s, 3D UNet 24×256×256 in 335.9 s, FastDVDNet 240×240 in
13.97 s on an A6000 of 48 GB, float32 with TensorFloat-32 as TensorFlow has it). Steps here are patches, so
what is compared is voxels of the target a second; whole matrices are trained with `--published`.

    python benchmarks/training.py --data FOLDER [--networks varnet,unet3d,fastdvdnet] [--steps 20]
        [--precisions float32,mixed_bfloat16] [--processes 1] [--published] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import numpy as np  # noqa: E402 - after the environment

from recon_backend import device  # noqa: E402
from recon_backend.training.configuration import make_configuration  # noqa: E402
from recon_backend.training.simulators import running_simulators  # noqa: E402
from recon_backend.training.sources import open_source  # noqa: E402

SAMPLINGS = {"varnet": "cartesian", "unet3d": "radial", "fastdvdnet": "spiral"}
PUBLISHED_STEPS = 519
# Seconds an epoch, and voxels of one step's target.
PUBLISHED = {
    "varnet": (1153.7, 24 * 240 * 240),
    "unet3d": (335.9, 24 * 256 * 256),
    "fastdvdnet": (13.97, 240 * 240),
}
_WARM_UP_STEPS = 3


@dataclass(frozen=True)
class Row:
    """One network in one precision.

    Attributes:
        network, precision, device: what ran where.
        patch: target of a step, as text.
        voxels: voxels of a step's target.
        step_seconds: median of the training step alone.
        loop_seconds: mean of the whole loop, waiting for the simulators included.
        voxels_per_second, loop_voxels_per_second: the same as rates.
        published_voxels_per_second: of the published run on an A6000.
        ratio, loop_ratio: ours over the published rate.
    """

    network: str
    precision: str
    device: str
    patch: str
    voxels: int
    step_seconds: float
    loop_seconds: float
    voxels_per_second: float
    loop_voxels_per_second: float
    published_voxels_per_second: float
    ratio: float
    loop_ratio: float


def say(text: str) -> None:
    """Write a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def measure(
    network: str,
    precision: str,
    data: Path,
    cache: Path,
    steps: int,
    processes: int,
    published: bool,
    used: str,
) -> Row:
    """Train for a few steps and time them."""
    from recon_backend.training.fit import Trainer

    settings = {
        "sampling": SAMPLINGS[network],
        "data": str(data),
        "precision": precision,
        "preset": "published" if published else "improved",
    }
    configuration = make_configuration(settings)
    # Decoding is done once and for all runs; it is not part of a step.
    open_source(data, cache, "train", published=published)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(configuration, Path(folder), cache)
        alone: list[float] = []
        with running_simulators(
            sampling=configuration.sampling,
            data=data,
            cache=cache,
            seed=[1],
            patch=configuration.patch_shape,
            processes=processes,
            ranges=configuration.simulation,
            normalisation=configuration.normalisation,
        ) as take:
            for _ in range(_WARM_UP_STEPS):
                target = _step(trainer, take())[1]
            began = time.perf_counter()
            for _ in range(steps):
                alone.append(_step(trainer, take())[0])
            loop = (time.perf_counter() - began) / steps
    step, voxels = float(np.median(alone)), int(target.size)
    seconds, published_voxels = PUBLISHED[network]
    reference = PUBLISHED_STEPS * published_voxels / seconds
    return Row(
        network,
        precision,
        used,
        " × ".join(str(size) for size in target.shape),
        voxels,
        step,
        loop,
        voxels / step,
        voxels / loop,
        reference,
        voxels / step / reference,
        voxels / loop / reference,
    )


def _step(trainer: object, batch: tuple[list[np.ndarray], np.ndarray]) -> tuple[float, np.ndarray]:
    began = time.perf_counter()
    # The loop's own step; its time does not depend on the learning rate.
    trainer._train_step(*batch, 1e-4)  # type: ignore[attr-defined]
    return time.perf_counter() - began, batch[1]


def main() -> None:
    """Run and print; write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="folder of decoded videos (default: a temporary one)")
    parser.add_argument("--networks", default="varnet,unet3d,fastdvdnet")
    parser.add_argument("--precisions", default="float32,mixed_bfloat16")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--published", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = []
    with device.use("auto") as used, tempfile.TemporaryDirectory() as temporary:
        say(f"{used.name}, {os.cpu_count()} CPU cores, {arguments.processes} simulator process(es)")
        for network in arguments.networks.split(","):
            for precision in arguments.precisions.split(","):
                row = measure(
                    network,
                    precision,
                    arguments.data,
                    arguments.cache or Path(temporary),
                    arguments.steps,
                    arguments.processes,
                    arguments.published,
                    used.name,
                )
                rows.append(row)
                say(
                    f"{row.network:<11}{row.precision:<15} target {row.patch:<19} "
                    f"{1 / row.step_seconds:7.2f} steps/s ({1 / row.loop_seconds:.2f} with simulation), "
                    f"{row.voxels_per_second:10,.0f} voxels/s, A6000 as published "
                    f"{row.published_voxels_per_second:10,.0f}: ratio {row.ratio:.3f} ({row.loop_ratio:.3f})"
                )
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
