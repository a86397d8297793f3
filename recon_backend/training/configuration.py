"""What a training run is: its settings, read from a file, checked, and compared with those of a run on disk.

 Rule of going on: the same settings continue a run; other settings are refused with the name of the field.
With `resume` the settings of the optimiser and of the samples may change (and the folder of the data may have
moved), which the record notes; the network, its data, the seed and the normalisation may not.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from recon_backend.acquisition import Sampling
from recon_backend.errors import FormatError, ReconstructionError
from recon_backend.preparation import NORMALISATION_RULE
from recon_backend.simulation.ranges import SimulationRanges
from recon_backend.training.samples import PATCHES, PUBLISHED_PATCHES, TRUTH_PEAK_RULE, PatchShape

if TYPE_CHECKING:
    from recon_backend.networks.architectures import Architecture

CONFIGURATION_NAME = "configuration.json"
Preset = Literal["improved", "published"]
SAMPLINGS = ("cartesian", "radial", "spiral")
PRESETS = ("improved", "published")
OPTIMIZERS = ("muon", "adam")
PRECISIONS = ("float32", "mixed_bfloat16")
NORMALISATIONS = (NORMALISATION_RULE, TRUTH_PEAK_RULE)
# What a run's own record holds besides the configuration; a record may serve as a configuration file.
RECORD_KEYS = ("parameters", "version", "backend", "inference_normalisation", "clips", "skipped", "changes")
# What the validation samples follow from, and so which scores of a run compare with each other.
SAMPLE_FIELDS = ("patch", "simulation")
# What may change when a run is resumed: all else would make it another experiment.
CHANGEABLE = (
    "data",
    "optimizer",
    "learning_rate",
    "warmup_steps",
    "decay_steps",
    "cooldown",
    "clipnorm",
    "absolute_error_weight",
    "average_momentum",
    "precision",
    "validate_every",
    *SAMPLE_FIELDS,
)


@dataclass(frozen=True)
class TrainingConfiguration:
    """One training run; saved beside its weights.

    Attributes:
        sampling: decides the network.
        data: folder of videos, cine images or raw data, or HDF5 file of cine images.
        filters, cascades: other than the published network size; None = published.
        optimizer: "muon" or, as published, "adam".
        learning_rate: after the warm-up.
        warmup_steps: steps of linear rise of the learning rate.
        absolute_error_weight: weight of the mean absolute error beside 1 − SSIM (published: 0).
        average_momentum: momentum of the weight average that is validated and exported (published: 0).
        precision: Keras dtype policy, "float32" or "mixed_bfloat16".
        seed: seed of weights and simulation.
        validate_every: steps between validations.
        validation_batches: clips simulated once for validation, up to four batches cut from each.
        preset: where the other values come from unless they are stated: "improved" or "published".
        decay_steps: the learning rate falls to a hundredth along a cosine until this step; 0 = it stays.
        cooldown: share of the steps or minutes that a call was given in which the learning rate falls to a
            hundredth at the end; a later call begins at the full rate again (published: 0).
        clipnorm: largest norm of each variable's gradient; 0 = none.
        normalisation: "p99.9-time-average" as in reconstruction, or "truth-peak" as published.
        simulation: ranges and switches of the simulation.
        patch: how simulated clips are cut; None = the default of the sampling.
    """

    sampling: Sampling
    data: str
    filters: tuple[int, ...] | None = None
    cascades: int | None = None
    optimizer: str = "muon"
    learning_rate: float = 4e-4
    warmup_steps: int = 100
    absolute_error_weight: float = 1.0
    average_momentum: float = 0.995
    precision: str = "float32"
    seed: int = 1
    validate_every: int = 100
    validation_batches: int = 8
    preset: Preset = "improved"
    decay_steps: int = 0
    cooldown: float = 0.2
    clipnorm: float = 1.0
    normalisation: str = NORMALISATION_RULE
    simulation: SimulationRanges = field(default_factory=SimulationRanges)
    patch: PatchShape | None = None

    @classmethod
    def published(cls, sampling: Sampling, data: str, **changes: Any) -> TrainingConfiguration:  # noqa: ANN401
        """The published training: Adam 1e-4, clipnorm 1, 1 − SSIM, batches of one clip, frozen simulation.

        An epoch of 519 steps lies between two validations, as in the published runs.
        """
        return cls(
            **{"sampling": sampling, "data": data, **_PUBLISHED, **_published_parts(sampling), **changes}
        )

    @property
    def architecture(self) -> Architecture:
        """The network to train."""
        from recon_backend.networks.architectures import architecture_for

        return architecture_for(self.sampling, self.filters, self.cascades)

    @property
    def patch_shape(self) -> PatchShape:
        """How simulated clips are cut."""
        return self.patch or PATCHES[self.sampling]

    def learning_rate_at(self, step: int, done: float = 0.0) -> float:
        """The learning rate of a step, counted from 0, when `done` of the call's steps or time are over."""
        rate = self.learning_rate * min(1.0, (step + 1) / max(1, self.warmup_steps))
        if self.decay_steps > self.warmup_steps:
            fallen = (step - self.warmup_steps) / (self.decay_steps - self.warmup_steps)
            rate *= 0.01 + 0.99 * (1 + math.cos(math.pi * min(max(fallen, 0.0), 1.0))) / 2
        if self.cooldown:
            rate *= min(1.0, max(0.01, (1.0 - done) / self.cooldown))
        return rate


