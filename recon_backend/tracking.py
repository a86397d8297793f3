"""How far a job is, how long it still takes, and how it is stopped at once.

A job is a list of steps. What a step takes is learnt: for each kind of step the seconds per unit of work of
past runs are kept on disk, and their profile, the share of its time that has passed when it reports that a
fraction is done (compiling makes the first reports late). With e_j the expected seconds of step j and c the
pace of this job against the past ones, what remains is

    d − a + c · Σ_later e_j,    d = w · t/s + (1 − w) · c · e,

where the running step has run for a seconds and last reported t seconds after its start, at the share s of
its profile; w grows from 0 to 1 over the first quarter of the step.

Steps run in a thread of their own while the caller looks ten times a second whether to go on. A cancelled
step is left behind and ends at its next report; the next step waits until it has.
"""

from __future__ import annotations

import json
import logging
import platform
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from recon_backend.errors import Cancelled, ReconstructionError
from recon_backend.storage import write_durably

Result = TypeVar("Result")

_KNOTS = np.linspace(0.0, 1.0, 21)
_LEAST_LEARNING = 0.3
_TRUSTED_SHARE = 0.25
_PRIOR_LEARNT, _PRIOR_GUESSED = 0.1, 0.02
_NEVER_DONE = 0.1
_POLL_S = 0.1
_LONGEST_WAIT_S = 120.0
_WAITING = "Waiting for the cancelled job to stop"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Status:
    """How far a job is.

    Attributes:
        phase: what is being done, in words.
        fraction: part of the whole that is done, in time, 0 to 1.
        remaining_s: seconds that it still takes, or None if that cannot be said.
    """

    phase: str
    fraction: float
    remaining_s: float | None


@dataclass(frozen=True)
class Step:
    """A part of a job.

    Attributes:
        label: what people read.
        kind: what past runs it is compared with.
        units: how much work it is, in a unit of its kind.
        guess_s: expected seconds as long as there is no past run.
        like: another kind, whose past runs tell more than the guess if its own has none.
        computes: whether its pace tells something about the other steps; reading and importing do not.
    """

    label: str
    kind: str
    units: float
    guess_s: float
    like: str = ""
    computes: bool = True


@dataclass
class _Pace:
    """What is known of a kind of step: seconds per unit and time shares at the knots, means of past runs."""

    seconds_per_unit: float
    shares: list[float]
    runs: int

    def to_dict(self) -> dict[str, Any]:
        return {"seconds_per_unit": self.seconds_per_unit, "shares": self.shares, "runs": self.runs}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> _Pace:
        """Raises ValueError, TypeError or KeyError if the record is damaged."""
        pace = cls(
            float(record["seconds_per_unit"]), [float(v) for v in record["shares"]], int(record["runs"])
        )
        values = np.asarray([pace.seconds_per_unit, *pace.shares])
        if len(pace.shares) != len(_KNOTS) or not np.isfinite(values).all() or values.min() < 0:
            raise ValueError("not a pace")
        return pace


class Paces:
    """What past runs took, in a file that several processes share; the last to write wins."""

    def __init__(self, path: Path | None) -> None:
        """Name the file; None keeps what is learnt in memory."""
        self._path = path
        self._machine = platform.node()
        self._paces: dict[str, _Pace] = {}
        self._read()

    def expected_s(self, step: Step) -> float:
        """Seconds that a step is expected to take."""
        pace = self._find(step)
        return step.guess_s if pace is None else pace.seconds_per_unit * step.units

    def share(self, step: Step, fraction: float) -> float:
        """Share of a step's time that has passed when it reports `fraction`."""
        pace = self._find(step)
        return fraction if pace is None else float(np.interp(fraction, _KNOTS, pace.shares))

    def knows(self, step: Step) -> bool:
        """Whether there is a past run to compare with."""
        return self._find(step) is not None

    def learn(self, step: Step, seconds: float, reports: Sequence[tuple[float, float]]) -> None:
        """Remember a step that has ended.

        Args:
            step: which.
            seconds: how long it took.
            reports: (fraction, seconds since its start), both rising.
        """
        if seconds <= 0 or step.units <= 0:
            return
        points = [(fraction, after_s / seconds) for fraction, after_s in reports if fraction < 1]
        fractions, passed = zip((0.0, 0.0), *points, (1.0, 1.0), strict=True)
        shares = np.interp(_KNOTS, fractions, passed)
        self._read()
        name = self._name(step.kind)
        old = self._paces.get(name)
        if old is None:
            self._paces[name] = _Pace(seconds / step.units, shares.tolist(), 1)
        else:
            weight = max(1 / (old.runs + 1), _LEAST_LEARNING)
            old.seconds_per_unit += weight * (seconds / step.units - old.seconds_per_unit)
            old.shares = ((1 - weight) * np.asarray(old.shares) + weight * shares).tolist()
            old.runs += 1
        self._write()

    def _find(self, step: Step) -> _Pace | None:
        return self._paces.get(self._name(step.kind)) or self._paces.get(self._name(step.like))

    def _name(self, kind: str) -> str:
        return f"{self._machine}/{kind}"

    def _read(self) -> None:
        if self._path is None:
            return
        try:
            records = json.loads(self._path.read_bytes())
            self._paces = {str(name): _Pace.from_dict(record) for name, record in records.items()}
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            _logger.warning("the times of past runs cannot be read and are learnt anew: %s", error)

    def _write(self) -> None:
        if self._path is None:
            return
        try:
            text = json.dumps({name: pace.to_dict() for name, pace in sorted(self._paces.items())})
            write_durably(self._path, text.encode())
        except OSError as error:
            _logger.warning("the times of this run are not kept: %s", error)


