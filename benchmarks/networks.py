"""Time of the three networks for 24 frames, beside the device's own limit, in one run.

 For each network and precision: seconds for 24 frames (a frame for FastDVDNet, whose first stage is computed
once for each frame), the arithmetic it needs, and the time that arithmetic would take at the speed of the
device's best large matrix product, measured in the same run. Weights are random: time does not depend on
them. The goals are for two CPU cores with AMX and for an H100.

    python benchmarks/networks.py [--matrix 192] [--precisions float32,mixed_bfloat16] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras  # noqa: E402 - after the environment
import numpy as np  # noqa: E402

from recon_backend import device  # noqa: E402
from recon_backend.networks import build_fastdvdnet, build_unet3d, build_varnet  # noqa: E402
from recon_backend.sampling.cartesian import published_mask  # noqa: E402
from recon_backend.sampling.encoding import line_encoding  # noqa: E402

FRAMES, COILS = 24, 10
# Seconds: two CPU cores with AMX, and one H100 (FastDVDNet: per frame).
GOALS = {"unet3d": (2.0, 0.024), "varnet": (3.0, 0.048), "fastdvdnet": (0.020, 0.001)}


@dataclass
class Row:
    """One measurement: what the JSON file lists."""

    network: str
    precision: str
    seconds: float
    gigaflop: float
    limit_seconds: float
    goal_seconds: float
    matrix: int
    device: str


def say(text: str) -> None:
    """Print at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def best_seconds(run: Callable[[], object], repetitions: int) -> float:
    """Shortest of several runs after one that compiles."""
    run()
    times = []
    for _ in range(repetitions):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times)


def convolution_flop(model: keras.Model, shapes: list[tuple[int, ...]]) -> float:
    """Multiplications and additions of all convolutions for inputs of these shapes."""
    inputs = [keras.Input(shape=shape[1:], batch_size=shape[0]) for shape in shapes]
    fixed = keras.models.clone_model(model, input_tensors=inputs if len(inputs) > 1 else inputs[0])
    total = 0.0
    for layer in fixed.layers:
        if isinstance(layer, keras.Model):
            # FastDVDNet's first block: shared by the triples, needed once for each new frame.
            size = shapes[0][1:3]
            total += convolution_flop(layer, [(1, *size, layer.inputs[0].shape[-1])])
        elif isinstance(layer, keras.layers.Conv2D | keras.layers.Conv3D):
            kernel = layer.kernel.shape
            total += 2 * math.prod(kernel) * math.prod(layer.output.shape[1:-1])
    return total


def matmul_flops(precision: str) -> float:
    """FLOP/s of the device's large matrix product in the arithmetic of a precision."""
    dtype = {"float32": "float32", "mixed_bfloat16": "bfloat16", "mixed_float16": "float16"}[precision]
    size = 8192 if device.current().kind == "gpu" else 2048
    left = keras.ops.cast(keras.ops.ones((size, size)), dtype)
    seconds = best_seconds(lambda: np.asarray(keras.ops.matmul(left, left)[0, 0], np.float32), 5)
    return 2 * size**3 / seconds


def cases(matrix: int) -> dict[str, tuple[Callable[[], keras.Model], list[tuple[int, ...]], float]]:
    """For each network: its builder, input shapes, and GFLOP outside of convolutions."""
    lines = int(published_mask(1, matrix).sum())
    consistency = 12 * 2 * 2 * FRAMES * COILS * matrix * (2 * matrix) * (2 * lines)
    return {
        "unet3d": (build_unet3d, [(1, FRAMES, matrix, matrix, 2 * COILS)], 0.0),
        "varnet": (
            build_varnet,
            [
                (1, FRAMES, matrix, matrix, 2),
                (1, COILS, matrix, matrix, 2),
                (1, FRAMES, 2 * matrix, 2 * lines),
            ],
            float(consistency),
        ),
        "fastdvdnet": (build_fastdvdnet, [(1, matrix, matrix, 5)], 0.0),
    }


def run_model(name: str, model: keras.Model, inputs: list[np.ndarray]) -> Callable[[], object]:
    """What is timed: 24 frames, or one new frame of FastDVDNet (one call of each block)."""
    if name != "fastdvdnet":
        given = inputs if len(inputs) > 1 else inputs[0]
        return lambda: np.asarray(model.predict_on_batch(given))
    first, second = model.get_layer("block1"), model.get_layer("block2")
    triple = inputs[0][..., :3]

    def frame() -> object:
        answer = np.asarray(first.predict_on_batch(triple))
        return np.asarray(second.predict_on_batch(np.repeat(answer, 3, axis=-1)))

    return frame


def main() -> None:
    """Run and print; write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--matrix", type=int, default=192)
    parser.add_argument("--precisions", default="float32,mixed_bfloat16")
    parser.add_argument("--networks", default="unet3d,varnet,fastdvdnet")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = []
    with device.use("auto") as used:
        say(f"{used.name}; chosen by the device probe: {device.precision()}")
        for precision in arguments.precisions.split(","):
            keras.config.set_dtype_policy(precision)
            speed = matmul_flops(precision)
            say(f"{precision}: large matrix product {speed / 1e9:.0f} GFLOP/s")
            for name in arguments.networks.split(","):
                build, shapes, further = cases(arguments.matrix)[name]
                model = build()
                flop = convolution_flop(model, shapes) + further
                rng = np.random.default_rng(1)
                inputs = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
                if name == "varnet":
                    inputs[2] = line_encoding(published_mask(FRAMES, arguments.matrix))[None]
                seconds = best_seconds(run_model(name, model, inputs), 3)
                goal = GOALS[name][used.kind == "gpu"]
                row = Row(
                    name,
                    precision,
                    seconds,
                    flop / 1e9,
                    flop / speed,
                    goal,
                    arguments.matrix,
                    used.name,
                )
                rows.append(row)
                what = "a frame" if name == "fastdvdnet" else "for 24 frames"
                say(
                    f"  {name:<11}{seconds:8.3f} s {what}, {row.gigaflop:7.0f} GFLOP, limit "
                    f"{row.limit_seconds:.3f} s ({row.limit_seconds / seconds:.0%} of it), goal {goal:g} s"
                )
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