_PUBLISHED: dict[str, Any] = {
    "preset": "published",
    "optimizer": "adam",
    "learning_rate": 1e-4,
    "warmup_steps": 0,
    "absolute_error_weight": 0.0,
    "average_momentum": 0.0,
    "cooldown": 0.0,
    "validate_every": 519,
    "validation_batches": 69,
    "normalisation": TRUTH_PEAK_RULE,
}


def _published_parts(sampling: str) -> dict[str, Any]:
    return {"simulation": SimulationRanges.published(), "patch": PUBLISHED_PATCHES[sampling]}


def read_settings(path: Path) -> dict[str, Any]:
    """The settings that a YAML, TOML or JSON file states, not yet checked.

    Raises:
        FormatError: the file cannot be read, or holds no table of settings.
    """
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        settings = tomllib.loads(text) if path.suffix.lower() == ".toml" else yaml.safe_load(text)
    except OSError as error:
        raise FormatError(path, f"the configuration cannot be read ({error.strerror}).") from error
    except (UnicodeDecodeError, yaml.YAMLError, tomllib.TOMLDecodeError) as error:
        reason = " ".join(str(error).split())
        raise FormatError(path, f"not valid TOML or YAML ({reason}).") from error
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise FormatError(path, "expected a table of settings such as 'learning_rate: 0.0004'.")
    return _settings_of(settings)


_OLD_SIMULATION = {
    "snr_db": [12.0, 22.0],
    "contrast": [1.0, 1.0],
    "wide_rotation_share": 0.7,
    "still_share": 0.0,
    "dim_share": 0.0,
}


def _settings_of(record: dict[str, Any]) -> dict[str, Any]:
    """The settings in a run's record, or in a file of settings."""
    settings = {name: value for name, value in record.items() if name not in RECORD_KEYS}
    if len(settings) < len(record):
        # What runs had before there was a choice.
        settings.setdefault("optimizer", "adam")
        settings.setdefault("cooldown", 0.0)
        if isinstance(settings.setdefault("simulation", {}), dict):
            settings["simulation"] = _OLD_SIMULATION | settings["simulation"]
    return settings


def make_configuration(settings: Mapping[str, Any], *, where: str = "configuration") -> TrainingConfiguration:
    """A checked configuration from settings by field name; what is not stated comes from the preset.

    Args:
        settings: values as a YAML, TOML or JSON file gives them; `simulation` and `patch` are tables.
        where: named in errors, such as the file.

    Raises:
        ReconstructionError: a field is unknown, missing, of another type, or out of range; it is named.
    """
    _check_names(settings, TrainingConfiguration, where, "")
    checked = {name: _checked(name, value, where) for name, value in settings.items() if name not in _TABLES}
    for name in ("sampling", "data"):
        if name not in checked:
            raise ReconstructionError(f"{where}: {name} is missing.")
    base: dict[str, Any] = {}
    if checked.get("preset") == "published":
        base = {**_PUBLISHED, **_published_parts(checked["sampling"])}
    if settings.get("simulation") is not None:
        start = base.get("simulation", SimulationRanges())
        checked["simulation"] = _table(start, settings["simulation"], where, "simulation")
    if settings.get("patch") is not None:
        patch = base.get("patch", PATCHES[checked["sampling"]])
        checked["patch"] = _checked_patch(_table(patch, settings["patch"], where, "patch"), where)
    return TrainingConfiguration(**{**base, **checked})


