"""Keras 3's own files, `.keras` and `.weights.h5`, of networks with this program's architectures.

`.weights.h5` holds `layers/<class>[_<n>]/vars/<i>` for the n-th layer of a class, nested where models hold
models; `.keras` is a ZIP archive with such a file and `config.json`. Only arrays and JSON are read: no layer
is built from the file, so no Lambda and no class of somebody's own is ever run. Number and width of the
levels follow from the shapes; all paths and shapes, and in a `.keras` file also every layer's settings and
inputs, have to be those of the network that this program builds from them.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import numpy.typing as npt

from recon_backend import models
from recon_backend.errors import FormatError, ReconstructionError
from recon_backend.networks.architectures import Architecture
from recon_backend.preparation import NORMALISATION_RULE, check_rule

SUFFIXES = (".keras", ".h5", ".hdf5")
SAMPLING_OF = {"varnet": "cartesian", "unet3d": "radial", "fastdvdnet": "spiral"}

_ARCHIVED_WEIGHTS, _ARCHIVED_CONFIGURATION = "model.weights.h5", "config.json"
_LARGEST_BYTES = 1 << 31
_MOST_FILTERS, _MOST_LEVELS, _MOST_CASCADES = 1024, 5, 64
# What decides a layer's output; names, initialisers and number formats do not.
_SETTINGS = (
    "filters",
    "kernel_size",
    "strides",
    "padding",
    "dilation_rate",
    "groups",
    "activation",
    "use_bias",
    "negative_slope",
    "pool_size",
    "size",
    "axis",
    "data_format",
)

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class KerasFile:
    """What a file holds.

    Attributes:
        architecture: the network that fits its arrays.
        names: of the variables, in the network's order.
        values: of the variables, in the network's order.
    """

    architecture: Architecture
    names: Sequence[str]
    values: Sequence[npt.NDArray[np.float32]]


def read_keras_file(path: Path) -> KerasFile:
    """Read a `.keras` or `.weights.h5` file.

    Raises:
        FormatError: it is no such file, or not of one of this program's architectures.
    """
    configuration, opened = _opened(path)
    try:
        with h5py.File(opened) as file:
            shapes = _shapes(file)
            architecture = _architecture(path, shapes)
            model = architecture.build("float32", random=False)
            names = {path_in_file: weight for path_in_file, weight in _paths(model)}
            _compare_shapes(path, architecture, shapes, {name: tuple(w.shape) for name, w in names.items()})
            if configuration is not None:
                _compare_layers(path, configuration, json.loads(model.to_json()))
            by_path = {weight.path: np.asarray(file[name][()], np.float32) for name, weight in names.items()}
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        raise FormatError(
            path, f"the weights cannot be read ({_first_line(error)}); expected a file of Keras 3."
        ) from error
    ours = [weight.path for weight in model.weights]
    return KerasFile(architecture, ours, [by_path[name] for name in ours])


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _opened(path: Path) -> tuple[Mapping[str, Any] | None, Path | io.BytesIO]:
    """The configuration, if the file has one, and what h5py opens."""
    if not path.is_file():
        raise FormatError(path, "there is no such file.")
    if not zipfile.is_zipfile(path):
        return None, path
    try:
        with zipfile.ZipFile(path) as archive:
            parts = []
            for name in (_ARCHIVED_CONFIGURATION, _ARCHIVED_WEIGHTS):
                size = archive.getinfo(name).file_size
                if size > _LARGEST_BYTES:
                    raise FormatError(path, f"{name} has {size:,} bytes, expected less than 2 GiB.")
                parts.append(archive.read(name))
        configuration = json.loads(parts[0])
    except KeyError as error:
        raise FormatError(path, f"no Keras 3 file: {error.args[0]}") from error
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, NotImplementedError) as error:
        raise FormatError(path, f"the archive is damaged ({_first_line(error)}).") from error
    if not isinstance(configuration, dict):
        raise FormatError(path, f"{_ARCHIVED_CONFIGURATION} is no JSON object.")
    return configuration, io.BytesIO(parts[1])


def _shapes(file: h5py.File) -> Shapes:
    """All arrays of layers by path; what an optimiser left is passed over."""
    found: Shapes = {}

    def add(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and name.startswith("layers/"):
            found[name] = tuple(item.shape)

    file.visititems(add)
    return found


def _architecture(path: Path, shapes: Shapes) -> Architecture:
    """The network that the number and the widths of the convolutions stand for."""
    cascades = len({name for name in shapes if re.match(r"layers/data_consistency(_\d+)?/", name)})
    if any(name.startswith("layers/functional/layers/conv2d/") for name in shapes):
        network, prefix, per_level, fixed = "fastdvdnet", "layers/functional/layers/conv2d", 5, -2
    elif "layers/conv3d/vars/0" in shapes:
        network, prefix, per_level, fixed = "varnet" if cascades else "unet3d", "layers/conv3d", 4, -1
    else:
        kinds = sorted({re.sub(r"_\d+$", "", name.split("/")[1]) for name in shapes})
        raise FormatError(
            path,
            f"not one of the known networks: its layers are {', '.join(kinds) or 'none'}; expected a VarNet, "
            "3D UNet or FastDVDNet that this program builds.",
        )
    kernels = [shapes[name] for name in _numbered(prefix, shapes)]
    count = len(kernels) // max(1, cascades)
    levels, rest = divmod(count - fixed, per_level)
    if rest or not 2 <= levels <= _MOST_LEVELS or cascades > _MOST_CASCADES:
        raise FormatError(
            path,
            f"a {network} cannot have {len(kernels)} convolutions"
            + (f" in {cascades} cascades." if cascades else "."),
        )
    filters = tuple(shape[-1] if shape else 0 for shape in kernels[: 2 * levels : 2])
    if not all(0 < width <= _MOST_FILTERS for width in filters):
        raise FormatError(path, f"the {network} has {filters} filters, expected 1 to {_MOST_FILTERS}.")
    return Architecture(network, filters, cascades)


def _numbered(prefix: str, shapes: Shapes) -> list[str]:
    """Paths of the kernels of the first, second … layer of a class."""
    names = []
    number = 0
    while (name := f"{prefix}{f'_{number}' if number else ''}/vars/0") in shapes:
        names.append(name)
        number += 1
    return names


def _paths(model: keras.Model, prefix: str = "layers") -> Iterator[tuple[str, keras.Variable]]:
    """Where Keras keeps each variable of a functional model."""
    seen: dict[str, int] = {}
    for layer in model.layers:
        kind = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=.)(?=[A-Z][a-z])", "_", type(layer).__name__).lower()
        number = seen.get(kind, 0)
        seen[kind] = number + 1
        place = f"{prefix}/{kind}{f'_{number}' if number else ''}"
        if isinstance(layer, keras.Model):
            yield from _paths(layer, f"{place}/layers")
        else:
            for index, variable in enumerate(layer.weights):
                yield f"{place}/vars/{index}", variable


def _compare_shapes(path: Path, architecture: Architecture, found: Shapes, expected: Shapes) -> None:
    described = f"a {architecture.network} with filters {list(architecture.filters)}"
    for name, shape in expected.items():
        if name not in found:
            raise FormatError(path, f"{name} is missing; {described} has it, with shape {shape}.")
        if found[name] != shape:
            raise FormatError(path, f"{name} has shape {found[name]}, but {described} has {shape}.")
    more = sorted(set(found) - set(expected))
    if more:
        raise FormatError(path, f"{more[0]}, of shape {found[more[0]]}, has no place in {described}.")


def _compare_layers(
    path: Path, found: Mapping[str, Any], expected: Mapping[str, Any], where: str = ""
) -> None:
    """Compare the layers of two functional models: class, settings and inputs, in order."""
    ours, theirs = _layers(expected), _layers(found)
    if ours is None or theirs is None or found.get("class_name") != expected.get("class_name"):
        raise FormatError(
            path, f"the model{where} is a {found.get('class_name')}, expected one of Keras' functional kind."
        )
    for index, (theirs_one, ours_one) in enumerate(zip(theirs, ours, strict=False)):
        place = f"layer {index}{where} ({_name(theirs_one)})"
        kind, wanted = theirs_one.get("class_name"), ours_one["class_name"]
        if kind != wanted:
            raise FormatError(path, f"{place} is a {kind}, expected a {wanted} ({_name(ours_one)}).")
        if _layers(ours_one) is not None:
            _compare_layers(path, theirs_one, ours_one, f" of {_name(ours_one)}")
        their_settings, our_settings = theirs_one.get("config"), ours_one["config"]
        for setting in _SETTINGS:
            value = their_settings.get(setting) if isinstance(their_settings, dict) else None
            if value != our_settings.get(setting):
                raise FormatError(
                    path, f"{place} has {setting} {value!r}, expected {our_settings.get(setting)!r}."
                )
        if _inputs(theirs_one, theirs) != _inputs(ours_one, ours):
            raise FormatError(
                path, f"{place} has other inputs than {_name(ours_one)} of this program's network."
            )
    if len(theirs) != len(ours):
        raise FormatError(path, f"the model{where} has {len(theirs)} layers, expected {len(ours)}.")


def _layers(model: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The layers of a functional model's configuration; None if it is none."""
    configuration = model.get("config")
    layers = configuration.get("layers") if isinstance(configuration, dict) else None
    if not isinstance(layers, list) or not all(isinstance(layer, dict) for layer in layers):
        return None
    return layers


