"""The look of the window: colours, type, style sheet and icons.

Images are judged on this screen, so everything around them is dark and neutral grey: a coloured or bright
surround changes how grey levels are seen. One restrained accent marks what is active; warnings and errors
also carry words. Icons are small SVG drawings kept here as text, so that they scale with the screen and need
no files.
"""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path

from PySide6.QtCore import QByteArray, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontDatabase, QIcon, QPainter, QPalette, QPixmap
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QApplication, QStyleFactory

VIEW = "#040405"
SUNKEN = "#0f1113"
BACKGROUND = "#16181b"
RAISED = "#1d2024"
CONTROL = "#282c32"
CONTROL_HOVER = "#323740"
BORDER = "#33383f"
TEXT = "#d9dce0"
MUTED = "#9198a1"
DISABLED = "#5b626b"
ACCENT = "#5c9fb5"
ACCENT_DEEP = "#2c5a6b"
GOOD = "#7fae8a"
WARNING = "#cfa75f"
ERROR = "#d17b74"

_FONT_FAMILIES = (
    "Inter",
    "Segoe UI",
    "SF Pro Text",
    "Helvetica Neue",
    "Noto Sans",
    "Open Sans",
    "Roboto",
    "DejaVu Sans",
)
_ICON_SIZES = (16, 20, 24, 32, 48)

