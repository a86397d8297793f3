"""Power in a process of its own: ``python -m studies.power_command CLIPS ARMS ALPHA`` prints JSON.

For a window that must be able to stop the computation at once: enumerating all outcomes of ten clips takes
seconds that no signal reaches, but a process can be ended. `parse_capability` reads what was printed.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from studies.errors import StudyError
from studies.power import Capability, PairPower, ScenarioPower, what_can_n_show

_NICENESS = 5


def parse_capability(text: str) -> Capability:
    """Read what `main` printed. Raises StudyError if it is something else."""
    try:
        values: dict[str, Any] = json.loads(text)
        scenarios = tuple(
            ScenarioPower(
                **{
                    **scenario,
                    "means_sd": tuple(scenario["means_sd"]),
                    "pairs": tuple(PairPower(**pair) for pair in scenario["pairs"]),
                }
            )
            for scenario in values["scenarios"]
        )
        return Capability(**{**values, "scenarios": scenarios, "notes": tuple(values["notes"])})
    except (ValueError, KeyError, TypeError) as error:
        raise StudyError("The computation of the power gave no answer that can be read.") from error


def main(arguments: Sequence[str]) -> int:
    """Print what so many clips can show; an error goes to stderr in one sentence."""
    try:
        clips, arms, alpha = int(arguments[0]), int(arguments[1]), float(arguments[2])
        found = what_can_n_show(clips, arms, alpha=alpha)
    except (StudyError, ValueError, IndexError, MemoryError) as error:
        sys.stderr.write(f"{error or type(error).__name__}\n")
        return 2
    sys.stdout.write(json.dumps(asdict(found)))
    return 0


if __name__ == "__main__":
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    sys.exit(main(sys.argv[1:]))