class Tracker:
    """Runs the steps of one job and tells how far it is.

    Args:
        sink: called about ten times a second, from this thread and from that of a step; what it raises stops
            the job. None: nobody looks, and steps run in this thread.
        paces: what past runs took.
        clock: seconds; tests put their own in its place.
    """

    def __init__(
        self,
        sink: Callable[[Status], None] | None,
        paces: Paces | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start without steps."""
        self._sink = sink
        self._paces = paces if paces is not None else Paces(None)
        self._clock = clock
        self._lock = threading.RLock()
        self._stopped = threading.Event()
        self._later: list[Step] = []
        self._step: Step | None = None
        self._step_began = self._planned = clock()
        self._reports: list[tuple[float, float]] = []
        # Seconds expected and taken by steps done: where past runs were known, and where not.
        self._compared = {True: (0.0, 0.0), False: (0.0, 0.0)}
        self._low, self._high, self._shown = 0.0, 1.0, 0.0

    def plan(self, steps: Sequence[Step], *, up_to: float = 1.0) -> None:
        """Say which steps come; they fill the bar from where it is up to `up_to`.

        As long as that is less than 1, more is to come that nobody knows yet, and there is no estimate.
        """
        with self._lock:
            self._later = list(steps)
            self._low, self._high = self._shown, max(up_to, self._shown)
            self._planned = self._clock()

    def run(self, step: Step, work: Callable[[Callable[[float], None]], Result]) -> Result:
        """Do a step: `work` is handed a function that takes the fraction of the step that is done.

        Raises:
            Cancelled: the sink asked for it; `work` may go on in the background until its next report.
            ReconstructionError: work that was left behind before does not end.
        """
        self._begin(step)
        result = work(self.report) if self._sink is None else self._watched(lambda: work(self.report))
        self._end(step)
        return result

    def report(self, fraction: float) -> None:
        """Take the fraction of the running step that is done. Raises what the sink raises."""
        with self._lock:
            # The first report of a fraction counts; later ones come from looking whether to go on.
            if fraction > (self._reports[-1][0] if self._reports else 0.0):
                self._reports.append((min(fraction, 1.0), self._clock() - self._step_began))
        self.look()

    def look(self) -> None:
        """Tell the sink how far the job is now. Raises what the sink raises."""
        if self._stopped.is_set():
            raise Cancelled("cancelled")
        if self._sink is None:
            return
        with self._lock:  # two threads look: what the one has seen must not be told after the other's
            label = self._step.label if self._step is not None else ""
            self._sink(Status(label, self.fraction(), self.remaining_s()))

    def fraction(self) -> float:
        """Fraction of the whole that is done, in time; it never goes back."""
        with self._lock:
            taken_s, left_s = self._clock() - self._planned, self._left_s()
            if taken_s + left_s > 0:
                part = taken_s / (taken_s + left_s)
                self._shown = max(self._shown, self._low + (self._high - self._low) * part)
            return self._shown

    def remaining_s(self) -> float | None:
        """Seconds that the job still takes; None as long as that cannot be said."""
        with self._lock:
            if self._high < 1 or self._step is None:
                return None
            unknown = [step for step in (self._step, *self._later) if not self._paces.knows(step)]
            if unknown and self._compared[False] == (0.0, 0.0) and self._share() == 0:
                return None  # nothing but guesses
            return self._left_s()

    def _left_s(self) -> float:
        """Seconds that the running and the later steps take."""
        left_s = 0.0
        if self._step is not None:
            share, trust = self._share(), self._trust()
            projected_s = self._pace_of(self._step) * self._paces.expected_s(self._step)
            if share > 0:
                projected_s = trust * self._reports[-1][1] / share + (1 - trust) * projected_s
            elapsed_s = self._clock() - self._step_began
            # What outlasts its estimate is never quite done.
            left_s = max(projected_s - elapsed_s, _NEVER_DONE * (1 - share) * max(projected_s, elapsed_s))
        return left_s + sum(self._pace_of(step) * self._paces.expected_s(step) for step in self._later)

    def _pace_of(self, step: Step) -> float:
        """How much slower than expected a step is likely to be, from the steps done and part of the present.

        A machine that is busy slows what is known from past runs by one factor; guesses are wrong by another.
        """
        if not step.computes:
            return 1.0
        known = self._paces.knows(step)
        expected_s, taken_s = self._compared[known]
        if self._step is not None and self._step.computes and self._paces.knows(self._step) == known:
            told = self._share() * self._trust()
            if told > 0:
                expected_s += told * self._paces.expected_s(self._step)
                taken_s += self._trust() * self._reports[-1][1]
        # Past runs are believed until as much has been seen as a part of what is to come.
        ahead = [other for other in (self._step, *self._later) if other is not None and other.computes]
        prior_s = sum(map(self._paces.expected_s, ahead)) * (_PRIOR_LEARNT if known else _PRIOR_GUESSED)
        return (taken_s + prior_s) / (expected_s + prior_s) if expected_s + prior_s > 0 else 1.0

    def _share(self) -> float:
        """Share of the running step's time that had passed at its last report."""
        if self._step is None or not self._reports:
            return 0.0
        return self._paces.share(self._step, self._reports[-1][0])

    def _trust(self) -> float:
        """How far the running step's reports are believed against past runs."""
        return min(1.0, self._share() / _TRUSTED_SHARE)

    def _begin(self, step: Step) -> None:
        with self._lock:
            if step in self._later:
                self._later.remove(step)
            self._step, self._reports = step, []
            self._step_began = self._clock()

    def _end(self, step: Step) -> None:
        with self._lock:
            seconds = self._clock() - self._step_began
            if step.computes:
                known = self._paces.knows(step)
                expected_s, taken_s = self._compared[known]
                self._compared[known] = (expected_s + self._paces.expected_s(step), taken_s + seconds)
            self._step = None
            reports, self._reports = self._reports, []
        self._paces.learn(step, seconds, reports)

    def _watched(self, work: Callable[[], Result]) -> Result:
        """Run `work` in a thread and look at the sink meanwhile."""
        self._wait_for_those_left_behind()
        with self._lock:
            self._step_began = self._clock()
        results: list[Result] = []
        errors: list[BaseException] = []

        def body() -> None:
            try:
                results.append(work())
            except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that waits
                errors.append(error)

        thread = threading.Thread(target=body, name="reconstruction step", daemon=True)
        thread.start()
        try:
            self.look()
            while thread.is_alive():
                thread.join(_POLL_S)
                self.look()
        except KeyboardInterrupt:
            # The program ends now, and no native code may run while the interpreter goes down.
            self._stopped.set()
            thread.join()
            raise
        except BaseException:
            self._stopped.set()
            if thread.is_alive():
                _left_behind.append(thread)
            raise
        if errors:
            raise errors[0]
        return results[0]

    def _wait_for_those_left_behind(self) -> None:
        """Two jobs at once would need twice the memory, and slow each other down."""
        deadline_s = time.monotonic() + _LONGEST_WAIT_S
        while work_goes_on():
            if self._sink is not None:
                self._sink(Status(_WAITING, self.fraction(), None))
            time.sleep(_POLL_S)
            if time.monotonic() > deadline_s:
                raise ReconstructionError("A job that was cancelled does not stop; start the program again.")


_left_behind: list[threading.Thread] = []


def work_goes_on() -> bool:
    """Whether a step that was cancelled has not ended yet."""
    _left_behind[:] = [thread for thread in _left_behind if thread.is_alive()]
    return bool(_left_behind)
