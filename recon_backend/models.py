"""The model shelf: trained networks with manifests that say what they are, checked before they are used.

 A model is a folder with `manifest.json` and `weights.h5`. The weights are one HDF5 data set for each
variable, in the order of the network, in float16 or float32; the manifest holds their SHA-256, the
architecture, the data with licences, the steps, the validation figures and the normalisation rule. Nothing is
executed on loading.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import numpy.typing as npt

from recon_backend.errors import ReconstructionError
from recon_backend.storage import replacing, write_durably

if TYPE_CHECKING:
    import keras

MANIFEST_NAME = "manifest.json"
WEIGHTS_NAME = "weights.h5"
FORMAT = "blindcine-model-1"
SHELF_VARIABLE = "BLINDCINE_MODELS"


@dataclass(frozen=True)
class Manifest:
    """What a model is; the fields are the keys of `manifest.json`.

    Attributes:
        name: unique on the shelf, such as "cartesian-natural".
        sampling: "cartesian", "radial" or "spiral".
        training_kind: "natural" or "cardiac".
        network: "varnet", "unet3d" or "fastdvdnet".
        filters, cascades, parameters: size of the network.
        normalisation: rule that scales the data (see `recon_backend.preparation`).
        weights_sha256: SHA-256 of the weights file.
        data: what it was trained on, one entry for each source with name, licence and count.
        steps: optimiser steps.
        training_seconds: wall time of training.
        validation_ssim: SSIM on clips or patients never trained on.
        caution: one honest sentence for the window, empty if there is nothing to warn of.
        details: hardware, code version, settings.
        format: file format of the model.
    """

    name: str
    sampling: str
    training_kind: str
    network: str
    filters: Sequence[int]
    cascades: int
    parameters: int
    normalisation: str
    weights_sha256: str
    data: Sequence[Mapping[str, Any]]
    steps: int
    training_seconds: float
    validation_ssim: float
    caution: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    format: str = FORMAT

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read `manifest.json`.

        Raises:
            ReconstructionError: the file is missing, no JSON, or lacks a field.
        """
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            manifest = cls(**record)
        except OSError as error:
            raise ReconstructionError(
                f"{path}: the model's manifest cannot be read ({error.strerror})."
            ) from error
        except (ValueError, TypeError) as error:
            raise ReconstructionError(f"{path}: not a model manifest of this version ({error}).") from error
        if manifest.format != FORMAT:
            raise ReconstructionError(
                f"{path}: model format is {manifest.format!r}, but {FORMAT!r} was expected."
            )
        return manifest

    def write(self, path: Path) -> None:
        """Write `manifest.json`, atomically."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"
        write_durably(path, text.encode())


@dataclass(frozen=True)
class ShelfModel:
    """A model found on the shelf: its folder and manifest."""

    folder: Path
    manifest: Manifest

    def verify(self) -> None:
        """Compare the weights with the manifest's SHA-256.

        Raises:
            ReconstructionError: the weights are missing or were changed.
        """
        path = self.folder / WEIGHTS_NAME
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise ReconstructionError(
                f"{path}: the model's weights cannot be read ({error.strerror})."
            ) from error
        if digest != self.manifest.weights_sha256:
            raise ReconstructionError(
                f"{path}: the weights do not match their manifest; install the model again."
            )

    def load(self, precision: str = "float32") -> keras.Model:
        """Build the network and assign the verified weights.

        Args:
            precision: the Keras dtype policy that it computes in, see `device.precision`.

        Raises:
            ReconstructionError: the weights are missing, changed, or of other shapes than the network.
        """
        from recon_backend.networks.architectures import Architecture

        self.verify()
        manifest = self.manifest
        architecture = Architecture(manifest.network, tuple(manifest.filters), manifest.cascades)
        model = architecture.build(precision)
        weights = read_weights(self.folder / WEIGHTS_NAME)
        expected = [tuple(value.shape) for value in model.weights]
        if [value.shape for value in weights] != expected:
            raise ReconstructionError(
                f"{self.folder / WEIGHTS_NAME}: the weights do not fit a "
                f"{manifest.network} with filters {manifest.filters}."
            )
        model.set_weights(weights)
        return model


def shelf_folders() -> list[Path]:
    """Folders that hold models: the one of `BLINDCINE_MODELS` first, then the shipped ones."""
    own = os.environ.get(SHELF_VARIABLE)
    shipped = Path(__file__).resolve().parent.parent / "assets" / "models"
    return ([Path(own)] if own else []) + [shipped]


def shelf() -> list[ShelfModel]:
    """All models, by name; the first folder wins where a name occurs twice."""
    found: dict[str, ShelfModel] = {}
    for folder in shelf_folders():
        for path in sorted(folder.glob(f"*/{MANIFEST_NAME}")):
            manifest = Manifest.read(path)
            found.setdefault(manifest.name, ShelfModel(path.parent, manifest))
    return sorted(found.values(), key=lambda model: model.manifest.name)


def find(sampling: str, training_kind: str) -> ShelfModel:
    """The model for a sampling and a kind of training data.

    Raises:
        ReconstructionError: the shelf has none.
    """
    for model in shelf():
        if (model.manifest.sampling, model.manifest.training_kind) == (sampling, training_kind):
            return model
    raise ReconstructionError(
        f"No {training_kind} model for {sampling} scans is installed; "
        f"train one with 'blindcine train {sampling}'."
    )


def write_model(
    folder: Path, weights: Sequence[npt.NDArray[np.floating]], names: Sequence[str], manifest: Manifest
) -> None:
    """Put a model on the shelf; weights first, then the manifest that vouches for them.

    Args:
        folder: the model's folder, made if needed.
        weights: the variables in network order; stored as float16.
        names: a readable name for each.
        manifest: its `weights_sha256` is filled in here.
    """
    path = folder / WEIGHTS_NAME
    with replacing(path) as temporary, h5py.File(temporary, "w", track_order=True) as file:
        for index, (name, value) in enumerate(zip(names, weights, strict=True)):
            file.create_dataset(
                f"{index:04d}_{name.replace('/', '.')}", data=np.asarray(value, np.float16), track_times=False
            )
    record = asdict(manifest) | {"weights_sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    Manifest(**record).write(folder / MANIFEST_NAME)


def read_weights(path: Path) -> list[npt.NDArray[np.float32]]:
    """The variables of a weights file, as float32 in network order.

    Raises:
        ReconstructionError: the file is no HDF5 file of weights.
    """
    try:
        with h5py.File(path) as file:
            return [np.asarray(value, np.float32) for value in _sorted_values(file)]
    except OSError as error:
        raise ReconstructionError(
            f"{path}: the weights cannot be read; expected an HDF5 file of this program."
        ) from error


def _sorted_values(file: h5py.File) -> Iterator[npt.NDArray[Any]]:
    for name in sorted(file):
        yield file[name][()]