def read_run(folder: Path) -> TrainingConfiguration:
    """The configuration that a run's folder records; fields that older versions did not know are defaults.

    Raises:
        ReconstructionError: there is no run, or its record is damaged.
    """
    path = folder / CONFIGURATION_NAME
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _no_run(folder) from None
    except ValueError as error:
        raise FormatError(path, f"the run's record is damaged ({error}).") from error
    if not isinstance(record, dict):
        raise FormatError(path, "the run's record is damaged.")
    return make_configuration(_settings_of(record), where=str(path))


def reconciled(
    wanted: TrainingConfiguration, folder: Path, *, resume: bool = False
) -> tuple[TrainingConfiguration, list[str]]:
    """The configuration to go on with in `folder`, and the names of the fields that change by it.

    Args:
        wanted: what was asked for.
        folder: of a run, or where one shall begin.
        resume: a run must stand there, and `CHANGEABLE` fields may differ from it.

    Raises:
        ReconstructionError: there is no run to resume, or a field differs that must not.
    """
    if not (folder / CONFIGURATION_NAME).exists():
        if resume:
            raise _no_run(folder)
        return wanted, []
    found = read_run(folder)
    names = [part.name for part in dataclasses.fields(wanted)]
    differing = [name for name in names if _differs(name, used_value(found, name), used_value(wanted, name))]
    refused = [name for name in differing if not resume or name not in CHANGEABLE]
    if refused:
        name, both = refused[0], (used_value(found, refused[0]), used_value(wanted, refused[0]))
        was, now = _shortened(*both)
        advice = (
            "give --resume to go on with the new value, or another folder"
            if name in CHANGEABLE
            else "give the run's own value, or another folder"
        )
        raise ReconstructionError(f"{folder}: the run there has {name} {was}, but now it is {now}; {advice}.")
    return wanted, differing


_TABLES = ("simulation", "patch")
_Table = TypeVar("_Table", SimulationRanges, PatchShape)


def _no_run(folder: Path) -> ReconstructionError:
    return ReconstructionError(f"{folder}: there is no run to resume; leave --resume out to begin one.")


def used_value(configuration: TrainingConfiguration, name: str) -> Any:  # noqa: ANN401 - any field's value
    """A field's value; of the patch what is cut, for another version may have another default."""
    return configuration.patch_shape if name == "patch" else getattr(configuration, name)


def _differs(name: str, one: Any, other: Any) -> bool:  # noqa: ANN401 - any field's value
    if name == "data":
        return Path(one).resolve() != Path(other).resolve()
    return bool(one != other)


def _shortened(one: Any, other: Any) -> tuple[object, object]:  # noqa: ANN401
    """Two values for a sentence: of tables, only what differs."""
    if not dataclasses.is_dataclass(one) or not dataclasses.is_dataclass(other):
        return tuple("as published" if value is None else value for value in (one, other))  # type: ignore[return-value]
    names = [
        part.name for part in dataclasses.fields(one) if getattr(one, part.name) != getattr(other, part.name)
    ]
    return tuple({name: getattr(value, name) for name in names} for value in (one, other))  # type: ignore[return-value]


def _check_names(settings: Mapping[str, Any], kind: type, where: str, inside: str) -> None:
    known = [part.name for part in dataclasses.fields(kind)]
    for name in settings:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1)
            hint = f"did you mean {inside}{near[0]}?" if near else f"known are {', '.join(known)}."
            raise ReconstructionError(f"{where}: {inside}{name} is no setting; {hint}")


@dataclass(frozen=True)
class _Rule:
    """What a field may be: a type, bounds or words."""

    expected: str
    kind: type
    low: float = -math.inf
    high: float = math.inf
    words: tuple[str, ...] = ()
    optional: bool = False


