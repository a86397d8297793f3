"""A study before its lock: the protocol to edit on the left; scans, balance and power on the right."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtWidgets import QAbstractSpinBox, QHBoxLayout, QLineEdit, QWidget

from app.study_snapshot import StudySnapshot
from app.widgets.balance_view import BalanceView
from app.widgets.elements import scrolled
from app.widgets.power_view import PowerView
from app.widgets.protocol_form import ProtocolForm
from app.widgets.scan_plan import ScanPlanView


class DesignView(QWidget):
    """Form, scans, balance and power of one study.

    Args:
        known_methods: names that are offered as methods.
        parent: Qt owner.
    """

    def __init__(self, known_methods: Sequence[str], parent: QWidget | None = None) -> None:
        """Build the view, empty."""
        super().__init__(parent)
        self.form = ProtocolForm(known_methods)
        self.plan = ScanPlanView()
        self.balance = BalanceView()
        self.power = PowerView()
        self.form_area = scrolled((self.form,))
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(16)
        layout.addWidget(self.form_area, 1)
        layout.addWidget(scrolled((self.plan, self.balance, self.power)), 1)

    def show_snapshot(self, snapshot: StudySnapshot) -> None:
        """Show a study before its lock."""
        if snapshot.design is None:
            return
        self.form.set_design(snapshot.design)
        self.form.fix_methods(any(scan.complete for scan in snapshot.scans))
        self.plan.show_snapshot(snapshot)
        self.balance.show_assessment(snapshot.assessment)
        protocol = snapshot.protocol
        sizes = [stratum.subjects for stratum in snapshot.assessment.strata]
        self.power.set_study(sizes, protocol.arm_count, protocol.alpha)

    def show_field(self, name: str) -> None:
        """Bring a field into view and give it the keyboard."""
        editor = self.form.editors[name]
        self.form_area.ensureWidgetVisible(editor)
        editor.setFocus()
        control = editor.focusProxy()
        if isinstance(control, (QLineEdit, QAbstractSpinBox)):
            control.selectAll()
