"""What N clips can show: the chance that the planned tests find a difference, before anything is locked.

The numbers come from a process of their own, which is ended as soon as N, the number of methods or the level
change, and while another page is shown.
"""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QSpinBox, QVBoxLayout, QWidget

from app.power_process import PowerProcess, PowerQuestion
from app.widgets.elements import say, styled_label, wrapped
from app.widgets.field_editors import inset_text
from app.widgets.plain_table import PlainTable
from studies.power import MAXIMUM_CLIPS, Capability, PairPower, ScenarioPower

_SETTLE_MS = 350
_DEFAULT_CLIPS = 10
_COLUMNS = ("Difference", "Any", "Neighbours", "Nemenyi", "First–last", "Nemenyi")


class PowerView(QFrame):
    """N, the table of scenarios, and what the tests cannot show.

    Args:
        parent: Qt owner.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        """Build the card; nothing is computed before `set_active`."""
        super().__init__(parent)
        self.setProperty("role", "card")
        self.process = PowerProcess(self)
        self.process.found.connect(self._show)
        self.process.failed.connect(self._fail)
        self._arms, self._alpha = 0, 0.0
        self._question: PowerQuestion | None = None
        self._active = False
        self._chosen = False
        self.clips = QSpinBox()
        self.clips.setRange(1, MAXIMUM_CLIPS)
        self.clips.setValue(_DEFAULT_CLIPS)
        self.clips.setPrefix("N = ")
        inset_text(self.clips)
        self.clips.setAccessibleName("Number of subjects in a group")
        self.clips.setToolTip("Subjects in a group; the clips of one subject count as one")
        self.clips.valueChanged.connect(self._on_clips)
        self.verdict = wrapped(QLabel())
        self.table = PlainTable(_COLUMNS, "Power of the planned tests", right=range(1, len(_COLUMNS)))
        self.table.setToolTip(
            "Chance that a difference is declared. Any: Friedman's test, exact. Neighbours: the last two\n"
            "methods; First–last: the two ends; both by exact sign tests in closed testing, then by Nemenyi\n"
            "as published. "
            "SD: of one method's appearance from clip to clip. One reader."
        )
        self.warning = wrapped(styled_label("warning"))
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_SETTLE_MS)
        self._timer.timeout.connect(self._ask)
        head = QHBoxLayout()
        head.addWidget(styled_label("heading", "What can N show?"))
        head.addStretch(1)
        head.addWidget(self.clips)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(18, 14, 18, 16)
        layout.setSpacing(10)
        layout.addLayout(head)
        layout.addWidget(self.verdict)
        layout.addWidget(self.table)
        layout.addWidget(self.warning)
        self._clear("")

    def set_study(self, sizes: Sequence[int], arms: int, alpha: float) -> None:
        """Ask for a study.

        Args:
            sizes: subjects in each group; the smallest is N until a person chooses another.
            arms: number of methods.
            alpha: significance level.
        """
        if sizes and not self._chosen:
            self.clips.blockSignals(True)
            self.clips.setValue(min(sizes))
            self.clips.blockSignals(False)
        self._arms, self._alpha = arms, alpha
        self._later()

    def set_active(self, active: bool) -> None:
        """Compute, or stop at once."""
        self._active = active
        if active:
            self._later()
        else:
            self._question = None
            self._timer.stop()
            self.process.cancel()

    def _on_clips(self) -> None:
        self._chosen = True
        self._later()

    def _later(self) -> None:
        question = PowerQuestion(self.clips.value(), self._arms, self._alpha)
        if self._active and self._arms and question != self._question:
            self._question = question
            self.process.cancel()
            self._clear("Computing …")
            self._timer.start()

    def _ask(self) -> None:
        if self._question is not None:
            self.process.ask(self._question)

    def _clear(self, text: str) -> None:
        say(self.verdict, text, "muted")
        unknown = ["…"] * (len(_COLUMNS) - 1)
        self.table.set_rows([[row[0], *unknown] for row in self.table.texts()])
        self.table.setEnabled(False)
        self.warning.hide()

    def _fail(self, sentence: str) -> None:
        say(self.verdict, sentence, "error")

    def _show(self, found: Capability) -> None:
        self.table.setEnabled(True)
        self.table.set_rows([_row(scenario) for scenario in found.scenarios])
        say(self.verdict, _verdict(found), "")
        self.warning.setText("\n".join(found.notes))
        self.warning.setVisible(bool(found.notes))


def _verdict(found: Capability) -> str:
    """The table in one sentence, for the last scenario: the clearest order of all methods."""
    clearest = found.scenarios[-1]
    near = _pair(clearest, len(clearest.means_sd) - 2, len(clearest.means_sd) - 1)
    how = "exact" if clearest.kind == "exact" else f"simulated, ± {clearest.standard_error:.1%}"
    return (
        f"With N = {found.clips} and {found.arms} methods, neighbours {near.difference_sd:g} SD apart are "
        f"told apart with {near.closed:.0%} by exact tests, {near.nemenyi:.0%} by Nemenyi ({how})."
    )


def _row(scenario: ScenarioPower) -> tuple[str, ...]:
    last = len(scenario.means_sd) - 1
    near, far = _pair(scenario, last - 1, last), _pair(scenario, 0, last)
    values = (scenario.omnibus, near.closed, near.nemenyi, far.closed, far.nemenyi)
    return (scenario.name, *(f"{value:.0%}" for value in values))


def _pair(scenario: ScenarioPower, first: int, second: int) -> PairPower:
    return next(pair for pair in scenario.pairs if (pair.first, pair.second) == (first, second))