_RULES: dict[str, _Rule] = {
    "sampling": _Rule("cartesian, radial or spiral", str, words=SAMPLINGS),
    "data": _Rule("a path", str),
    "preset": _Rule("improved or published", str, words=PRESETS),
    "cascades": _Rule("a whole number from 1 on", int, 1, optional=True),
    "learning_rate": _Rule("a number above 0 and up to 1", float, 1e-12, 1),
    "warmup_steps": _Rule("a whole number from 0 on", int, 0),
    "decay_steps": _Rule("a whole number from 0 on", int, 0),
    "cooldown": _Rule("a number from 0 to 1", float, 0, 1),
    "clipnorm": _Rule("a number from 0 on", float, 0),
    "absolute_error_weight": _Rule("a number from 0 on", float, 0),
    "average_momentum": _Rule("a number from 0 to below 1", float, 0, 1 - 1e-9),
    "optimizer": _Rule("muon or adam", str, words=OPTIMIZERS),
    "precision": _Rule("float32 or mixed_bfloat16", str, words=PRECISIONS),
    "seed": _Rule("a whole number from 0 on", int, 0),
    "validate_every": _Rule("a whole number from 1 on", int, 1),
    "validation_batches": _Rule("a whole number from 1 on", int, 1),
    "normalisation": _Rule(" or ".join(NORMALISATIONS), str, words=NORMALISATIONS),
}


# Lengths that divide, and a factor whose logarithm is drawn.
_ABOVE_ZERO = frozenset("coil_width crop cine_zoom dim_level dim_part ellipse_a ellipse_b still_part".split())


def _checked(name: str, value: Any, where: str) -> Any:  # noqa: ANN401
    """A field's value in its type."""
    if name == "filters":
        if value is None:
            return None
        if isinstance(value, list | tuple) and value and all(_is_whole(part) and part > 0 for part in value):
            return tuple(int(part) for part in value)
        raise _wrong(where, name, value, "a list of whole numbers such as [16, 32, 64]")
    rule = _RULES[name]
    if value is None and rule.optional:
        return None
    number = _as(rule.kind, value)
    if number is None or (rule.words and number not in rule.words):
        raise _wrong(where, name, value, rule.expected)
    if rule.kind is not str and not rule.low <= number <= rule.high:
        raise _wrong(where, name, value, rule.expected)
    return number


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _as(kind: type, value: Any) -> Any:  # noqa: ANN401
    """The value as `kind`, or None. YAML takes 1e-4 (without a point) for text, so text may be a number."""
    if kind is float:
        try:
            number = float(value) if not isinstance(value, bool) else math.nan
        except (TypeError, ValueError):
            return None
        return number if math.isfinite(number) else None
    if kind is int:
        return value if _is_whole(value) else None
    return value if isinstance(value, kind) else None


def _table(start: _Table, settings: Any, where: str, inside: str) -> _Table:  # noqa: ANN401
    """A table with some of its values changed, each of the type that it has."""
    if not isinstance(settings, dict):
        raise _wrong(where, inside, settings, "a table of settings")
    _check_names(settings, type(start), where, f"{inside}.")
    changes: dict[str, Any] = {}
    for name, value in settings.items():
        present = getattr(start, name)
        if isinstance(present, bool):
            if not isinstance(value, bool):
                raise _wrong(where, f"{inside}.{name}", value, "true or false")
            changes[name] = value
        elif isinstance(present, tuple):
            changes[name] = _range(f"{inside}.{name}", value, type(present[0]), where)
            if name in _ABOVE_ZERO and changes[name][0] <= 0:
                raise _wrong(where, f"{inside}.{name}", value, "a range [low, high] above 0")
        else:
            number = _as(type(present), value)
            if number is None or number < 0:
                raise _wrong(where, f"{inside}.{name}", value, "a number from 0 on")
            changes[name] = number
    return dataclasses.replace(start, **changes)


def _range(name: str, value: Any, kind: type, where: str) -> tuple[Any, Any]:  # noqa: ANN401
    numbers = [_as(kind, part) for part in value] if isinstance(value, list | tuple) else []
    if len(numbers) != 2 or None in numbers or numbers[0] > numbers[1] or (kind is int and numbers[0] < 1):
        raise _wrong(where, name, value, "a range [low, high]")
    return numbers[0], numbers[1]


def _checked_patch(patch: PatchShape, where: str) -> PatchShape:
    if not 1 <= patch.frames <= patch.simulated_frames:
        raise _wrong(where, "patch.frames", patch.frames, f"1 to simulated_frames ({patch.simulated_frames})")
    if min(patch.patches, patch.batches) < 1:
        raise _wrong(where, "patch.patches and patch.batches", min(patch.patches, patch.batches), "1 or more")
    if patch.height % 4 or patch.width % 4:
        raise _wrong(
            where, "patch.height and patch.width", (patch.height, patch.width), "multiples of 4, or 0"
        )
    return patch


def _wrong(where: str, name: str, value: object, expected: str) -> ReconstructionError:
    return ReconstructionError(f"{where}: {name} is {value!r}, but {expected} was expected.")