_ICON_SHAPES = {
    "play": '<path d="M8 5.5v13l10.5-6.5z" fill="COLOUR" stroke-width="1.2"/>',
    "pause": '<path d="M8 5.5v13M16 5.5v13" stroke-width="3"/>',
    "step_back": '<path d="M17 6v12l-8.5-6z" fill="COLOUR" stroke-width="1.2"/>'
    '<path d="M6 6v12" stroke-width="2"/>',
    "step_forward": '<path d="M7 6v12l8.5-6z" fill="COLOUR" stroke-width="1.2"/>'
    '<path d="M18 6v12" stroke-width="2"/>',
    "data": '<path d="M3.5 6.5h6l2 2.5h9v9.500h-17z"/><path d="M3.500 12h17"/>',
    "reconstruct": '<path d="M3.500 12c2 0 2-6 4-6s2 12 4 12 2-8 4-8 1.500 2 5 2"/>',
    "read": '<rect x="2.500" y="6" width="5.500" height="12" rx="1"/>'
    '<rect x="9.250" y="6" width="5.500" height="12" rx="1"/>'
    '<rect x="16" y="6" width="5.500" height="12" rx="1"/>',
    "measure": '<ellipse cx="10" cy="10.500" rx="6" ry="5"/><path d="M13.500 20.500l7-7"/>'
    '<path d="M12.500 19.500l2 2M19.500 12.500l2 2"/>',
    "results": '<path d="M4 4v16h16"/><path d="M8.500 16v-4M12.500 16V8M16.500 16v-6" stroke-width="2.400"/>',
    "file": '<path d="M6 3.500h8l4.500 4.500v12.500H6z"/><path d="M14 3.500V8h4.500"/>',
    "folder": '<path d="M3.500 6h6l2 2.500h9v10.500h-17z"/>',
    "add": '<path d="M12 5v14M5 12h14"/>',
    "remove": '<path d="M5 12h14"/>',
    "cancel": '<path d="M6.500 6.500l11 11M17.500 6.500l-11 11"/>',
    "check": '<path d="M5 12.500l4.500 4.500L19 7.500"/>',
    "warning": '<path d="M12 4.500l8.500 15h-17z"/>'
    '<path d="M12 10v4.500M12 16.800v.400" stroke-width="1.800"/>',
    "lock": '<rect x="5.500" y="11" width="13" height="9" rx="1.500"/>'
    '<path d="M8.500 11V8a3.500 3.500 0 0 1 7 0v3"/>',
    "unlock": '<rect x="5.500" y="11" width="13" height="9" rx="1.500"/>'
    '<path d="M8.500 11V8a3.500 3.500 0 0 1 6.700-1.400"/>',
    "study": '<rect x="5" y="5" width="14" height="16" rx="1.500"/><path d="M9 3.500h6v3H9z"/>'
    '<path d="M8.500 11.500h7M8.500 15h7"/>',
    "save": '<path d="M12 4v10M8 10.500l4 4 4-4"/><path d="M4.500 16.500v3.500h15v-3.500"/>',
    "levels": '<circle cx="12" cy="12" r="7.500"/>'
    '<path d="M12 4.500a7.500 7.500 0 0 1 0 15z" fill="COLOUR"/>',
    "fit": '<path d="M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5"/>',
    "help": '<circle cx="12" cy="12" r="8.500"/>'
    '<path d="M9.500 9.700a2.500 2.500 0 1 1 3.700 2.200c-.9.500-1.200 1-1.200 1.900M12 16.500v.400"/>',
    "undo": '<path d="M8.500 5L4.500 9l4 4"/><path d="M4.500 9h9.500a5.500 5.500 0 0 1 0 11H9"/>',
    "ellipse": '<ellipse cx="12" cy="12" rx="8" ry="6"/>',
    "rectangle": '<rect x="4.500" y="6.500" width="15" height="11"/>',
    "polygon": '<path d="M5 9l7-4.500 7.500 4-2.500 9.500-9.500 1z"/>',
    "freehand": '<path d="M12 5c4.500-.5 7.500 2 7 5.500-.400 3-3 3-3.500 5.500-.600 3-5.500 3.500-8 1.500'
    '-3-2.400-3.500-9 4.500-12.500z"/>',
    "pixels": '<path d="M8 4.500h8v4h4v7h-4v4H8v-4H4v-7h4z"/>',
    "copy": '<rect x="8.500" y="8.500" width="11" height="11" rx="1"/><path d="M15.500 5.500v-1h-11v11h1"/>',
    "redo": '<path d="M15.500 5l4 4-4 4"/><path d="M19.500 9H10a5.500 5.500 0 0 0 0 11h5"/>',
    "line": '<path d="M5.500 18.500l13-13"/>'
    '<circle cx="5" cy="19" r="1.700"/><circle cx="19" cy="5" r="1.700"/>',
    "export": '<path d="M12 14V4M8 7.500l4-4 4 4"/><path d="M4.500 13v7h15v-7"/>',
    "clock": '<circle cx="12" cy="12" r="8"/><path d="M12 7.500V12l3 2.500"/>',
    "fullscreen": '<path d="M4.500 9.500v-5h5M19.500 14.500v5h-5M4.500 4.500l6 6M19.500 19.500l-6-6"/>',
    "info": '<circle cx="12" cy="12" r="8.500"/><path d="M12 11v5.500M12 7.500v.400" stroke-width="1.800"/>',
    "person": '<circle cx="12" cy="8.500" r="3.700"/>'
    '<path d="M4.500 20c.6-4 3.600-6 7.500-6s6.900 2 7.500 6"/>',
    "up": '<path d="M12 19V6M6.500 11.500L12 6l5.500 5.500"/>',
    "down": '<path d="M12 5v13M6.500 12.500L12 18l5.500-5.500"/>',
    "top": '<path d="M12 20V9.500M6.500 15L12 9.500l5.500 5.500M5.500 4.500h13"/>',
    "more": '<path d="M6 9.500l6 6 6-6" stroke-width="1.800"/>',
    "less": '<path d="M6 14.500l6-6 6 6" stroke-width="1.800"/>',
    "retry": '<path d="M19 12a7 7 0 1 1-2.200-5.100"/><path d="M19.500 3.500v4.500H15"/>',
}

_INDICATORS = (
    ("chevron", '<path d="M6 9.500l6 6 6-6" stroke-width="2.200"/>', MUTED),
    ("rise", '<path d="M6 14.500l6-6 6 6" stroke-width="2.200"/>', MUTED),
    ("check", '<path d="M5 12.500l4.500 4.500L19 7.500" stroke-width="3"/>', TEXT),
    ("dot", '<circle cx="12" cy="12" r="5" fill="COLOUR"/>', TEXT),
)


def icon_names() -> tuple[str, ...]:
    """Names that `icon` knows."""
    return tuple(_ICON_SHAPES)


