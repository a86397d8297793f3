"""The same numbers from TensorFlow and from JAX: solver, networks, loss and one training step.

The JAX process finds a user's `keras.json` that asks for another precision and layout: it must not matter.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
import numpy as np
from recon_backend import compressed_sensing as solver
from recon_backend import device, normal_operators
import keras
from recon_backend.networks import build_fastdvdnet, build_unet3d, build_varnet
from recon_backend.preparation import prepare
from recon_backend.sampling.encoding import line_encoding
from recon_backend.simulation.videos import SimulationRanges, complex_object, simulate
from recon_backend.training.losses import training_loss

def fill(model):
    rng = np.random.default_rng(1)
    shapes = [value.shape for value in model.get_weights()]
    model.set_weights([0.05 * rng.standard_normal(shape).astype("f") for shape in shapes])
    return model

rng = np.random.default_rng(2)
results = {}
with device.use("cpu"):
    for sampling, operators in (("cartesian", ["Cartesian"]), ("radial", ["Toeplitz", "Finufft"])):
        movie = complex_object(rng.integers(0, 255, (6, 32, 32, 3), dtype=np.uint8), rng, SimulationRanges())
        prepared = prepare(simulate(movie, sampling, rng).acquisition)
        settings = solver.CompressedSensingSettings(iterations=4, eigenvalue_iterations=8)
        for wanted in operators:
            # In place of a timing, which may pick another operator for each backend.
            normal_operators._seconds = lambda one, probe: not type(one).__name__.startswith(wanted)
            result = solver.compressed_sensing(prepared, settings)
            assert result.operator == wanted + "Normal"
            results["cs_" + wanted] = np.abs(result.images)
    unet = fill(build_unet3d((4, 4, 8), in_channels=4))
    results["unet3d"] = unet.predict_on_batch(rng.standard_normal((1, 8, 16, 16, 4)).astype("f"))
    fastdvdnet = fill(build_fastdvdnet((4, 4, 8)))
    windows = rng.random((2, 32, 32, 5)).astype("f")
    results["fastdvdnet"] = fastdvdnet.predict_on_batch(windows)
    mask = rng.random((4, 16)) < 0.4
    mask[:, 8] = True
    inputs = [rng.standard_normal(s).astype("f") for s in ((1, 4, 16, 8, 2), (1, 3, 16, 8, 2))]
    inputs.append(line_encoding(mask)[None])
    results["varnet"] = fill(build_varnet((4, 4, 4), 2)).predict_on_batch(inputs)
    fastdvdnet.compile(
        optimizer=keras.optimizers.Adam(1e-3, clipnorm=1.0),
        loss=lambda truth, image: training_loss(truth[..., 0], image[..., 0], 1.0),
        jit_compile="auto" if keras.backend.backend() == "jax" else False,  # as in training
    )
    results["losses"] = np.array([fastdvdnet.train_on_batch(windows, windows[..., -1:]) for _ in range(3)])
results["backend"] = np.array(keras.backend.backend())
np.savez(sys.argv[1], **results)
"""


def start(backend: str, path: Path) -> subprocess.Popen[str]:
    # The compiler's optimisation takes three times as long as all else, and rounds no better.
    quick = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    environment = dict(
        os.environ, KERAS_BACKEND=backend, PYTHONPATH=str(ROOT), JAX_PLATFORMS="cpu", XLA_FLAGS=quick
    )
    if backend == "jax":
        environment["KERAS_HOME"] = str(path.parent)
        strange = {"floatx": "float16", "image_data_format": "channels_first"}
        (path.parent / "keras.json").write_text(json.dumps(strange))
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(path)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )


def test_jax_gives_the_numbers_of_tensorflow(tmp_path: Path) -> None:
    """Within single-precision rounding; the backends are really two."""
    found = []
    with ExitStack() as stack:
        processes = {}
        for backend in ("tensorflow", "jax"):
            processes[backend] = stack.enter_context(start(backend, tmp_path / f"{backend}.npz"))
            stack.callback(processes[backend].kill)
        for backend, process in processes.items():
            complaints = process.communicate(timeout=300)[1]
            assert process.returncode == 0, complaints
            with np.load(tmp_path / f"{backend}.npz") as data:
                found.append(dict(data))
    one, two = found
    assert (str(one.pop("backend")), str(two.pop("backend"))) == ("tensorflow", "jax")
    assert one.keys() == two.keys()
    for name, expected in one.items():
        np.testing.assert_allclose(two[name], expected, atol=2e-4 * np.abs(expected).max(), err_msg=name)
