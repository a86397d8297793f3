"""An open study: its folder, its log, the state replayed from it, and what the role of who opened it allows.

Rule: the state is brought up to date before every look and every write, so several processes may hold one
study. A coordinator sees everything that is not blinded; a reader sees and adds only own answers; a physicist
measures and sees no answers. A reader's package can be opened by nobody but its reader.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, get_args

from studies.errors import StudyError
from studies.folder import StudyFolder
from studies.log import EventLog, Transaction
from studies.names import person_name
from studies.protocol import Protocol
from studies.state import Phase, StudyState

Role = Literal["coordinator", "reader", "physicist"]
ROLES: tuple[Role, ...] = get_args(Role)


class OpenStudy:
    """What the parts of `Study` share.

    Args:
        folder: of the study.
        log: of the study.
        role: of who opens it.
        person: name of who opens it; needed of a reader.

    Raises:
        StudyError: for an unknown role, or a reader without a name.
    """

    def __init__(self, folder: Path, log: EventLog, role: Role = "coordinator", person: str = "") -> None:
        """Take a log as it is; for `Study.create` and `Study.open`."""
        self.folder = folder
        self._files = StudyFolder(folder)
        self._log = log
        self._state = StudyState()
        self._guard = threading.RLock()
        self._set_role(role, person)

    def _set_role(self, role: Role, person: str) -> None:
        person = person_name(person)
        if role not in ROLES:
            raise StudyError(f"The role '{role}' is unknown: choose one of {', '.join(ROLES)}.")
        if role == "reader" and not person:
            raise StudyError("A reader opens a study under a name: give it.")
        self._role: Role = role
        self._person = person

    @property
    def role(self) -> Role:
        """In which role the study was opened."""
        return self._role

    @property
    def person(self) -> str:
        """Who opened the study; empty where nobody said."""
        return self._person

    @property
    def is_package(self) -> bool:
        """Whether this is one reader's package, and not the study itself."""
        return self._current().package is not None

    @property
    def second_copy(self) -> Path | None:
        """The file that gets a copy of each event, if there is to be one. Raises StudyError."""
        return self._files.second_copy

    @property
    def name(self) -> str:
        """The study's name."""
        return self.protocol.name

    @property
    def protocol(self) -> Protocol:
        """The open part of the protocol, as amended: endpoints, strata, alpha, display; never the arms."""
        protocol = self._current().protocol
        if protocol is None:
            raise StudyError(f"The study in '{self.folder}' has no protocol: make it anew.")
        return protocol

    @property
    def phase(self) -> Phase:
        """`design` until the lock, then `reading`, then `unblinded`."""
        return self._current().phase

    @property
    def arm_count(self) -> int:
        """How many movies stand side by side; known in every phase."""
        return self.protocol.arm_count

    def _current(self) -> StudyState:
        """Return the state after taking in what other processes have committed."""
        with self._guard:
            self._refresh()
            return self._state

    def _refresh(self) -> None:
        for event in self._log.events(after=self._state.sequence, expected=self._state.sequence):
            self._state.apply(event)

    @contextmanager
    def _writing(self, phase: Phase, action: str) -> Iterator[Transaction]:
        """Hold the log's write lock with the state up to date; what is appended is durable on exit."""
        with self._guard:
            with self._log.transaction() as transaction:
                for event in transaction.events(after=self._state.sequence, expected=self._state.sequence):
                    self._state.apply(event)
                self._require(self._state, phase, action)
                yield transaction
            self._refresh()

    def _require(self, state: StudyState, phase: Phase, action: str) -> None:
        reasons = {
            "design": "the study is not locked yet",
            "reading": "the study is locked",
            "unblinded": "the study is unblinded and frozen",
        }
        if state.phase != phase:
            raise StudyError(f"It is not possible to {action}: {reasons[state.phase]}.")

    def _permit(self, action: str, *roles: Role) -> None:
        """Raise StudyError unless the study was opened in one of these roles."""
        if self._role not in roles:
            raise StudyError(
                f"The study is open for a {self._role}, who cannot {action}: that takes a "
                f"{' or a '.join(roles)}."
            )

    def _sees(self, reader: str) -> bool:
        """Whether a reader's answers may be seen."""
        return self._role == "coordinator" or (self._role == "reader" and person_name(reader) == self._person)

    def _own(self, reader: str) -> str:
        """Return a reader's name in one spelling. Raises StudyError when the answers are not to be seen."""
        if not self._sees(reader):
            raise StudyError(
                f"The study is open for the {self._role}{f' {self._person}' if self._person else ''}, who "
                f"sees no answers of '{reader}'."
            )
        return person_name(reader)
