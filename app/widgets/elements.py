"""Small pieces that the pages are built from: a label or a button in one of the theme's roles.

Rule: a role is the property `role` that the style sheet of `app.theme` looks at. A style sheet that looks at
a property is applied again only when the widget is polished anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QEvent, QObject, QSize, Qt
from PySide6.QtWidgets import QLabel, QScrollArea, QToolButton, QVBoxLayout, QWidget

from app import theme

_SCROLL_BAR_WIDTH = 12


def set_role(widget: QWidget, role: str) -> None:
    """Give a widget another role, and its looks."""
    if widget.property("role") != role:
        widget.setProperty("role", role)
        polish_anew(widget)


def polish_anew(widget: QWidget) -> None:
    """Apply the style sheet again, after a property that it looks at has changed."""
    widget.style().unpolish(widget)
    widget.style().polish(widget)


def styled_label(role: str, text: str = "") -> QLabel:
    """A label in a role: "title", "heading", "muted", "warning" or "error"."""
    label = QLabel(text)
    label.setProperty("role", role)
    return label


def wrapped(label: QLabel) -> QLabel:
    """Let a label's text take several lines, as narrow as its place may become; returns the label."""
    label.setWordWrap(True)
    # Left alone, a label with lines to wrap asks for a width that suits its text.
    label.setMinimumWidth(1)
    return label


def say(label: QLabel, text: str, role: str) -> None:
    """Show a sentence in a role."""
    label.setText(text)
    set_role(label, role)


def icon_button(
    icon: str, tip: str, action: Callable[[], object], *, colour: str = theme.TEXT, size_px: int | None = None
) -> QToolButton:
    """A button with an icon alone, which never takes the keyboard from the page.

    Args:
        icon: name of one of the theme's icons.
        tip: what it does, with its key in parentheses; without them it is the accessible name.
        action: called at a click.
        colour: of the icon.
        size_px: of the icon; the style's own by default.
    """
    button = QToolButton()
    button.setIcon(theme.icon(icon, colour))
    if size_px is not None:
        button.setIconSize(QSize(size_px, size_px))
    button.setToolTip(tip)
    button.setAccessibleName(tip.partition(" (")[0])
    button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    button.clicked.connect(lambda _checked=False: action())
    return button


def scrolled(widgets: Sequence[QWidget]) -> QScrollArea:
    """Widgets below each other, to be scrolled together from top to bottom."""
    body = QWidget()
    column = QVBoxLayout(body)
    column.setContentsMargins(0, 0, 8, 0)
    column.setSpacing(12)
    for widget in widgets:
        column.addWidget(widget)
    column.addStretch(1)
    area = _ScrolledColumn()
    area.setWidgetResizable(True)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setWidget(body)
    return area


class _ScrolledColumn(QScrollArea):
    """Never narrower than what it holds, whatever that becomes: there is no scrolling sideways."""

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """As wide as its content at its narrowest, beside the scroll bar."""
        least = super().minimumSizeHint()
        body = self.widget()
        return QSize(body.minimumSizeHint().width() + _SCROLL_BAR_WIDTH, least.height()) if body else least

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        """Ask for another width when the content does."""
        if watched is self.widget() and event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return super().eventFilter(watched, event)
