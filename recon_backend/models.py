"""The model shelf: trained networks with manifests that say what they are, checked before they are used.

A model is a folder with `manifest.json` and `weights.h5`. The weights are one HDF5 data set for each
variable, in the order of the network, in float16 or float32; the manifest holds their SHA-256, the
architecture, where they come from, the data with licences, the steps, the figures on held-out data, the
normalisation rule, and a golden record (`recon_backend.golden`). Nothing is executed on loading.

There is one shelf of the user's own and one that is shipped. Where several models fit a scan and a kind of
training data, the one used by default is the one on the user's shelf, there the one registered last; any
other is used when it is named.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import h5py
import numpy as np
import numpy.typing as npt

from recon_backend.errors import ReconstructionError
from recon_backend.storage import replacing, write_durably

if TYPE_CHECKING:
    import keras

    from recon_backend.networks.architectures import Architecture

MANIFEST_NAME = "manifest.json"
WEIGHTS_NAME = "weights.h5"
FORMAT = "blindcine-model-2"
SHELF_VARIABLE = "BLINDCINE_MODELS"
TRAINED_HERE = "trained with blindcine"
# In a manifest's details: [step, validation SSIM] of each validation.
LEARNING_CURVE = "learning_curve"
TRAINING_KINDS = ("natural", "cardiac")

_FIRST_FORMAT = "blindcine-model-1"
_NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


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
        steps: optimiser steps; None if nobody knows.
        training_seconds: wall time of training; None if nobody knows.
        validation_ssim: SSIM on clips or patients never trained on; None if it was not measured.
        caution: one honest sentence for the window, empty if there is nothing to warn of.
        origin: where the weights come from.
        hardware: what it was trained on; empty if nobody knows.
        code_version: of the program that trained it; empty if nobody knows.
        held_out: figures on held-out data, such as `ssim` and `psnr_db`, with what `data` they are of.
        golden: what the network answers to the golden input; empty in models of the first format.
        registered: when it was put on the shelf, ISO 8601 in UTC; empty in models of the first format.
        details: settings.
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
    steps: int | None
    training_seconds: float | None
    validation_ssim: float | None
    caution: str = ""
    origin: str = TRAINED_HERE
    hardware: str = ""
    code_version: str = ""
    held_out: Mapping[str, Any] = field(default_factory=dict)
    golden: Mapping[str, Any] = field(default_factory=dict)
    registered: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    format: str = FORMAT

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read `manifest.json` of this format or of the first one.

        Raises:
            ReconstructionError: the file is missing, no JSON, of another format, or lacks a field.
        """
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            found = record.get("format") if isinstance(record, dict) else None
            if found not in (FORMAT, _FIRST_FORMAT, None):
                raise ReconstructionError(
                    f"{path}: model format is {found!r}, but this version reads {FORMAT!r} and "
                    f"{_FIRST_FORMAT!r}; a newer version may have written it."
                )
            if found == _FIRST_FORMAT:
                record = _promoted(record)
            return cls(**record)
        except OSError as error:
            raise ReconstructionError(
                f"{path}: the model's manifest cannot be read ({error.strerror})."
            ) from error
        except (ValueError, TypeError) as error:
            raise ReconstructionError(f"{path}: not a model manifest of this version ({error}).") from error

    @property
    def architecture(self) -> Architecture:
        """What is needed to build the network."""
        from recon_backend.networks.architectures import Architecture

        return Architecture(self.network, tuple(self.filters), self.cascades)

    def write(self, path: Path) -> None:
        """Write `manifest.json`, atomically."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"
        write_durably(path, text.encode())


def _promoted(record: dict[str, Any]) -> dict[str, Any]:
    """A record of the first format, whose hardware and version were among the details."""
    details = dict(record.get("details", {}))
    return {
        **record,
        "hardware": str(details.pop("hardware", "")),
        "code_version": str(details.pop("version", "")),
        "held_out": {
            "data": details.pop("validation", "validation data"),
            "ssim": record.get("validation_ssim"),
        },
        "details": details,
        "format": FORMAT,
    }


@dataclass(frozen=True)
class ShelfModel:
    """A model found on a shelf: its folder and manifest.

    Attributes:
        folder: holds weights and manifest.
        manifest: what it is.
        own: whether it lies on the user's shelf.
    """

    folder: Path
    manifest: Manifest
    own: bool = False

    def verify(self) -> None:
        """Compare the weights with the manifest's SHA-256.

        Raises:
            ReconstructionError: the weights are missing or were changed.
        """
        path = self.folder / WEIGHTS_NAME
        if _sha256(path) != self.manifest.weights_sha256:
            raise ReconstructionError(
                f"{path}: the weights do not match their manifest; install the model again."
            )

    def load(self, precision: str = "float32") -> keras.Model:
        """Build the network and assign the verified weights.

        Args:
            precision: the Keras dtype policy that it computes in, see `device.precision`.

        Raises:
            ReconstructionError: the weights are missing, changed, or of other shapes than the network, or
                the data have to be scaled by a rule that this version does not know.
        """
        from recon_backend.preparation import check_rule

        self.verify()
        check_rule(self.manifest.normalisation, self.folder / MANIFEST_NAME)
        return _built(self.manifest, self.folder / WEIGHTS_NAME, precision)

    def verify_answer(self, precision: str = "float32") -> float | None:
        """Run the golden input; the largest difference from the record, in parts of the output's RMS.

        Args:
            precision: the Keras dtype policy to compute in.

        Returns:
            None if the manifest, being of the first format, holds no golden record.

        Raises:
            ReconstructionError: the answer is another one, or the model cannot be loaded.
        """
        from recon_backend import golden

        manifest = self.manifest
        model = self.load(precision)
        if not manifest.golden:
            return None
        deviation = golden.deviation(model, manifest.network, manifest.golden)
        if not deviation <= golden.TOLERANCES[precision]:
            raise ReconstructionError(
                f"{self.folder}: the network's answer to the golden input differs by {deviation:.3g} of its "
                f"RMS, expected at most {golden.TOLERANCES[precision]:g} in {precision}: weights and network "
                "do not belong together, or the framework computes wrongly here."
            )
        return deviation


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ReconstructionError(
            f"{path}: the model's weights cannot be read ({error.strerror})."
        ) from error


def _built(manifest: Manifest, path: Path, precision: str) -> keras.Model:
    """The network of a manifest with the weights of a file."""
    model = manifest.architecture.build(precision, random=False)
    weights = read_weights(path)
    expected = [tuple(value.shape) for value in model.weights]
    if [value.shape for value in weights] != expected:
        raise ReconstructionError(
            f"{path}: the weights do not fit a {manifest.network} with filters {list(manifest.filters)}."
        )
    model.set_weights(weights)
    return model


def user_shelf() -> Path | None:
    """The user's own folder of models: `BLINDCINE_MODELS`, or the platform's place for data; None if none."""
    own = os.environ.get(SHELF_VARIABLE)
    if own:
        return Path(own)
    try:
        home = Path.home()
    except RuntimeError:
        return None
    platform: str = sys.platform  # a type checker would take the other branches for dead
    if platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "blindcine" / "Models"
    if platform == "darwin":
        return home / "Library" / "Application Support" / "blindcine" / "models"
    base = os.environ.get("XDG_DATA_HOME", "")
    return (Path(base) if os.path.isabs(base) else home / ".local" / "share") / "blindcine" / "models"


def shelf_folders() -> list[Path]:
    """Folders that hold models: the user's own first, then the shipped ones."""
    own = user_shelf()
    shipped = Path(__file__).resolve().parent.parent / "assets" / "models"
    return ([own] if own is not None else []) + [shipped]


