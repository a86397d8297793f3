"""The golden record of a model: what its network answers to an input that a formula makes.

A checksum proves that a file is unchanged; the golden record proves that this program, this framework and
this machine make the same network of it. Inputs are sums of cosines, so they are the same everywhere; of the
output the mean, the root mean square (RMS) and some values are kept. A check compares them within a part of
the RMS that covers the differences between frameworks and processors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from recon_backend.errors import ReconstructionError
from recon_backend.sampling.encoding import line_encoding

if TYPE_CHECKING:
    import keras

FORMULA = 1
_SIZE = 16
_FRAMES = 4
_COILS = 3
_VALUES = 12
# In parts of the RMS. Frameworks and processors differ by 2e-6 in float32, and by 0.011 in bfloat16.
TOLERANCES = {"float32": 1e-3, "mixed_float16": 0.05, "mixed_bfloat16": 0.05}

Array = npt.NDArray[np.float32]


def _waves(shape: Sequence[int]) -> Array:
    """A smooth pattern in [−1, 1] with another frequency along each axis."""
    phase = np.zeros(tuple(shape))
    for axis, size in enumerate(shape):
        along = np.arange(size, dtype=np.float64) * (0.37 + 0.23 * axis)
        phase += along.reshape([-1 if index == axis else 1 for index in range(len(shape))])
    return (0.6 * np.cos(phase) + 0.4 * np.cos(2.7 * phase + 0.5)).astype(np.float32)


def golden_inputs(network: str) -> list[Array]:
    """The inputs (with a batch of one) of a network: "varnet", "unet3d" or "fastdvdnet"."""
    if network == "unet3d":
        return [_waves((1, _FRAMES, _SIZE, _SIZE, 20))]
    if network == "fastdvdnet":
        return [0.5 + 0.5 * _waves((1, _SIZE, _SIZE, 5))]
    images = 0.5 * _waves((1, _FRAMES, _SIZE, _SIZE, 2))
    maps = _waves((1, _COILS, _SIZE, _SIZE, 2))
    maps /= np.sqrt((maps**2).sum(axis=(1, 4), keepdims=True) + 1e-6)
    frame, line = np.indices((_FRAMES, _SIZE))
    mask = (np.abs(line - _SIZE // 2) < 2) | ((line + frame) % 5 == 0)
    return [images, maps.astype(np.float32), line_encoding(mask)[None]]


def answer(model: keras.Model, network: str) -> npt.NDArray[np.float64]:
    """The network's output for `golden_inputs`, as one row of numbers."""
    import keras

    inputs = [keras.ops.convert_to_tensor(values) for values in golden_inputs(network)]
    output = model(inputs if len(inputs) > 1 else inputs[0], training=False)
    return np.asarray(keras.ops.convert_to_numpy(output), np.float64).ravel()


def record(model: keras.Model, network: str) -> dict[str, Any]:
    """The golden record of a model that computes in float32.

    Raises:
        ReconstructionError: its output is not finite.
    """
    values = answer(model, network)
    if not np.isfinite(values).all():
        raise ReconstructionError(
            "The network's answer to the golden input is not finite; its weights cannot be used."
        )
    return {
        "formula": FORMULA,
        "size": len(values),
        "mean": float(values.mean()),
        "rms": float(np.sqrt((values**2).mean())),
        "values": [float(value) for value in values[_positions(len(values))]],
    }


def _positions(count: int) -> npt.NDArray[np.intp]:
    return np.linspace(0, count - 1, _VALUES).round().astype(np.intp)


def deviation(model: keras.Model, network: str, expected: Mapping[str, Any]) -> float:
    """The largest difference of the model's answer from its golden record, in parts of the recorded RMS.

    Raises:
        ReconstructionError: the record was made by another formula, or is incomplete.
    """
    values = answer(model, network)
    try:
        formula, size, rms = int(expected["formula"]), int(expected["size"]), float(expected["rms"])
        wanted = np.asarray([expected["mean"], rms, *expected["values"]], np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise ReconstructionError(
            f"The golden record is incomplete ({error!r}); register the model anew."
        ) from error
    if formula != FORMULA:
        raise ReconstructionError(
            f"The golden record is of formula {formula}, but this version knows formula {FORMULA}; "
            "register the model anew."
        )
    if size != len(values) or len(wanted) != _VALUES + 2:
        return float("inf")
    found = np.array([values.mean(), np.sqrt((values**2).mean()), *values[_positions(size)]])
    return float(np.nan_to_num(np.abs(found - wanted).max() / max(rms, 1e-12), nan=np.inf))