def _name(layer: Mapping[str, Any]) -> str:
    return str(layer.get("name") or layer.get("config", {}).get("name"))


def _inputs(layer: Mapping[str, Any], layers: Sequence[Mapping[str, Any]]) -> object:
    """A layer's calls with the numbers of other layers in place of their names, and no shapes."""
    numbers = {_name(each): index for index, each in enumerate(layers)}

    def plain(value: object) -> object:
        if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
            history = value.get("config", {}).get("keras_history", [None])
            return ["tensor", numbers.get(str(history[0])), *history[1:]]
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list):
            return [plain(item) for item in value]
        return value

    return plain(layer.get("inbound_nodes"))


def register_file(
    path: Path,
    shelf: Path | None = None,
    *,
    kind: str,
    sampling: str | None = None,
    normalisation: str = NORMALISATION_RULE,
    name: str | None = None,
    data: str = "unknown",
    licence: str = "unknown",
    steps: int | None = None,
    replace: bool = False,
) -> models.Manifest:
    """Put the network of a `.keras` or `.weights.h5` file on a shelf.

    Args:
        path: the file.
        shelf: folder of models; the user's own if None.
        kind: "natural" or "cardiac": what it was trained on.
        sampling: which scans it is for; that of the published network if None.
        normalisation: by which rule its training data were scaled, see `recon_backend.preparation`.
        name: of the model; made of sampling, kind and the file's name if None.
        data: what it was trained on, in words.
        licence: of these data.
        steps: optimiser steps; None if nobody knows.
        replace: overwrite a model of that name that has other weights.

    Raises:
        FormatError: see `read_keras_file`.
        ReconstructionError: an argument has none of its values, or the name is taken.
    """
    check_rule(normalisation)
    if kind not in models.TRAINING_KINDS:
        raise ReconstructionError(f"kind is {kind!r}, expected one of {', '.join(models.TRAINING_KINDS)}.")
    read = read_keras_file(path)
    architecture = read.architecture
    sampling = sampling or SAMPLING_OF[architecture.network]
    if sampling not in SAMPLING_OF.values():
        raise ReconstructionError(
            f"sampling is {sampling!r}, expected one of {', '.join(SAMPLING_OF.values())}."
        )
    if (architecture.network == "varnet") != (sampling == "cartesian"):
        raise ReconstructionError(
            f"{path.name}: a {architecture.network} cannot reconstruct {sampling} scans."
        )
    stem = path.name.split(".")[0]
    manifest = models.Manifest(
        name=name or re.sub(r"[^A-Za-z0-9_-]+", "-", f"{sampling}-{kind}-{stem}")[:64],
        sampling=sampling,
        training_kind=kind,
        network=architecture.network,
        filters=list(architecture.filters),
        cascades=architecture.cascades,
        parameters=0,
        normalisation=normalisation,
        weights_sha256="",
        data=[{"name": data, "licence": licence}],
        steps=steps,
        training_seconds=None,
        validation_ssim=None,
        caution=(
            f"Registered by its owner from {path.name}; its quality was not measured. Not for clinical use."
        ),
        origin=f"file {path.name} of its owner",
    )
    return models.register(shelf, read.values, read.names, manifest, replace=replace)