def shelf() -> list[ShelfModel]:
    """All models, by name; the first folder wins where a name occurs twice."""
    found: dict[str, ShelfModel] = {}
    folders = shelf_folders()
    for folder in folders:
        for path in sorted(folder.glob(f"*/{MANIFEST_NAME}")):
            manifest = Manifest.read(path)
            found.setdefault(manifest.name, ShelfModel(path.parent, manifest, own=folder is not folders[-1]))
    return sorted(found.values(), key=lambda model: model.manifest.name)


def fitting(sampling: str, training_kind: str) -> list[ShelfModel]:
    """The models for a sampling and a kind of training data; the first is the one used by default."""
    models = [
        model
        for model in shelf()
        if (model.manifest.sampling, model.manifest.training_kind) == (sampling, training_kind)
    ]
    models.sort(key=lambda model: model.manifest.registered, reverse=True)
    return sorted(models, key=lambda model: not model.own)


def find(sampling: str, training_kind: str, chosen: Sequence[str] = ()) -> ShelfModel:
    """The model for a sampling and a kind of training data.

    Args:
        sampling: "cartesian", "radial" or "spiral".
        training_kind: "natural" or "cardiac".
        chosen: names of models that are wanted; those for other samplings or kinds are left aside.

    Raises:
        ReconstructionError: the shelf has none, a name is unknown, or two of the names fit.
    """
    check_names(chosen)
    models = fitting(sampling, training_kind)
    wanted = [model for model in models if model.manifest.name in chosen]
    if len(wanted) > 1:
        names = " and ".join(model.manifest.name for model in wanted)
        raise ReconstructionError(
            f"The models {names} are both for {sampling} scans and {training_kind} data; choose one of them."
        )
    if not models:
        raise ReconstructionError(
            f"No {training_kind} model for {sampling} scans is installed; "
            f"train one with 'blindcine train {sampling}'."
        )
    return (wanted or models)[0]


