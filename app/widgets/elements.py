"""Small pieces that the pages are built from: a label or a button in one of the theme's roles.

Rule: a role is the property `role` that the style sheet of `app.theme` looks at. A style sheet that looks at
a property is applied again only when the widget is polished anew.
"""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import QLabel, QToolButton, QWidget

from app import theme


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