@lru_cache(maxsize=256)
def icon(name: str, colour: str = TEXT) -> QIcon:
    """Draw an icon by name in a colour; its disabled form is greyed.

    Raises:
        KeyError: if there is no icon of that name.
    """
    result = QIcon()
    for size in _ICON_SIZES:
        for ratio in (1.0, 2.0):
            result.addPixmap(_pixmap(name, colour, size, ratio), QIcon.Mode.Normal)
            result.addPixmap(_pixmap(name, DISABLED, size, ratio), QIcon.Mode.Disabled)
    return result


def pixmap(name: str, colour: str, size: int, ratio: float = 1.0) -> QPixmap:
    """Draw an icon as a square pixmap of `size` logical pixels for a screen of a device pixel ratio."""
    return _pixmap(name, colour, size, ratio)


def _pixmap(name: str, colour: str, size: int, ratio: float) -> QPixmap:
    drawing = _svg(_ICON_SHAPES[name], colour)
    pixels = round(size * ratio)
    result = QPixmap(pixels, pixels)
    result.fill(Qt.GlobalColor.transparent)
    painter = QPainter(result)
    QSvgRenderer(QByteArray(drawing.encode())).render(painter, QRectF(0, 0, pixels, pixels))
    painter.end()
    result.setDevicePixelRatio(ratio)
    return result


def _svg(shape: str, colour: str) -> str:
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><g fill="none" '
        f'stroke="{colour}" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round">'
        f"{shape.replace('COLOUR', colour)}</g></svg>"
    )


def interface_font() -> QFont:
    """The first readable font that this machine has, at the desktop's size but not below 10 points."""
    available = set(QFontDatabase.families())
    font = QFont(next((family for family in _FONT_FAMILIES if family in available), QFont().family()))
    font.setPointSizeF(max(10.0, QFont().pointSizeF()))
    return font


def apply_theme(application: QApplication) -> None:
    """Give an application the dark look, independent of the desktop's own theme."""
    application.setStyle(QStyleFactory.create("Fusion"))
    application.setFont(interface_font())
    application.setPalette(_palette())
    application.setStyleSheet(_STYLE_SHEET + _indicator_style(_drawn_indicators()))


@lru_cache(maxsize=1)
def _image_folder() -> tempfile.TemporaryDirectory[str]:
    """Where drawn indicators lie until the process ends: style sheets take images from files only."""
    return tempfile.TemporaryDirectory(prefix="blindcine-look-", ignore_cleanup_errors=True)


def _drawn_indicators() -> Path:
    folder = Path(_image_folder().name)
    for name, shape, colour in _INDICATORS:
        folder.joinpath(f"{name}.svg").write_text(_svg(shape, colour), encoding="utf-8")
    return folder


def _indicator_style(folder: Path) -> str:
    chevron, rise, check, dot = ((folder / f"{name}.svg").as_posix() for name, _, _ in _INDICATORS)
    return f"""
QComboBox::down-arrow {{ image: url("{chevron}"); width: 14px; height: 14px; }}
QSpinBox::up-arrow, QDoubleSpinBox::up-arrow {{ image: url("{rise}"); width: 11px; height: 11px; }}
QSpinBox::down-arrow, QDoubleSpinBox::down-arrow {{ image: url("{chevron}"); width: 11px; height: 11px; }}
QCheckBox::indicator:checked, QAbstractItemView::indicator:checked {{ image: url("{check}"); }}
QRadioButton::indicator:checked {{ image: url("{dot}"); }}
"""


def _palette() -> QPalette:
    palette = QPalette()
    role = QPalette.ColorRole
    for which, colour in (
        (role.Window, BACKGROUND),
        (role.WindowText, TEXT),
        (role.Base, SUNKEN),
        (role.AlternateBase, RAISED),
        (role.Text, TEXT),
        (role.Button, CONTROL),
        (role.ButtonText, TEXT),
        (role.BrightText, "#ffffff"),
        (role.Highlight, ACCENT_DEEP),
        (role.HighlightedText, "#ffffff"),
        (role.ToolTipBase, CONTROL),
        (role.ToolTipText, TEXT),
        (role.PlaceholderText, MUTED),
        (role.Link, ACCENT),
        (role.Mid, BORDER),
        (role.Dark, SUNKEN),
        (role.Light, CONTROL_HOVER),
    ):
        palette.setColor(which, QColor(colour))
    for which in (role.WindowText, role.Text, role.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, which, QColor(DISABLED))
    return palette


