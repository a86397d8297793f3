"""`blindcine study design` and `study amend`: the protocol before the lock, and what changes after it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.commands.failures import CommandError
from app.commands.terminal import say, say_fields, say_json, say_table

if TYPE_CHECKING:
    from studies.balance import ReaderBalance, Stratum
    from studies.design import Design
    from studies.power import Capability
    from studies.state import ScanState
    from studies.study import Study

EXAMPLE_CLIPS = (10, 20)
"""What power is shown for while no scan is listed: the paper's speech and cardiac scans."""


def add_design_options(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `study design`."""
    parser.add_argument(
        "folder", nargs="?", type=Path, metavar="STUDY", help="folder of a study that is not locked yet"
    )
    parser.add_argument("--protocol", type=Path, metavar="FILE", help="take the protocol of this file")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the protocol to this file (YAML)")
    add_set_option(parser)
    parser.add_argument(
        "--clips",
        type=_numbers(int),
        metavar="N,N",
        help="show the power for so many clips (default: those of the strata)",
    )
    parser.add_argument(
        "--steps",
        type=_numbers(float),
        metavar="SD,SD",
        help="differences between neighbouring methods, in SD of one method's appearance (default: 0.6,1.2)",
    )
    parser.add_argument(
        "--ties", type=float, metavar="SD", help="methods closer than this are tied (default: 0.4)"
    )
    parser.add_argument("--no-power", action="store_true", help="leave the power out")
    parser.add_argument("--json", action="store_true", help="print JSON")


def add_set_option(parser: argparse.ArgumentParser) -> None:
    """Declare `--set FIELD=VALUE`."""
    parser.add_argument(
        "--set",
        dest="changes",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="change a field, for example alpha=0.01 or 'readers=[Ann, Bob]'; may be given again",
    )


def _numbers(kind: type[int] | type[float]) -> Any:  # noqa: ANN401 - argparse takes any callable
    def parse(text: str) -> tuple[float, ...]:
        try:
            return tuple(kind(word) for word in text.split(","))
        except ValueError:
            raise argparse.ArgumentTypeError(f"'{text}' is not a list of numbers such as 10,20") from None

    return parse


def parse_changes(words: Sequence[str]) -> dict[str, Any]:
    """Read FIELD=VALUE words; values are YAML. Raises CommandError."""
    import yaml

    changes = {}
    for word in words:
        field, separator, text = word.partition("=")
        if not separator or not field.strip():
            raise CommandError(f"'{word}' is not FIELD=VALUE, for example alpha=0.01.")
        try:
            changes[field.strip()] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise CommandError(f"'{text}' is no value for '{field.strip()}'; put texts in quotes.") from error
    return changes


def design(arguments: argparse.Namespace) -> int:
    """Write, change or check a protocol, and show what it makes of the scans and what they can show."""
    from studies.study import Study

    if arguments.folder is None and arguments.protocol is None and arguments.out is None:
        raise CommandError("Name a study, a protocol to check with --protocol, or a new file with --out.")
    study = None if arguments.folder is None else Study.open(arguments.folder)
    found = _designed(arguments, study)
    if arguments.out is not None:
        found.save(arguments.out)
    scans = _scans(found, study)
    strata, rows, capabilities = _assessed(arguments, found, scans)
    if arguments.json:
        say_json(
            {
                "protocol": found.to_fields(),
                "sha256": found.sha256 if found.seed is not None else None,
                "strata": [asdict(stratum) for stratum in strata],
                "balance": [row.to_dict() for row in rows],
                "power": [asdict(capability) for capability in capabilities],
                "advice": advice(found, scans),
            }
        )
        return 0
    _say_design(found, arguments.out)
    _say_strata(strata)
    for row in rows:
        say_balance(row)
    for capability in capabilities:
        say_capability(capability)
    if found_advice := advice(found, scans):
        say()
        for sentence in found_advice:
            say(f"Note: {sentence}")
    return 0


def _designed(arguments: argparse.Namespace, study: Study | None) -> Design:
    """The design that the arguments ask for, put into the study if there is one."""
    from studies.design import Design, template
    from studies.study import PAPER_ARMS

    changes = parse_changes(arguments.changes)
    if study is not None and study.phase != "design" and (changes or arguments.protocol is not None):
        raise CommandError("The study is locked; `blindcine study amend` records a change of its protocol.")
    if arguments.protocol is not None:
        found = Design.load(arguments.protocol)
    elif study is not None:
        found = study.design
    else:
        found = template(PAPER_ARMS)
    if changes:
        found = found.changed(changes)
    if study is not None and (changes or arguments.protocol is not None):
        study.set_design(found)
        found = study.design
    return found


def _scans(found: Design, study: Study | None) -> list[ScanState]:
    """The scans of the study, or those that the file lists."""
    from studies.balance import planned_states

    present = [] if study is None else study.scan_states
    return present or planned_states(found)


def _assessed(
    arguments: argparse.Namespace, found: Design, scans: Sequence[ScanState]
) -> tuple[list[Stratum], list[ReaderBalance], list[Capability]]:
    """Strata, balance of every reader, and power for every size of stratum."""
    from studies.balance import balance, strata_of
    from studies.power import STEPS_SD, TIE_SD, what_can_n_show

    strata = strata_of(scans, found.protocol.strata)
    rows = balance(found, scans) if strata else []
    if arguments.no_power:
        return strata, rows, []
    sizes = arguments.clips or sorted({stratum.subjects for stratum in strata}) or EXAMPLE_CLIPS
    capabilities = [
        what_can_n_show(
            size,
            found.protocol.arm_count,
            alpha=found.protocol.alpha,
            tie_sd=TIE_SD if arguments.ties is None else arguments.ties,
            steps_sd=STEPS_SD if arguments.steps is None else arguments.steps,
        )
        for size in sizes
    ]
    return strata, rows, capabilities


def advice(found: Design, scans: Sequence[ScanState]) -> list[str]:
    """Sentences on what a careful statistician would still do before the lock."""
    protocol = found.protocol
    clips = sum(not scan.practice for scan in scans)
    notes = []
    if not any(scan.practice for scan in scans):
        notes.append("there are no practice cases; 3 to 5 of other subjects let readers settle their scale.")
    if protocol.repeat_share == 0:
        notes.append("no clip is repeated, so nothing will tell how well a reader agrees with himself.")
    elif clips:
        notes.append(f"{protocol.repeats(clips)} of {clips} clips are shown twice, unmarked.")
    if len(protocol.readers) == 1:
        notes.append("one reader cannot tell how readers agree; two are the paper's number.")
    return notes


def _say_design(found: Design, out: Path | None) -> None:
    fields = {name: value for name, value in found.to_fields().items() if name not in ("format", "scans")}
    if fields["seed"] is not None:
        fields["seed"] = "set (secret)"
    say_fields({name: ", ".join(value) if _words(value) else value for name, value in fields.items()})
    if found.seed is not None:
        say_fields({"sha256": found.sha256})
    if out is not None:
        say(f"Written to {out}; it names the methods, so keep it away from the readers until unblinding.")


def _words(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _say_strata(strata: Sequence[Stratum]) -> None:
    if strata:
        say()
        say_table(("stratum", "clips", "subjects"), [(row.name, row.clips, row.subjects) for row in strata])


def say_balance(row: ReaderBalance) -> None:
    """Write one reader's balance table."""
    from studies.names import position_letter

    say()
    parts = [f"{row.practice} practice"] if row.practice else []
    parts.append(f"{row.readings} clips")
    if row.repeats:
        parts.append(f"{row.repeats} repeats at least {row.least_gap} presentations later")
    say(f"{row.reader}: {', '.join(parts)}. How often each method stands in each place:")
    letters = [position_letter(place) for place in range(len(row.counts))]
    say_table(
        ("", *letters), [(f"method {number}", *counts) for number, counts in enumerate(row.counts, start=1)]
    )
    if row.same_subject_in_a_row:
        times = "once" if row.same_subject_in_a_row == 1 else f"{row.same_subject_in_a_row} times"
        say(f"A subject follows itself {times}: these subjects and clips allow no order without that.")


def say_capability(capability: Capability) -> None:
    """Write what N clips can show."""
    from studies.power import preference_shares

    say()
    say(
        f"What N = {capability.clips} can show with {capability.arms} methods at alpha = "
        f"{capability.alpha:g} (probability that a difference is found, one reader):"
    )
    rows = []
    last = capability.arms - 1
    for scenario in capability.scenarios:
        difference = abs(scenario.means_sd[last] - scenario.means_sd[last - 1])
        better, tied, _ = preference_shares(difference, capability.tie_sd)
        pairs = {(pair.first, pair.second): pair for pair in scenario.pairs}
        near, far = pairs[last - 1, last], pairs[0, last]
        rows.append(
            (
                scenario.name,
                f"{100 * better:.0f} / {100 * tied:.0f} %",
                *(
                    f"{value:.2f}"
                    for value in (
                        scenario.omnibus,
                        scenario.any_closed,
                        scenario.any_nemenyi,
                        near.closed,
                        near.nemenyi,
                        far.closed,
                        far.nemenyi,
                    )
                ),
                scenario.kind if not scenario.studies else f"± {scenario.standard_error:.3f}",
            )
        )
    header = ("scenario", "prefer/tie", "Friedman", "any pair", "Nemenyi")
    say_table((*header, "neighbours", "Nemenyi", "ends", "Nemenyi", ""), rows)
    say(
        "  Pairs by closed testing (exact Friedman and sign tests), then by Nemenyi as published. "
        "Neighbours: the last two methods; ends: the first and the last. prefer/tie: how often one of the "
        f"last two is preferred, and tied. Model: normal appearance, ties closer than "
        f"{capability.tie_sd:g} SD; ± is the standard error of a simulation, at most."
    )
    say(
        f"  If all clips agree on one order: Friedman p = {capability.p_friedman:.2g}, any pair p = "
        f"{capability.p_closed:.2g}; Nemenyi p = {capability.p_nemenyi_neighbours:.2g} for neighbours, "
        f"{capability.p_nemenyi_extremes:.2g} for the ends."
    )
    for note in capability.notes:
        say(f"  Warning: {note}")


def amend(arguments: argparse.Namespace) -> int:
    """Record an amendment of a locked study's protocol."""
    from studies.study import Study

    changes = parse_changes(arguments.changes)
    amendment = Study.open(arguments.folder).amend(arguments.actor, arguments.reason, changes)
    say(f"Recorded as event {amendment.sequence}: {amendment}")
    return 0


def protocol_summary(study: Study) -> dict[str, Any]:
    """What `study status` tells of the protocol, in any phase; nothing here tells methods apart."""
    protocol = study.protocol
    clips = len(study.clips)
    return {
        "protocol_sha256": study.protocol_sha256,
        "locked": study.phase != "design",
        "practice_cases": len(study.practice_clips),
        "hidden_repeats": protocol.repeats(clips),
        "amendments": [
            {
                "event": item.sequence,
                "time_utc": item.time_utc,
                "actor": item.actor,
                "reason": item.reason,
                "changes": {field: list(pair) for field, pair in item.changes.items()},
            }
            for item in study.amendments
        ],
        "breaks": len(study.breaks),
    }


def say_amendments(study: Study) -> None:
    """Write the amendments, if there are any."""
    for number, item in enumerate(study.amendments, start=1):
        say(f"Amendment {number}: {item}")
