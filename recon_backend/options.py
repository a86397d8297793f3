"""What a user may choose of a reconstruction beside its method; choosing needs no framework.

The defaults are those of studies. Whatever is chosen is recorded in the movie's provenance and is part of the
key by which results are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args, get_type_hints

from recon_backend.compressed_sensing_settings import DEFAULT_SETTINGS, SETTINGS
from recon_backend.errors import ReconstructionError

Sensitivities = Literal["inati", "espirit", "walsh"]
Combination = Literal["root_sum_of_squares", "adaptive", "sensitivities"]


@dataclass(frozen=True)
class ReconstructionOptions:
    """Choices for all methods of a scan.

    Attributes:
        settings: name of the settings of compressed sensing.
        sensitivities: how coil sensitivities are estimated; the networks were trained with "inati".
        correct_delays: whether gradient delays of radial scans are corrected.
        combination: how gridding combines the coils; the other methods combine by sensitivities, or as they
            were trained.
        models: names of models to use instead of those that the networks take by default.

    Raises:
        ReconstructionError: a value is none of the choices.
    """

    settings: str = DEFAULT_SETTINGS
    sensitivities: Sensitivities = "inati"
    correct_delays: bool = True
    combination: Combination = "root_sum_of_squares"
    models: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the values: they come from users and from other processes."""
        for name, choices in self.choices().items():
            value = getattr(self, name)
            if not any(type(value) is type(choice) and value == choice for choice in choices):
                raise ReconstructionError(
                    f"{name} is {value!r}, but one of {', '.join(map(str, choices))} was expected."
                )
        names: object = self.models
        if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
            raise ReconstructionError(f"models is {names!r}, but names of models were expected.")

    @classmethod
    def choices(cls) -> dict[str, tuple[Any, ...]]:
        """The values that each field may have, where they are always the same."""
        hints = get_type_hints(cls)
        found = {field.name: get_args(hints[field.name]) for field in fields(cls) if field.name != "models"}
        return found | {"settings": tuple(SETTINGS), "correct_delays": (True, False)}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> ReconstructionOptions:
        """Options of a record that may lack fields, such as a request's.

        Raises:
            ReconstructionError: a field is unknown or has a value that is none of the choices.
        """
        unknown = sorted(set(record) - {field.name for field in fields(cls)})
        if unknown:
            raise ReconstructionError(
                f"there is no option {unknown[0]!r}; expected some of "
                f"{', '.join(field.name for field in fields(cls))}."
            )
        names = record.get("models", ())
        return cls(**{**record, "models": tuple(names) if isinstance(names, list) else names})

    def to_dict(self) -> dict[str, Any]:
        """All choices, ready for JSON."""
        return asdict(self)

    def preparation(self) -> dict[str, Any]:
        """Arguments of `recon_backend.preparation.prepare` that differ from its defaults."""
        default = ReconstructionOptions()
        return {
            name: getattr(self, name)
            for name in ("sensitivities", "correct_delays")
            if getattr(self, name) != getattr(default, name)
        }
