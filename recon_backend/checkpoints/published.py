"""The published networks: recognised by the shapes of their variables, checked, and put on the shelf.

`published.json` holds the facts of the three published indices: for each variable of a network, in the
published order, this program's name of it, its shape, its offset in the data file and its CRC-32C. The
published order lists all encoder levels, then all decoder levels from shallow to deep, then what scales up,
then the head; VarNet has a step length λ before each UNet. Conventions are those of `recon_backend.networks`
(kernels (…, in, out), zero padding, [upsampled, skip], depth-to-space with the channel last, u − λ·A'(…) −
R(u)), so values need no change, only another order (paper_spec §4).

What reaches the networks differs from the published training where a scan has no such thing or the
publication leaves it open: data are scaled by the peak of the time average and not of the truth, FastDVDNet
sees the root-sum-of-squares of ten virtual coils and not of all coils, and where a scan has less than ten
coils, 3D UNet's missing ones are zero.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from recon_backend import models
from recon_backend.checkpoints.crc32c import masked
from recon_backend.checkpoints.tensor_bundle import DATA_NAME, INDEX_NAME, Entry, TensorBundle
from recon_backend.errors import FormatError, ReconstructionError
from recon_backend.networks.architectures import PUBLISHED
from recon_backend.preparation import PEAK_RULE

VERIFIED = "published weights, verified against the published index"
RETRAINED = "weights in the published layout, but not the published ones"

_FACTS_NAME = "published.json"
_KEY = "variables/{}/.ATTRIBUTES/VARIABLE_VALUE"


@dataclass(frozen=True)
class PublishedVariable:
    """One variable of a published network.

    Attributes:
        key: its key in the index.
        name: what this program calls it.
        shape: its shape.
        offset: where its bytes begin in the data file.
        crc32c: checksum of the published values.
    """

    key: str
    name: str
    shape: tuple[int, ...]
    offset: int
    crc32c: int

    def is_same(self, entry: Entry) -> bool:
        """Whether an index describes just the published values at the published place."""
        return (entry.shape, entry.offset) == (self.shape, self.offset) and entry.masked_crc32c == masked(
            self.crc32c
        )


@dataclass(frozen=True)
class PublishedNetwork:
    """What is known of a published network.

    Attributes:
        name: what it and its folder are called, such as "VarNet".
        sampling: which scans it reconstructs.
        data_bytes: size of the data file.
        steps: optimiser steps of the saved weights.
        training_seconds: what they took.
        validation_ssim: SSIM on validation clips, as published.
        held_out: published figures on test clips.
        variables: its variables in the published order.
    """

    name: str
    sampling: str
    data_bytes: int
    steps: int
    training_seconds: float
    validation_ssim: float
    held_out: Mapping[str, float]
    variables: Sequence[PublishedVariable]


@lru_cache(maxsize=1)
def published_networks() -> tuple[PublishedNetwork, ...]:
    """VarNet, 3DUNet and FastDVDNet."""
    facts = json.loads(Path(__file__).with_name(_FACTS_NAME).read_text(encoding="utf-8"))
    return tuple(_network(name, record) for name, record in facts.items())


def _network(name: str, record: dict[str, Any]) -> PublishedNetwork:
    variables = tuple(
        PublishedVariable(_KEY.format(index), ours, tuple(shape), offset, crc)
        for index, (ours, shape, offset, crc) in enumerate(record["variables"])
    )
    return PublishedNetwork(name, **{**record, "variables": variables})


@dataclass(frozen=True)
class Imported:
    """Weights that were read from a published layout.

    Attributes:
        network: which of the three it is.
        values: by this program's names.
        differing: how many variables are not those that were published; 0 = these are the published weights.
        data_bytes: size of the data file, which also holds the state of the optimiser.
    """

    network: PublishedNetwork
    values: Mapping[str, npt.NDArray[np.float32]]
    differing: int
    data_bytes: int


def read_published(folder: Path) -> Imported:
    """Read a SavedModel folder of one of the published networks.

    Args:
        folder: the SavedModel's folder, or its folder `variables`.

    Raises:
        FormatError: files are missing, damaged, swapped or cut off, or hold another network.
    """
    bundle = TensorBundle.open(_variables_folder(folder))
    network = recognise(bundle)
    values = {
        variable.name: bundle.read(variable.key, _described(network, variable))
        for variable in network.variables
    }
    differing = sum(not variable.is_same(bundle.entries[variable.key]) for variable in network.variables)
    return Imported(network, values, differing, bundle.data_path.stat().st_size)


def _variables_folder(folder: Path) -> Path:
    inner = folder / "variables"
    if (folder / INDEX_NAME).is_file():
        return folder
    if not folder.is_dir():
        raise FormatError(folder, "there is no such folder; give the folder of a SavedModel.")
    if not inner.is_dir():
        networks = sorted(path.parent.parent for path in folder.glob(f"*/variables/{INDEX_NAME}"))
        advice = f"; did you mean {' or '.join(map(str, networks))}?" if networks else "."
        raise FormatError(
            folder, f"no SavedModel folder: it has no variables/{INDEX_NAME} and {DATA_NAME}{advice}"
        )
    return inner


def _described(network: PublishedNetwork, variable: PublishedVariable) -> str:
    return f"{variable.key.removesuffix('/.ATTRIBUTES/VARIABLE_VALUE')} ({network.name} {variable.name})"


def recognise(bundle: TensorBundle) -> PublishedNetwork:
    """Which of the published networks an index describes, by the shapes of all its variables.

    Raises:
        FormatError: none; the sentence compares with the one that is most alike.
    """
    count = 0
    while _KEY.format(count) in bundle.entries:
        count += 1
    shapes = [bundle.entries[_KEY.format(index)].shape for index in range(count)]

    def alike(network: PublishedNetwork) -> int:
        expected = [variable.shape for variable in network.variables]
        return sum(found == wanted for found, wanted in zip(shapes, expected, strict=False))

    nearest = max(published_networks(), key=lambda network: (alike(network), -len(network.variables)))
    expected = nearest.variables
    if not alike(nearest) or 2 * alike(nearest) < min(count, len(expected)):
        known = ", ".join(f"{each.name} ({len(each.variables)})" for each in published_networks())
        raise FormatError(
            bundle.index_path,
            f"an unknown network of {count} variables; expected one of the published ones: {known}.",
        )
    for variable, shape in zip(expected, shapes, strict=False):
        if shape != variable.shape:
            raise FormatError(
                bundle.index_path,
                f"{_described(nearest, variable)} has shape {shape}, expected {variable.shape}; networks of "
                "other sizes cannot be imported.",
            )
    if count != len(expected):
        raise FormatError(
            bundle.index_path, f"{nearest.name} has {count} variables, expected {len(expected)}."
        )
    return nearest


def import_published(
    folder: Path,
    shelf: Path | None = None,
    *,
    name: str | None = None,
    kind: str | None = None,
    replace: bool = False,
) -> models.Manifest:
    """Put a published network, or one that was trained anew in its layout, on a shelf.

    Args:
        folder: its SavedModel folder.
        shelf: folder of models; the user's own if None.
        name: of the model; `<sampling>-<kind>-published` or `-retrained` if None.
        kind: "natural" (the default) or "cardiac": the data of a network that was trained anew.
        replace: overwrite a model of that name that has other weights.

    Raises:
        FormatError: see `read_published`.
        ReconstructionError: the name is taken or no name for a folder, or the kind is wrong.
    """
    imported = read_published(folder)
    network, verified = imported.network, not imported.differing
    if verified and kind not in (None, "natural"):
        raise ReconstructionError(
            f"{network.name}: these are the published weights, trained on natural videos, not {kind} data."
        )
    kind = kind or "natural"
    if kind not in models.TRAINING_KINDS:
        raise ReconstructionError(f"kind is {kind!r}, expected one of {', '.join(models.TRAINING_KINDS)}.")
    name = name or f"{network.sampling}-{kind}-{'published' if verified else 'retrained'}"
    architecture = PUBLISHED[network.sampling]
    names = [weight.path for weight in architecture.build(random=False).weights]
    manifest = models.Manifest(
        name=name,
        sampling=network.sampling,
        training_kind=kind,
        network=architecture.network,
        filters=list(architecture.filters),
        cascades=architecture.cascades,
        parameters=0,
        normalisation=PEAK_RULE,
        weights_sha256="",
        data=[{"name": "unknown", "licence": "unknown"}],
        steps=None,
        training_seconds=None,
        validation_ssim=None,
        origin=f"{RETRAINED} ({imported.differing} of {len(network.variables)} variables differ)",
        caution=(
            f"Somebody's own training of the published {network.name}; its data and its quality are unknown. "
            "Not for clinical use."
        ),
    )
    if verified:
        manifest = _as_published(manifest, imported)
    weights = [imported.values[each] for each in names]
    return models.register(shelf, weights, names, manifest, replace=replace)


def _as_published(manifest: models.Manifest, imported: Imported) -> models.Manifest:
    """A manifest with what the publication says of its weights."""
    network = imported.network
    origin = VERIFIED
    if imported.data_bytes != network.data_bytes:
        origin += f"; its file has {imported.data_bytes:,} bytes, the published one {network.data_bytes:,}"
    return dataclasses.replace(
        manifest,
        data=[
            {
                "name": "Inter4K, 60 frames/s",
                "licence": "none stated with the weights; heed the terms of Inter4K",
                "clips": 519,
            }
        ],
        steps=network.steps,
        training_seconds=network.training_seconds,
        validation_ssim=network.validation_ssim,
        origin=origin,
        caution=(
            f"Published {network.name}, trained on natural videos; how it was scaled on scans is not "
            "published, so its scale is estimated from the data. Not for clinical use."
        ),
        hardware="NVIDIA RTX A6000",
        code_version="TensorFlow 2.10.0, tensorflow-mri 0.22.0",
        held_out={"data": "104 clips of Inter4K, noisy truth, as published", **network.held_out},
        details={"publication": "Jaubert et al., Sci Rep 14:11774, 2024"},
    )
