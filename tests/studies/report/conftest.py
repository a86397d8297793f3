"""Tables of a small study, made from seeded random preferences."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from studies import ranking
from studies.report.tables import (
    CANNOT_JUDGE,
    NOT_READ,
    BreakRow,
    Conduct,
    GuessRow,
    MeasurementRow,
    RankingRow,
    SessionRow,
    StudyTables,
)

ARMS = ("compressed_sensing", "dl_natural", "dl_cardiac")
TablesMaker = Callable[..., StudyTables]


def reading(
    reader: str,
    clip: str,
    given: Sequence[int] | None,
    arms: Sequence[str],
    order: Sequence[int],
    **more: object,
) -> list[RankingRow]:
    """Rows of one reading: ranks by arm (None: missing), shown in this order of places."""
    known = given is not None
    coded = [
        rank(given) if given is not None else (None,) * len(arms)
        for rank in (ranking.competition, ranking.mid_ranks, ranking.dense)
    ]
    fields = {"time_utc": "2026-11-22T10:00:00+00:00", **more}
    rows = []
    for place, arm in enumerate(order):
        rows.append(
            RankingRow(
                reader=reader,
                presentation=f"{clip}-{reader}-{fields.get('repeat', 0)}",
                clip=clip,
                method=arms[arm],
                position="ABCDEF"[place],
                rank_competition=coded[0][arm],
                rank_mid=coded[1][arm],
                rank_dense=coded[2][arm],
                **fields,  # type: ignore[arg-type]
            )
        )
    assert known or all(row.missing for row in rows)
    return rows


@pytest.fixture
def make_tables() -> TablesMaker:
    """`make_tables(clips=6, readers=("Anna", "Ben"), missing=True, …)`."""

    def make(
        *,
        seed: int = 1,
        arms: Sequence[str] = ARMS,
        readers: Sequence[str] = ("Anna", "Ben"),
        clips: int = 6,
        strata: Sequence[tuple[str, str]] = (("SAX", "radial"),),
        by: Sequence[str] = ("plane", "sampling"),
        subjects: int | None = None,
        tied: bool = False,
        unanimous: bool = False,
        missing: bool = False,
        repeats: int = 0,
        guesses: int = 0,
        observers: Sequence[str] = ("Paul",),
        **more: object,
    ) -> StudyTables:
        rng = np.random.default_rng(seed)
        size = len(arms)
        ranked: list[RankingRow] = []
        measured: list[MeasurementRow] = []
        guessed: list[GuessRow] = []
        for plane, sampling in strata:
            for number in range(clips):
                clip = f"{plane}-{sampling}-{number}"
                where = {
                    "subject": f"S{number % (subjects or clips) + 1}",
                    "plane": plane,
                    "sampling": sampling,
                }
                worth = rng.normal(0, 1, size) - 0.6 * np.arange(size)
                for reader in readers:
                    for repeat in range(2 if number < repeats else 1):
                        given = np.round(worth + rng.normal(0, 0.8, size))
                        if tied:
                            given[:] = 1
                        if unanimous:
                            given = np.arange(size)[::-1]
                        why = ""
                        if missing and reader == readers[-1] and number == 1 and not repeat:
                            why = CANNOT_JUDGE
                        if missing and reader == readers[0] and number == 3 and not repeat:
                            why = NOT_READ
                        ranked += reading(
                            reader,
                            clip,
                            None if why else ranking.competition(list(given)),
                            arms,
                            rng.permutation(size),
                            repeat=repeat,
                            missing=why,
                            seconds=None if why == NOT_READ else round(float(rng.uniform(5, 30)), 3),
                            frames_skipped=None if why == NOT_READ else int(rng.integers(0, 3)),
                            loops=None if why == NOT_READ else 2,
                            confidence=None if why else int(rng.integers(1, 6)),
                            session="" if why == NOT_READ else f"session-{reader}",
                            comment="motion" if why == CANNOT_JUDGE else "",
                            **where,
                        )
                    if number < guesses:
                        for place, arm in enumerate(rng.permutation(size)):
                            guess = int(rng.integers(0, size + 1))
                            guessed.append(
                                GuessRow(
                                    reader=reader,
                                    presentation=f"{clip}-{reader}-0",
                                    clip=clip,
                                    position="ABCDEF"[place],
                                    method=arms[arm],
                                    guess="" if guess == size else arms[guess],
                                    time_utc="2026-11-22T11:00:00+00:00",
                                    **where,
                                )
                            )
                for observer in observers:
                    if observer != observers[0] and number % 2:
                        continue
                    for place, arm in enumerate(arms):
                        gap = missing and number == 2 and place == 1
                        measured.append(
                            MeasurementRow(
                                observer=observer,
                                clip=clip,
                                method=arm,
                                snr_db_mean=None if gap else float(rng.normal(25 + place, 2)),
                                edge_sharpness_per_mm_mean=float(rng.normal(0.3, 0.03)),
                                edge_sharpness_per_mm_sd=float(rng.gamma(4, 0.01)),
                                warnings="=only 9 pixels" if number == 0 else "",
                                **where,
                            )
                        )
        conduct = Conduct(
            timeline=(("Unblinded", "2026-11-22T12:00:00+00:00", "Cora"),),
            sessions=tuple(
                SessionRow(reader, f"session-{reader}", "2026-11-22T09:58:00+00:00", "screen", "RX360")
                for reader in readers
            ),
            breaks=tuple(
                BreakRow(reader, "2026-11-22T10:30:00+00:00", 31.5, int(reader == readers[0]))
                for reader in readers
            ),
        )
        fields = {
            "guesses": tuple(guessed),
            "readers": tuple(readers),
            "strata": tuple(by),
            "conduct": conduct,
            **more,
        }
        return StudyTables("Study", tuple(arms), tuple(ranked), tuple(measured), **fields)  # type: ignore[arg-type]

    return make