_STYLE_SHEET = f"""
QWidget {{ color: {TEXT}; }}
QMainWindow, QDialog, QStackedWidget {{ background: {BACKGROUND}; }}
QToolTip {{ background: {CONTROL}; color: {TEXT}; border: 1px solid {BORDER}; padding: 5px 8px; }}
QLabel[role="title"] {{ font-size: 17pt; font-weight: 500; }}
QLabel[role="heading"] {{ font-size: 11.5pt; font-weight: 600; }}
QLabel[role="muted"] {{ color: {MUTED}; }}
QLabel[role="error"] {{ color: {ERROR}; }}
QLabel[role="warning"] {{ color: {WARNING}; }}
QLabel[role="good"] {{ color: {GOOD}; }}
QFrame[role="card"] {{ background: {RAISED}; border: 1px solid {BORDER}; border-radius: 6px; }}
QFrame[role="rule"] {{ background: {BORDER}; max-height: 1px; border: none; }}

QPushButton {{ background: {CONTROL}; border: 1px solid {BORDER}; border-radius: 4px; padding: 6px 14px; }}
QPushButton:hover {{ background: {CONTROL_HOVER}; }}
QPushButton:pressed {{ background: {SUNKEN}; }}
QPushButton:focus {{ border-color: {ACCENT}; }}
QPushButton:disabled {{ color: {DISABLED}; background: {RAISED}; }}
QPushButton[role="primary"] {{ background: {ACCENT_DEEP}; border-color: {ACCENT_DEEP}; color: #ffffff; }}
QPushButton[role="primary"]:hover {{ background: #356b7f; }}
QPushButton[role="primary"]:focus {{ border-color: {ACCENT}; }}
QPushButton[role="primary"]:disabled {{ background: {RAISED}; border-color: {BORDER}; color: {DISABLED}; }}
QPushButton[role="small"] {{ padding: 3px 10px; }}
QToolButton {{ background: transparent; border: 1px solid transparent; border-radius: 4px; padding: 4px; }}
QToolButton:hover {{ background: {CONTROL_HOVER}; }}
QToolButton:checked {{ background: {ACCENT_DEEP}; }}
QToolButton:focus {{ border-color: {ACCENT}; }}

QLineEdit, QComboBox, QSpinBox, QDoubleSpinBox, QPlainTextEdit, QTextEdit {{
    background: {SUNKEN}; border: 1px solid {BORDER}; border-radius: 4px; padding: 5px 8px;
    selection-background-color: {ACCENT_DEEP}; }}
QLineEdit:focus, QComboBox:focus, QSpinBox:focus, QDoubleSpinBox:focus,
QPlainTextEdit:focus, QTextEdit:focus {{
    border-color: {ACCENT}; }}
QSpinBox QLineEdit, QDoubleSpinBox QLineEdit {{ border: none; background: transparent; padding: 0; }}
QSpinBox, QDoubleSpinBox {{ padding-right: 24px; }}
QSpinBox::up-button, QDoubleSpinBox::up-button {{ subcontrol-origin: border; subcontrol-position: top right;
    width: 22px; border: none; background: transparent; }}
QSpinBox::down-button, QDoubleSpinBox::down-button {{ subcontrol-origin: border;
    subcontrol-position: bottom right; width: 22px; border: none; background: transparent; }}
QSpinBox::up-button:hover, QDoubleSpinBox::up-button:hover,
QSpinBox::down-button:hover, QDoubleSpinBox::down-button:hover {{ background: {CONTROL_HOVER}; }}
QComboBox {{ background: {CONTROL}; padding-right: 22px; }}
QComboBox::drop-down {{ border: none; width: 20px; }}
QComboBox QAbstractItemView {{ background: {CONTROL}; border: 1px solid {BORDER}; outline: none; padding: 4px;
    selection-background-color: {ACCENT_DEEP}; }}
QAbstractItemView QLineEdit, QAbstractItemView QComboBox {{ padding: 0 4px; border-radius: 0; }}

QTableView, QTreeView, QListView {{ background: {SUNKEN}; alternate-background-color: #131518;
    border: 1px solid {BORDER};
    border-radius: 6px; gridline-color: transparent; outline: none; selection-background-color: #263f4a;
    selection-color: {TEXT}; }}
QTableView::item, QListView::item {{ padding: 4px 8px; border: none; }}
QTableView::item:selected, QListView::item:selected {{ background: #263f4a; color: {TEXT}; }}
QHeaderView {{ background: transparent; }}
QHeaderView::section {{ background: {RAISED}; color: {MUTED}; border: none; border-bottom: 1px solid {BORDER};
    padding: 7px 8px; font-weight: 500; }}
QTableCornerButton::section {{ background: {RAISED}; border: none; }}

QScrollBar:vertical {{ background: transparent; width: 10px; margin: 0; }}
QScrollBar:horizontal {{ background: transparent; height: 10px; margin: 0; }}
QScrollBar::handle {{ background: {BORDER}; border-radius: 4px; min-height: 28px; min-width: 28px;
    margin: 1px; }}
QScrollBar::handle:hover {{ background: #4a515b; }}
QScrollBar::add-line, QScrollBar::sub-line, QScrollBar::add-page, QScrollBar::sub-page {{ background: none;
    border: none; width: 0; height: 0; }}

QSlider::groove:horizontal {{ background: {CONTROL}; height: 4px; border-radius: 2px; }}
QSlider::sub-page:horizontal {{ background: {ACCENT_DEEP}; height: 4px; border-radius: 2px; }}
QSlider::handle:horizontal {{ background: {TEXT}; width: 12px; height: 12px; margin: -4px 0;
    border-radius: 6px; }}
QSlider::handle:horizontal:disabled {{ background: {DISABLED}; }}
QProgressBar {{ background: {CONTROL}; border: none; border-radius: 3px; max-height: 6px;
    text-align: center; }}
QProgressBar::chunk {{ background: {ACCENT}; border-radius: 3px; }}

QCheckBox, QRadioButton {{ spacing: 8px; padding: 2px 0; }}
QCheckBox::indicator, QRadioButton::indicator, QAbstractItemView::indicator {{ width: 14px; height: 14px;
    background: {SUNKEN}; border: 1px solid #555d68; border-radius: 3px; }}
QRadioButton::indicator {{ border-radius: 8px; }}
QCheckBox::indicator:checked, QRadioButton::indicator:checked,
QAbstractItemView::indicator:checked {{ background: {ACCENT_DEEP};
    border-color: {ACCENT}; }}
QCheckBox::indicator:disabled, QRadioButton::indicator:disabled {{ background: {RAISED};
    border-color: {BORDER}; }}
QCheckBox:focus, QRadioButton:focus {{ color: #ffffff; }}
QCheckBox:disabled, QRadioButton:disabled {{ color: {DISABLED}; }}
QSplitter::handle {{ background: {BACKGROUND}; }}
QSplitter::handle:hover {{ background: {BORDER}; }}
QStatusBar {{ background: {SUNKEN}; color: {MUTED}; border-top: 1px solid {BORDER}; }}
QStatusBar::item {{ border: none; }}
QDialogButtonBox, QMessageBox {{ dialogbuttonbox-buttons-have-icons: 0; }}
QMenu {{ background: {CONTROL}; border: 1px solid {BORDER}; padding: 4px; }}
QMenu::item {{ padding: 6px 24px 6px 12px; border-radius: 3px; }}
QMenu::item:selected {{ background: {ACCENT_DEEP}; }}
QMenu::separator {{ height: 1px; background: {BORDER}; margin: 4px 8px; }}
QScrollArea, QScrollArea > QWidget, QScrollArea > QWidget > QWidget {{ background: transparent;
    border: none; }}

#navigation {{ background: {SUNKEN}; border-right: 1px solid {BORDER}; }}
#navigation QToolButton {{ text-align: left; padding: 10px 14px; border-radius: 5px; color: {MUTED};
    font-size: 11pt; }}
#navigation QToolButton:hover {{ background: {RAISED}; color: {TEXT}; }}
#navigation QToolButton:checked {{ background: {CONTROL}; color: #ffffff; }}
#navigation QToolButton:focus {{ border-color: {BORDER}; }}
"""