def check_names(chosen: Sequence[str]) -> None:
    """Check that the models that somebody asks for are there.

    Raises:
        ReconstructionError: one is not.
    """
    names = [model.manifest.name for model in shelf()] if chosen else []
    for name in chosen:
        if name not in names:
            raise ReconstructionError(
                f"There is no model {name!r} on the shelf; expected one of {', '.join(names) or 'none'}."
            )


def own_folder(shelf: Path | None, name: str) -> Path:
    """Where a model that is registered by name comes to lie.

    Args:
        shelf: folder of models; the user's own if None.
        name: of the model.

    Raises:
        ReconstructionError: the name cannot be a folder's, or the user has no home.
    """
    if not _NAME_PATTERN.fullmatch(name):
        raise ReconstructionError(
            f"The model's name is {name!r}, but letters, digits, '.', '_' and '-' were expected, at most 64."
        )
    folder = shelf if shelf is not None else user_shelf()
    if folder is None:
        raise ReconstructionError(f"No folder for models: the user has no home; set {SHELF_VARIABLE}.")
    return folder / name


def write_model(
    folder: Path,
    weights: Sequence[npt.NDArray[np.floating]],
    names: Sequence[str],
    manifest: Manifest,
    *,
    storage: Literal["float16", "float32"] = "float16",
) -> Manifest:
    """Put a model on the shelf; weights first, then the manifest that vouches for them.

    Args:
        folder: the model's folder, made if needed.
        weights: the variables in network order.
        names: a readable name for each.
        manifest: its checksum, parameter count, golden record and time of registration are filled in here.
        storage: number format on disk.

    Returns:
        The manifest as written.

    Raises:
        ReconstructionError: the weights do not fit the network, or are not finite.
    """
    from recon_backend import golden

    path = folder / WEIGHTS_NAME
    with np.errstate(over="ignore"):  # what is too large becomes infinite and is named below
        stored = [np.asarray(value, storage) for value in weights]
    for name, value in zip(names, stored, strict=True):
        if not np.isfinite(value).all():
            raise ReconstructionError(f"{name} of {manifest.name} is not finite in {storage}.")
    with replacing(path) as temporary:
        with h5py.File(temporary, "w") as file:
            for index, (name, value) in enumerate(zip(names, stored, strict=True)):
                file.create_dataset(f"{index:04d}_{name.replace('/', '.')}", data=value, track_times=False)
        # Of the file and not of the arrays: the record vouches for what will be read.
        model = _built(manifest, temporary, "float32")
        written = dataclasses.replace(
            manifest,
            weights_sha256=_sha256(temporary),
            parameters=int(model.count_params()),
            golden=golden.record(model, manifest.network),
            registered=datetime.now(UTC).isoformat(timespec="seconds"),
            details={**manifest.details, "weights_storage": storage},
            format=FORMAT,
        )
    written.write(folder / MANIFEST_NAME)
    return written


def register(
    shelf: Path | None,
    weights: Sequence[npt.NDArray[np.floating]],
    names: Sequence[str],
    manifest: Manifest,
    *,
    replace: bool = False,
) -> Manifest:
    """Put somebody's network on a shelf as it is, in float32, unless another one has its name.

    Args:
        shelf: folder of models; the user's own if None.
        weights: the variables in network order.
        names: a readable name for each.
        manifest: see `write_model`.
        replace: overwrite a model of that name that has other weights.

    Raises:
        ReconstructionError: the name is taken or no name for a folder, or the weights cannot be used.
    """
    folder = own_folder(shelf, manifest.name)
    if folder.exists() and not replace and not _holds(folder, weights):
        raise ReconstructionError(
            f"{folder}: there is a model of this name with other weights; give another --name, or --replace."
        )
    return write_model(folder, weights, names, manifest, storage="float32")


def _holds(folder: Path, weights: Sequence[npt.NDArray[np.floating]]) -> bool:
    """Whether the model in a folder has just these weights."""
    try:
        found = read_weights(folder / WEIGHTS_NAME)
    except ReconstructionError:
        return False
    return len(found) == len(weights) and all(
        np.array_equal(one, other) for one, other in zip(found, weights, strict=True)
    )


def renew_golden_record(model: ShelfModel) -> Manifest:
    """Write a model's manifest anew, with a golden record of the weights that its checksum vouches for.

    For models of the first format, and where the golden formula has changed.

    Raises:
        ReconstructionError: the weights do not match the manifest.
    """
    from recon_backend import golden

    record = golden.record(model.load(), model.manifest.network)
    renewed = dataclasses.replace(model.manifest, golden=record, format=FORMAT)
    renewed.write(model.folder / MANIFEST_NAME)
    return renewed


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
