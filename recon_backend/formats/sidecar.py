"""A small YAML file beside a raw file: what the raw file itself cannot say, above all where it was sampled.

`scan.dat` may have `scan.yaml` (or `scan.yml`, `scan.trajectory.yaml`) beside it:

    sampling: radial                   sampling: spiral                  trajectory: spokes.npy
    angle_deg: 23.6281                 arms_per_frame: 15                sampling: radial
    spokes_per_frame: 13               frame_rotation_deg: 30            matrix: 192
    matrix: 192                        design: {matrix: 240, …}          field_of_view_mm: 320
    field_of_view_mm: 320

or `preset: NAME`, an acquisition of `recon_backend.sampling.presets`, with any of the other fields to change
it. What the YAML states wins over the raw file's header; what only the preset states does not. Readout n of
the scan (counted from 0, of one slice, after `skip_readouts`) has the angle first_angle_deg + n x angle_deg
if radial; arm v of frame p has first_angle_deg + v x arm_angle_deg + p x frame_rotation_deg if spiral. Angles
turn from x to y.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import yaml

from recon_backend.acquisition import Sampling
from recon_backend.errors import FormatError, InvalidAcquisition
from recon_backend.formats import cfl
from recon_backend.formats.assembly import TrajectorySource, convert_to_radians
from recon_backend.formats.header import LARGEST_MATRIX
from recon_backend.sampling.presets import PRESETS
from recon_backend.sampling.spiral import SpiralDesign, spiral_arm

IntegerArray = npt.NDArray[np.int64]

_ENDINGS = (".yaml", ".yml", ".trajectory.yaml")
_LONGEST_BYTES = 1 << 16
_LARGEST_READOUTS = 1 << 20
_AXES = ("slice", "frame", "coil", "y", "x")
_ANGLE_TOLERANCE = 1e-3
_PIXEL_TOLERANCE = 0.01

EXAMPLE = (
    "'sampling: radial', 'angle_deg: 23.6281', 'spokes_per_frame: 13' (or 'sampling: spiral', "
    "'arms_per_frame: 15', 'frame_rotation_deg: 30'; or 'trajectory: FILE.npy'; or 'preset: "
    f"{'|'.join(name for name in PRESETS if 'cartesian' not in name)}')"
)


@dataclass(frozen=True)
class Sidecar:
    """What the YAML beside a raw file states; None where it does not.

    Attributes:
        path: the YAML file.
        files: it and the trajectory file that it names.
        stated: names of the fields that the YAML itself states, not only its preset.
        sampling: "cartesian", "radial" or "spiral".
        matrix: reconstruction matrix (y, x).
        field_of_view_mm: field of view (y, x), mm.
        frame_time_s: time from frame to frame.
        repetition_time_s: time from readout to readout.
        readout_oversampling: samples along a readout over pixels along it.
        readouts_per_frame: spokes, arms or lines of a frame.
        skip_readouts: imaging readouts to leave out at the beginning.
        first_sample: samples to leave out at the beginning of each readout.
        centre_sample: sample at the centre of k-space, after `first_sample`; radial.
        angle_rad: from spoke to spoke, or from arm to arm.
        first_angle_rad: angle of the first spoke or arm.
        rotation_rad: from frame to frame; spiral.
        design: the spiral arm.
        trajectory_file: .npy or .cfl with the trajectory itself.
        components: order of the components in that file, "xy" or "yx".
        axes: meaning of each axis of an array file.
    """

    path: Path
    files: tuple[Path, ...]
    stated: frozenset[str]
    sampling: Sampling
    matrix: tuple[int, int] | None = None
    field_of_view_mm: tuple[float, float] | None = None
    frame_time_s: float | None = None
    repetition_time_s: float | None = None
    readout_oversampling: float | None = None
    readouts_per_frame: int | None = None
    skip_readouts: int = 0
    first_sample: int = 0
    centre_sample: float | None = None
    angle_rad: float | None = None
    first_angle_rad: float = 0.0
    rotation_rad: float = 0.0
    design: SpiralDesign = field(default_factory=SpiralDesign)
    trajectory_file: Path | None = None
    components: str = "xy"
    axes: tuple[str, ...] | None = None

    @property
    def states_sampling(self) -> bool:
        """True if Cartesian is what the YAML says, not what is taken where it says nothing."""
        return bool(self.stated & {"sampling", "preset"})

    @property
    def describes_trajectory(self) -> bool:
        """True if it says where samples lie, beyond their kind."""
        return self.trajectory_file is not None or self.angle_rad is not None or "design" in self.stated


def companion(path: Path) -> Path | None:
    """The YAML beside a raw file, or None.

    Raises:
        FormatError: there is more than one.
    """
    found = [beside for ending in _ENDINGS if (beside := path.with_name(path.stem + ending)).is_file()]
    if len(found) > 1:
        names = ", ".join(f"'{beside.name}'" for beside in found)
        raise FormatError(path, f"there is more than one description beside it ({names}); keep one of them.")
    return found[0] if found else None


def read_companion(path: Path) -> Sidecar | None:
    """Read and check the YAML beside a raw file.

    Returns:
        What it states, or None if there is no such file.

    Raises:
        FormatError: it is no YAML, or a field is unknown, missing or out of range; the sentence names the
            YAML file and the field.
    """
    beside = companion(path)
    return None if beside is None else read_sidecar(beside)


def read_sidecar(path: Path) -> Sidecar:
    """Read and check a YAML file; see `read_companion`."""
    fields = _load(path)
    unknown = [name for name in fields if name not in _FIELDS]
    if unknown:
        close = difflib.get_close_matches(str(unknown[0]), _FIELDS, 1)
        hint = f"perhaps it means '{close[0]}'." if close else f"known are {', '.join(_FIELDS)}."
        raise FormatError(path, f"'{str(unknown[0])[:40]}' is no known field; {hint}")
    values: dict[str, Any] = {}
    for name, value in fields.items():
        try:
            values[name] = _FIELDS[name](value)
        except (ValueError, TypeError, OverflowError) as error:
            raise FormatError(path, f"'{name}' is {_shown(value)}, but it must be {error}.") from error
    return _sidecar(path, values)


def _load(path: Path) -> Mapping[str, Any]:
    if path.stat().st_size > _LONGEST_BYTES:
        raise FormatError(path, "the file is longer than 64 kB; expected a few lines of YAML.")
    try:
        fields = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark is not None else ""
        raise FormatError(
            path, f"this is not valid YAML{where}; expected lines such as {EXAMPLE}."
        ) from error
    if not isinstance(fields, dict) or not fields:
        raise FormatError(path, f"the file states nothing; expected lines such as {EXAMPLE}.")
    return fields


def _shown(value: object) -> str:
    if isinstance(value, str | int | float | bool) or value is None:
        return f"'{str(value)[:40]}'"
    return "a list" if isinstance(value, list) else "a group of fields" if isinstance(value, dict) else "odd"


def _plain_number(value: object) -> object:
    """YAML takes 4e-6 (without a point) for a text."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _number(low: float, high: float, what: str) -> Callable[[object], float]:
    def check(value: object) -> float:
        value = _plain_number(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= float(value) <= high:
            raise ValueError(what)
        return float(value)

    return check


def _whole(low: int, high: int) -> Callable[[object], int]:
    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return value

    return check


def _pair(check: Callable[[object], Any], what: str) -> Callable[[object], tuple[Any, Any]]:
    def pair(value: object) -> tuple[Any, Any]:
        parts = value if isinstance(value, list) else [value, value]
        if len(parts) != 2:
            raise ValueError(f"{what}, or a list of two of them (y, x)")
        try:
            return check(parts[0]), check(parts[1])
        except ValueError as error:
            raise ValueError(f"{what}, or a list of two of them (y, x)") from error

    return pair


def _word(*words: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        if value not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return str(value)

    return check


def _file_name(value: object) -> str:
    text = value if isinstance(value, str) else ""
    plain = text and Path(text).name == text and "\\" not in text and "\0" not in text
    if not plain or Path(text).suffix not in (".npy", ".cfl"):
        raise ValueError("the name of a .npy or .cfl file in the same folder")
    return text


def _design(value: object) -> SpiralDesign:
    names = {item.name: item for item in dataclasses.fields(SpiralDesign)}
    if not isinstance(value, dict) or not set(value) <= set(names):
        raise ValueError(f"a group of fields out of {', '.join(names)}")
    numbers: dict[str, Any] = {}
    for name, stated in value.items():
        number = _plain_number(stated)
        whole = names[name].type == "int"
        if isinstance(number, bool) or not isinstance(number, int if whole else int | float):
            raise ValueError(f"made of numbers, but '{name}' is {_shown(number)}")
        if not math.isfinite(number) or abs(number) > 1e6:
            raise ValueError(f"made of plausible numbers, but '{name}' is {_shown(number)}")
        numbers[name] = number if whole else float(number)
    design = dataclasses.replace(SpiralDesign(), **numbers)
    try:
        design.check()
        if not 8 <= design.matrix <= LARGEST_MATRIX:
            raise ValueError(f"matrix is {design.matrix}")
        spiral_arm(design)
    except ValueError as error:
        raise ValueError(f"a design that can be built ({str(error).rstrip('.')})") from error
    return design


def _axes(value: object) -> tuple[str, ...]:
    names = tuple(str(name) for name in value) if isinstance(value, list) else ()
    if len(set(names)) != len(names) or not set(names) <= set(_AXES) or not {"y", "x"} <= set(names):
        raise ValueError(
            f"a list of different words out of {', '.join(_AXES)}, with y (phase) and x (readout)"
        )
    return names


_length_mm = _number(1e-3, 1e4, "a length in mm")
_time_s = _number(1e-6, 1e4, "a time in seconds")
_angle_deg = _number(-1e6, 1e6, "an angle in degrees")
_FIELDS: Mapping[str, Callable[[object], Any]] = {
    "preset": _word(*PRESETS),
    "sampling": _word(*get_args(Sampling)),
    "matrix": _pair(_whole(1, LARGEST_MATRIX), f"a whole number from 1 to {LARGEST_MATRIX}"),
    "field_of_view_mm": _pair(_length_mm, "a length in mm"),
    "frame_time_s": _time_s,
    "repetition_time_s": _time_s,
    "readout_oversampling": _number(1.0, 64.0, "a number from 1 to 64"),
    "spokes_per_frame": _whole(1, _LARGEST_READOUTS),
    "arms_per_frame": _whole(1, _LARGEST_READOUTS),
    "readouts_per_frame": _whole(1, _LARGEST_READOUTS),
    "skip_readouts": _whole(0, _LARGEST_READOUTS),
    "first_sample": _whole(0, _LARGEST_READOUTS),
    "centre_sample": _number(0, _LARGEST_READOUTS, "a number of samples"),
    "angle_deg": _angle_deg,
    "arm_angle_deg": _angle_deg,
    "first_angle_deg": _angle_deg,
    "frame_rotation_deg": _angle_deg,
    "design": _design,
    "trajectory": _file_name,
    "components": _word("xy", "yx"),
    "axes": _axes,
}
_ONLY_FOR: Mapping[str, Sampling] = {
    "spokes_per_frame": "radial",
    "angle_deg": "radial",
    "centre_sample": "radial",
    "arms_per_frame": "spiral",
    "arm_angle_deg": "spiral",
    "frame_rotation_deg": "spiral",
    "design": "spiral",
}


def _sidecar(path: Path, values: dict[str, Any]) -> Sidecar:
    """Merge the preset, and check the fields against each other."""
    preset = PRESETS[values["preset"]] if "preset" in values else None
    sampling: Sampling | None = values.get("sampling", preset.sampling if preset else None)
    if preset is not None and sampling != preset.sampling:
        raise FormatError(
            path, f"'sampling' is {sampling}, but the preset {preset.name} is {preset.sampling}."
        )
    if sampling is None:
        # Geometry alone (field of view, times, axes) belongs to a Cartesian file.
        if set(values) & {"trajectory", *_ONLY_FOR}:
            raise FormatError(
                path, "'sampling' is missing; expected 'sampling: radial' or 'sampling: spiral'."
            )
        sampling = "cartesian"
    for name, owner in _ONLY_FOR.items():
        if name in values and owner != sampling:
            raise FormatError(path, f"'{name}' is for {owner} scans, but 'sampling' is {sampling}.")
    if sampling == "cartesian" and "trajectory" in values:
        raise FormatError(path, "'trajectory' is for radial and spiral scans, but 'sampling' is cartesian.")
    counts = {values[name] for name in _COUNTS if name in values}
    if len(counts) > 1:
        raise FormatError(path, f"{' and '.join(_COUNTS)} contradict each other; state one of them.")
    own: dict[str, Any] = {
        name: values[name]
        for name in (
            "matrix field_of_view_mm frame_time_s repetition_time_s readout_oversampling skip_readouts "
            "first_sample centre_sample design components axes".split()
        )
        if name in values
    }
    if counts:
        own["readouts_per_frame"] = counts.pop()
    for name, target in (
        ("angle_deg", "angle_rad"),
        ("arm_angle_deg", "angle_rad"),
        ("first_angle_deg", "first_angle_rad"),
        ("frame_rotation_deg", "rotation_rad"),
    ):
        if name in values:
            own[target] = math.radians(values[name])
    files: tuple[Path, ...] = (path,)
    if "trajectory" in values:
        own["trajectory_file"] = path.with_name(values["trajectory"])
        if not own["trajectory_file"].is_file():
            raise FormatError(
                path, f"'trajectory' names '{values['trajectory']}', but there is no such file."
            )
        files = (path, own["trajectory_file"])
    usual: dict[str, Any] = {}
    if preset is not None:
        usual = {
            "matrix": (preset.matrix, preset.matrix),
            "field_of_view_mm": (preset.field_of_view_mm, preset.field_of_view_mm),
            "repetition_time_s": preset.repetition_time_s,
            "readouts_per_frame": None if sampling == "cartesian" else preset.readouts,
            "angle_rad": preset.angle_rad,
            "rotation_rad": preset.rotation_rad or 0.0,
        }
    if sampling == "spiral" and "design" in own and "matrix" not in own:
        usual["matrix"] = (own["design"].matrix, own["design"].matrix)
    stated = frozenset({*own, *({"sampling"} & set(values)), *({"preset"} & set(values))})
    return Sidecar(path=path, files=files, stated=stated, sampling=sampling, **{**usual, **own})


_COUNTS = ("spokes_per_frame", "arms_per_frame", "readouts_per_frame")


def frames_of(sidecar: Sidecar, count: int) -> IntegerArray | None:
    """The frame of each of `count` readouts by the YAML's number of readouts per frame, or None."""
    if sidecar.readouts_per_frame is None:
        return None
    return np.arange(count, dtype=np.int64) // sidecar.readouts_per_frame


def trajectory_of(
    sidecar: Sidecar,
    *,
    length: int,
    matrix: tuple[int, int],
    field_of_view_mm: tuple[float, float],
    readouts: int,
    centre_sample: float | None,
    notes: list[str],
) -> tuple[TrajectorySource, int]:
    """The trajectory that a YAML describes.

    Args:
        sidecar: the YAML, not Cartesian.
        length: samples of a readout in the file, after `first_sample`.
        matrix: reconstruction matrix (y, x).
        field_of_view_mm: of that matrix, (y, x).
        readouts: number of readouts.
        centre_sample: sample at the centre of k-space as the file states it; radial.
        notes: decisions made here are added.

    Returns:
        The trajectory, and how many samples of each readout it is for.

    Raises:
        FormatError: the YAML and the raw file do not fit each other.
    """
    if sidecar.trajectory_file is not None:
        return _explicit(sidecar, length, matrix, readouts, notes)
    pixels = [size_mm / size for size_mm, size in zip(field_of_view_mm, matrix, strict=True)]
    if abs(pixels[0] / pixels[1] - 1) > _PIXEL_TOLERANCE:
        raise FormatError(
            sidecar.path,
            f"the pixels are {pixels[0]:.4g} x {pixels[1]:.4g} mm (y x x), but {sidecar.sampling} scans need "
            "square ones; state 'matrix' and 'field_of_view_mm'.",
        )
    if sidecar.sampling == "radial":
        return _radial(sidecar, length, matrix, centre_sample, notes)
    return _spiral(sidecar, length, pixels[1], notes)


def _radial(
    sidecar: Sidecar, length: int, matrix: tuple[int, int], centre_sample: float | None, notes: list[str]
) -> tuple[TrajectorySource, int]:
    angle = sidecar.angle_rad
    if angle is None:
        raise FormatError(sidecar.path, "'angle_deg' is missing: the angle from one spoke to the next.")
    oversampling = sidecar.readout_oversampling or length / max(matrix)
    step = 2 * np.pi / (oversampling * max(matrix))
    centre = sidecar.centre_sample if sidecar.centre_sample is not None else centre_sample
    if centre is None:
        centre = length // 2
    radius = step * (np.arange(length) - centre)
    if np.abs(radius).max() > np.pi * (1 + 2 / length) + _ANGLE_TOLERANCE:
        raise FormatError(
            sidecar.path,
            f"spokes of {length} samples with their centre at {centre:g} and an oversampling of "
            f"{oversampling:.4g} reach beyond a matrix of {max(matrix)}; state 'matrix', "
            "'readout_oversampling' or 'centre_sample'.",
        )
    notes.append(
        f"the trajectory is radial as '{sidecar.path.name}' states: "
        f"{math.degrees(angle):.6g} degrees from spoke to spoke, first spoke at "
        f"{math.degrees(sidecar.first_angle_rad):.6g} degrees"
    )
    if sidecar.readouts_per_frame is None:
        notes.append("the file's counters tell the frames, since 'spokes_per_frame' is not stated")

    def points(order: IntegerArray, _frame: IntegerArray, _slot: IntegerArray) -> npt.NDArray[np.float32]:
        turned = np.mod(sidecar.first_angle_rad + order * angle, 2 * np.pi)[:, None]
        return np.stack([radius * np.cos(turned), radius * np.sin(turned)], axis=-1).astype(np.float32)

    return TrajectorySource(2, points, in_radians=True), length


def _spiral(sidecar: Sidecar, length: int, pixel_mm: float, notes: list[str]) -> tuple[TrajectorySource, int]:
    design = sidecar.design
    per_frame = sidecar.readouts_per_frame
    step = sidecar.angle_rad
    if step is None:
        if per_frame is None:
            raise FormatError(sidecar.path, "'arms_per_frame' or 'arm_angle_deg' is missing.")
        step = 2 * np.pi / per_frame
    arm = spiral_arm(design)
    if len(arm) > length:
        raise FormatError(
            sidecar.path,
            f"the spiral arm that it describes has {len(arm)} samples, but readouts have only {length}; "
            "check 'design' and 'first_sample'.",
        )
    arm = arm * (pixel_mm * design.matrix / (1000 * design.field_of_view_m))
    reach = float(np.sqrt((arm**2).sum(axis=-1)).max())
    if reach > np.pi * (1 + _PIXEL_TOLERANCE):
        raise FormatError(
            sidecar.path,
            f"the spiral reaches {reach:.3g} rad/pixel at pixels of {pixel_mm:.3g} mm, more than pi; state a "
            "larger 'matrix' or a smaller 'field_of_view_mm'.",
        )
    if len(arm) < length:
        notes.append(f"the last {length - len(arm)} samples of each readout lie behind the arm: not used")
    notes.append(
        f"the trajectory is spiral as '{sidecar.path.name}' states: {math.degrees(step):.6g} degrees from "
        f"arm to arm, {math.degrees(sidecar.rotation_rad):.6g} from frame to frame"
    )
    whole = arm[:, 1] + 1j * arm[:, 0]

    def points(_order: IntegerArray, frame: IntegerArray, slot: IntegerArray) -> npt.NDArray[np.float32]:
        angle = sidecar.first_angle_rad + slot * step + frame * sidecar.rotation_rad
        turned = whole * np.exp(1j * angle)[:, None]
        return np.stack([turned.real, turned.imag], axis=-1).astype(np.float32)

    return TrajectorySource(2, points, in_radians=True), len(arm)


def _explicit(
    sidecar: Sidecar, length: int, matrix: tuple[int, int], readouts: int, notes: list[str]
) -> tuple[TrajectorySource, int]:
    assert sidecar.trajectory_file is not None
    path = sidecar.trajectory_file
    stored = _stored_trajectory(path, sidecar.components)
    if stored.shape[-2] != length:
        raise FormatError(
            path, f"the trajectory has {stored.shape[-2]} samples a readout, but the raw file has {length}."
        )
    available = stored.shape[0] * stored.shape[1]
    if readouts % available and available < readouts:
        raise FormatError(
            path,
            f"the trajectory has {available} readouts, but the raw file has {readouts}; expected as many, or "
            "the ones of a cycle that repeats.",
        )
    try:
        unit_note = (
            cfl.convert_to_radians(stored, matrix)
            if path.suffix == ".cfl"
            else convert_to_radians(stored, matrix)
        )
    except InvalidAcquisition as error:
        raise FormatError(path, str(error)) from error
    notes.append(f"the trajectory comes from '{path.name}'; {unit_note}")
    if available < readouts:
        notes.append(f"the trajectory repeats every {available} readouts")
    flat = stored.reshape(available, length, 2)

    def points(order: IntegerArray, _frame: IntegerArray, _slot: IntegerArray) -> npt.NDArray[np.float32]:
        return flat[order % available][..., ::-1]

    return TrajectorySource(2, points, in_radians=True), length


def _stored_trajectory(path: Path, components: str) -> npt.NDArray[np.float32]:
    """A trajectory file as float32 (frame, readout, sample, 2), components (y, x), any unit."""
    if path.suffix == ".cfl":
        return cfl.read_trajectory(path)
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, TypeError, SyntaxError, OverflowError, MemoryError) as error:
        raise FormatError(path, "this is not a readable .npy file; write it with numpy.save.") from error
    if not isinstance(mapped, np.ndarray) or mapped.dtype.kind not in "fiu" or 0 in mapped.shape:
        raise FormatError(path, "expected an array of real numbers, not empty.")
    if mapped.ndim not in (3, 4) or mapped.shape[-1] != 2:
        raise FormatError(
            path,
            f"the array is {' x '.join(map(str, mapped.shape))}, expected (readout, sample, 2) or "
            f"(frame, readout, sample, 2), components {' '.join(components)}.",
        )
    whole = np.array(mapped, np.float32)
    if components == "xy":
        whole = np.ascontiguousarray(whole[..., ::-1])
    return whole if whole.ndim == 4 else whole[None]
