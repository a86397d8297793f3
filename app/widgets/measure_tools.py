"""The tools above the panel that is drawn on: what to draw, as what, in which frames, and what to do with it.

Buttons only say what the board is told; no button takes the keyboard, since the page has a key for each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QMenu, QToolButton, QVBoxLayout, QWidget

from app import theme
from app.widgets.elements import icon_button
from app.widgets.shape_board import ROLE_COLOURS, ROLE_NAMES, ROLES, SCOPES, Role, Scope, ShapeBoard
from app.widgets.shape_geometry import KINDS, Kind

Following: TypeAlias = Literal["none", "signal", "signal and line"]
FOLLOWING: tuple[Following, ...] = ("none", "signal", "signal and line")
LINE_WIDTHS_PX = (1, 3, 5, 7)

ROLE_TIPS: dict[Role, str] = {
    "signal": "Signal (S): a region in the blood pool or the tongue",
    "background": "Air (A): a region outside the body",
    "line": "Edge (L): drag a line across the septum or the border of the tongue",
    "profile": "y–t line (I): drag the line that is shown over time; without one it is the edge line",
}
_ROLE_WORDS: dict[Role, str] = {**ROLE_NAMES, "profile": "y–t"}
_ROLE_ICONS: dict[Role, str] = {
    "signal": "ellipse",
    "background": "rectangle",
    "line": "line",
    "profile": "line",
}
_KIND_TIPS: dict[Kind, str] = {
    "ellipse": "Ellipse (E): drag it",
    "rectangle": "Rectangle (R): drag it",
    "polygon": "Polygon (P): click its corners; close it with a double click or Enter",
    "freehand": "Freehand (H): draw around the region",
}
_SCOPE_NAMES: dict[Scope, str] = {
    "all": "All frames",
    "onward": "From here on",
    "frame": "This frame only",
}
_FOLLOWING_NAMES: dict[Following, str] = {
    "none": "Region stays",
    "signal": "Follow region",
    "signal and line": "Follow with edge",
}


class MeasureTools(QWidget):
    """Two rows of tools for a board.

    Args:
        board: what is drawn on.

    Signals:
        following_chosen: How shapes follow the tissue, of `FOLLOWING`.
        pixels_toggled: Show the borders of the measured pixels, or do not.
        copy_wanted: Take the shapes of the subject's scan that was measured last.
    """

    following_chosen = Signal(str)
    pixels_toggled = Signal(bool)
    copy_wanted = Signal()

    def __init__(self, board: ShapeBoard, parent: QWidget | None = None) -> None:
        """Build the rows."""
        super().__init__(parent)
        self._board = board
        self.roles = {role: self._role_button(role) for role in ROLES}
        self.kinds = {kind: self._kind_button(kind) for kind in KINDS}
        self.scope = self._box("Frames that a change counts in (K)", list(_SCOPE_NAMES.values()))
        self.scope.activated.connect(lambda index: board.set_scope(SCOPES[index]))
        self.following = self._box(
            "Move the signal region with the tissue under it, by whole pixels (F)",
            list(_FOLLOWING_NAMES.values()),
        )
        self.following.activated.connect(lambda index: self.following_chosen.emit(FOLLOWING[index]))
        self.line_width = self._box(
            "Width of the lines (W): profiles are the mean of this many parallel lines, one pixel apart",
            [f"{width} px" for width in LINE_WIDTHS_PX],
        )
        self.line_width.activated.connect(lambda index: board.set_line_width(LINE_WIDTHS_PX[index]))
        self._undo = icon_button("undo", "Undo (Ctrl+Z)", board.undo)
        self._redo = icon_button("redo", "Redo (Ctrl+Shift+Z)", board.redo)
        self.pixels = icon_button("pixels", "Borders of the measured pixels (M)", self._toggle_pixels)
        self.pixels.setCheckable(True)
        self._copy = icon_button(
            "copy", "Take the shapes of this subject's scan that was measured last (C)", self.copy_wanted.emit
        )
        self._menu = QMenu(self)
        self.more = QToolButton()
        self.more.setText("More")
        self.more.setToolTip("Copy, save, load, export, agreement")
        self.more.setAccessibleName("More")
        self.more.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.more.setMenu(self._menu)
        self._arrange()
        board.changed.connect(self.refresh)
        self.refresh()

    def add_action(self, text: str, stroke: str, action: Callable[[], object]) -> QAction:
        """Put an action in the menu; its key belongs to the page and is only shown."""
        item = QAction(f"{text}\t{stroke}" if stroke else text, self)
        item.triggered.connect(lambda _checked=False: action())
        self._menu.addAction(item)
        return item

    def add_separator(self) -> None:
        """Part the menu here."""
        self._menu.addSeparator()

    def refresh(self) -> None:
        """Show the state of the board."""
        board = self._board
        for role, button in self.roles.items():
            button.setChecked(board.armed == role)
        meant = board.armed or board.selected
        kind = board.kind(meant) if meant is not None else "line"
        for each, button in self.kinds.items():
            button.setChecked(each == kind)
        self.scope.setCurrentIndex(SCOPES.index(board.scope))
        self.following.setCurrentIndex(FOLLOWING.index(following_of(board)))
        if board.line_width_px in LINE_WIDTHS_PX:
            self.line_width.setCurrentIndex(LINE_WIDTHS_PX.index(board.line_width_px))
        self._undo.setEnabled(board.undoable)
        self._redo.setEnabled(board.redoable)

    def next_line_width(self) -> None:
        """Take the next width of the lines."""
        widths = LINE_WIDTHS_PX
        here = widths.index(self._board.line_width_px) if self._board.line_width_px in widths else -1
        self._board.set_line_width(widths[(here + 1) % len(widths)])

    def next_scope(self) -> None:
        """Take the next choice of frames that a change counts in."""
        self._board.set_scope(SCOPES[(SCOPES.index(self._board.scope) + 1) % len(SCOPES)])

    def next_following(self) -> None:
        """Ask for the next way of following."""
        here = FOLLOWING.index(following_of(self._board))
        self.following_chosen.emit(FOLLOWING[(here + 1) % len(FOLLOWING)])

    def _toggle_pixels(self) -> None:
        self.pixels_toggled.emit(self.pixels.isChecked())

    def _role_button(self, role: Role) -> QToolButton:
        button = QToolButton()
        button.setText(_ROLE_WORDS[role])
        button.setIcon(theme.icon(_ROLE_ICONS[role], ROLE_COLOURS[role]))
        button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        button.setIconSize(QSize(16, 16))
        button.setCheckable(True)
        button.setToolTip(ROLE_TIPS[role])
        button.setAccessibleName(f"Draw {ROLE_NAMES[role]}")
        button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        button.clicked.connect(lambda checked: self._board.arm(role if checked else None))
        return button

    def _kind_button(self, kind: Kind) -> QToolButton:
        button = icon_button(kind, _KIND_TIPS[kind], lambda: self._board.set_kind(kind), size_px=18)
        button.setCheckable(True)
        return button

    def _box(self, tip: str, entries: list[str]) -> QComboBox:
        box = QComboBox()
        box.addItems(entries)
        box.setToolTip(tip)
        box.setAccessibleName(tip.partition(" (")[0])
        box.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        return box

    def _arrange(self) -> None:
        first, second = QHBoxLayout(), QHBoxLayout()
        for row in (first, second):
            row.setSpacing(3)
        for button in self.roles.values():
            first.addWidget(button)
        first.addSpacing(4)
        for button in self.kinds.values():
            first.addWidget(button)
        first.addStretch(1)
        for button in (self._undo, self._redo):
            first.addWidget(button)
        for box in (self.scope, self.following, self.line_width):
            second.addWidget(box)
        second.addStretch(1)
        for button in (self.pixels, self._copy, self.more):
            second.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(first)
        layout.addLayout(second)


def following_of(board: ShapeBoard) -> Following:
    """What follows the tissue on a board."""
    motions = board.shapes.motions
    if "line" in motions:
        return "signal and line"
    return "signal" if motions else "none"
