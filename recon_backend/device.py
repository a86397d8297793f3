"""The one place that knows which framework computes, and on what.

 Keras 3 with TensorFlow is the default; `KERAS_BACKEND` chooses another. `use` must be called before tensors
are made: it lets GPU memory grow on demand (the window and other programs share the card) and forbids
TensorFloat-32, whose 10-bit mantissa would spoil the Fourier products.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from recon_backend.errors import ReconstructionError

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# OpenMP threads that spin while another pool works cost up to eight times on few cores.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

DEVICE_CHOICES = ("auto", "cpu", "gpu")
PRECISION_CHOICES = ("auto", "float32", "mixed_bfloat16", "mixed_float16")
# Half the digits must buy this much speed at least.
_GAIN = 1.3


@dataclass(frozen=True)
class Device:
    """Where the tensors live.

    Attributes:
        kind: "cpu" or "gpu".
        name: what provenance records, such as "gpu:0 (tensorflow)".
        keras_name: what `keras.device` takes.
    """

    kind: str
    name: str
    keras_name: str


@contextmanager
def _silenced_stderr() -> Iterator[None]:
    """Hide what TensorFlow's C++ part writes while it is imported: it ignores the log level there."""
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nothing)
        os.close(kept)


@lru_cache(maxsize=1)
def _gpu_count() -> int:
    backend = os.environ["KERAS_BACKEND"]
    if backend == "tensorflow":
        with _silenced_stderr():
            import tensorflow

        gpus = tensorflow.config.list_physical_devices("GPU")
        for gpu in gpus:
            tensorflow.config.experimental.set_memory_growth(gpu, True)
        tensorflow.config.experimental.enable_tensor_float_32_execution(False)
        return len(gpus)
    if backend == "jax":
        import jax

        jax.config.update("jax_default_matmul_precision", "highest")
        return len([device for device in jax.devices() if device.platform == "gpu"])
    import keras

    return len([name for name in keras.distribution.list_devices() if "gpu" in name or "cuda" in name])


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of tensors, compiled and fused by the framework's compiler where it has one.

    Args:
        function: pure function on tensors of fixed shapes, in `keras.ops`.
    """
    backend = os.environ["KERAS_BACKEND"]
    if backend == "tensorflow":
        import tensorflow

        # Without AutoGraph, which rewrites the source into files in the system's temporary folder.
        return tensorflow.function(function, jit_compile=True, autograph=False)
    if backend == "jax":
        import jax

        return jax.jit(function)
    return function


def memory_errors() -> tuple[type[Exception], ...]:
    """The kinds of error among which a framework reports that memory is exhausted."""
    kinds: tuple[type[Exception], ...] = (MemoryError,)
    backend = os.environ["KERAS_BACKEND"]
    if backend == "tensorflow":
        import tensorflow

        kinds += (tensorflow.errors.ResourceExhaustedError, tensorflow.errors.InternalError)
    elif backend == "jax":
        import jax

        kinds += (jax.errors.JaxRuntimeError,)
    return kinds


def is_out_of_memory(error: Exception) -> bool:
    """Whether one of `memory_errors` says that memory is exhausted."""
    words = str(error).lower()
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "ResourceExhaustedError"
        or "resource_exhausted" in words
        or "out of memory" in words
    )


def precision() -> str:
    """The dtype policy in which networks run on the device in use.

    bfloat16 arithmetic (weights, heads and data consistency stay float32) where a convolution timed on the
    device gains by it: matrix units of CPUs (AMX, AVX-512 BF16) and GPUs; float32 elsewhere.
    `BLINDCINE_PRECISION` overrules the timing.

    Raises:
        ReconstructionError: `BLINDCINE_PRECISION` is none of the choices.
    """
    wish = os.environ.get("BLINDCINE_PRECISION", "auto")
    if wish not in PRECISION_CHOICES:
        raise ReconstructionError(
            f"BLINDCINE_PRECISION is {wish!r}, but one of {', '.join(PRECISION_CHOICES)} was expected."
        )
    return _fastest_precision(current().keras_name) if wish == "auto" else wish


@lru_cache(maxsize=4)
def _fastest_precision(keras_name: str) -> str:
    import keras

    seconds = {}
    with keras.device(keras_name):
        for policy in ("float32", "mixed_bfloat16"):
            layer = keras.layers.Conv3D(32, 3, padding="same", dtype=policy)
            apply = compiled(layer) if os.environ["KERAS_BACKEND"] == "jax" else layer
            images = keras.ops.ones((1, 8, 64, 64, 32), "float32")
            keras.ops.convert_to_numpy(apply(images))  # the first call builds and compiles
            runs = []
            for _ in range(3):
                started = time.perf_counter()
                keras.ops.convert_to_numpy(apply(images))
                runs.append(time.perf_counter() - started)
            seconds[policy] = min(runs)
    return "mixed_bfloat16" if _GAIN * seconds["mixed_bfloat16"] < seconds["float32"] else "float32"


def choose(request: str = "auto") -> Device:
    """The device for a request.

    Args:
        request: "auto" (GPU if there is one), "cpu" or "gpu".

    Raises:
        ReconstructionError: a GPU was asked for and there is none, or the request is another word.
    """
    if request not in DEVICE_CHOICES:
        raise ReconstructionError(
            f"device is {request!r}, but one of {', '.join(DEVICE_CHOICES)} was expected."
        )
    gpus = _gpu_count()
    if request == "gpu" and not gpus:
        raise ReconstructionError(
            "No GPU was found by the framework; use --device auto or cpu, or install blindcine[gpu]."
        )
    kind = "cpu" if request == "cpu" or not gpus else "gpu"
    return Device(kind, f"{kind}:0 ({os.environ['KERAS_BACKEND']})", f"{kind}:0")


_in_use: ContextVar[Device | None] = ContextVar("_in_use", default=None)


def current() -> Device:
    """The device of the innermost `use`; outside of any, the one that "auto" chooses."""
    return _in_use.get() or choose()


@contextmanager
def use(request: str = "auto") -> Iterator[Device]:
    """Compute on the chosen device inside the `with` block."""
    device = choose(request)
    import keras

    token = _in_use.set(device)
    try:
        with keras.device(device.keras_name):
            yield device
    finally:
        _in_use.reset(token)
