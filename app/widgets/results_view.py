"""The report of an unblinded study in the window: result in words, the paper's tables, strata, readers.

All texts are those of `studies.report.views`, so the window and report.html say the same. A section is built
when it is looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QElapsedTimer, Qt, QTimer, QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QStackedLayout,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app import theme
from app.widgets.elements import say, styled_label
from app.widgets.svg_figure import Figure

if TYPE_CHECKING:
    from studies.report.analysis import Analysis
    from studies.report.drawing import Drawing
    from studies.report.findings import Findings
    from studies.report.writing import Exported

_SECTIONS = ("Result", "Tables 3 and 4", "Strata", "Readers")
_WIDEST = 1360
_BUILD_MS = 12
_PAIR_NOTE = (
    "W/T/L: units in which the first was better, tied, worse. Closed testing is the primary test; Nemenyi is "
    "asymptotic, as published. Brackets: 95 % intervals."
)
_NOTHING = "Nothing was ranked or measured in this study."
_THIRD = ("snr", "es", "std_es")


@dataclass(frozen=True)
class Results:
    """What is shown."""

    analysis: Analysis
    found: Findings
    drawings: tuple[Drawing, ...]


@dataclass(frozen=True)
class Cell:
    """A text in a table; bold where it is significant."""

    text: str
    bold: bool = False


class ResultsView(QWidget):
    """Sections of the report, and the buttons that export it."""

    def __init__(self) -> None:
        """Start empty."""
        super().__init__()
        self._results: Results | None = None
        self._folder: Path | None = None
        self._built: set[int] = set()
        self._title = styled_label("title")
        self._title.setTextFormat(Qt.TextFormat.PlainText)
        self.check = QPushButton("Check the record")
        self.check.setToolTip("Compare the event log, the movies and the sealed key with their hashes")
        self.export = QPushButton("Export…")
        self.export.setIcon(theme.icon("export", "#ffffff"))
        self.export.setProperty("role", "primary")
        self.export.setToolTip(
            "Write report.html, report.xlsx, tables, figures, data, and the code that reproduces them"
        )
        self.open = QPushButton("Open the report")
        self.open.clicked.connect(self._open_report)
        self.open.hide()
        self._bar = QProgressBar()
        self._bar.setRange(0, 1000)
        self._bar.setTextVisible(False)
        self._bar.setFixedWidth(180)
        self._bar.setAccessibleName("Progress of the export")
        self._doing = muted("")
        self.cancel = QPushButton("Cancel")
        self.cancel.setAccessibleName("Cancel the export")
        self._status = QLabel()
        self._status.setTextFormat(Qt.TextFormat.PlainText)
        self._status.setWordWrap(True)
        self._status.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._sections = QStackedLayout()
        self._choices = QButtonGroup(self)
        self.kind = QComboBox()
        self.kind.setAccessibleName("Kind of tests that the marks come from")
        self.kind.addItem("Marks of the exact tests (closed testing)", "exact")
        self.kind.addItem("Marks as published (Nemenyi)", "published")
        self.kind.currentIndexChanged.connect(self._fill_tables)
        self.stratum = QComboBox()
        self.stratum.setAccessibleName("Stratum")
        self.stratum.setMinimumWidth(220)
        self.stratum.currentIndexChanged.connect(self._fill_stratum)
        self._areas = [_Area() for _ in _SECTIONS]
        self._lay_out()
        self.set_exporting(False)

    def show_waiting(self, name: str) -> None:
        """Say that the statistics are being computed."""
        self._title.setText(name)
        self._results = None
        self._folder = None
        self.open.hide()
        for area in self._areas:
            area.fill([])
        self._built.clear()
        self.export.setEnabled(False)
        self.say("Computing the statistics …", "muted")

    def show_results(self, name: str, results: Results) -> None:
        """Show the sections."""
        from studies.report.analysis import stratum_title

        self._title.setText(name)
        self._results = results
        self._built.clear()
        self.stratum.blockSignals(True)
        self.stratum.clear()
        for stratum, found in results.analysis.strata:
            self.stratum.addItem(stratum_title(found[0]), stratum)
        self.stratum.blockSignals(False)
        self.export.setEnabled(True)
        self.say("", "muted")
        self._build(self._sections.currentIndex())

    def add_drawings(self, drawings: Sequence[Drawing]) -> None:
        """Take in figures that were made later."""
        if self._results is not None and drawings:
            old = self._results
            self._results = Results(old.analysis, old.found, (*old.drawings, *drawings))
            if _SECTIONS.index("Strata") in self._built:
                self._fill_stratum()

    def show_section(self, number: int) -> None:
        """Turn to a section: 0 the result, 1 the paper's tables, 2 the strata, 3 the readers."""
        self._choices.button(number).setChecked(True)
        self._sections.setCurrentIndex(number)
        self._build(number)

    def set_exporting(self, exporting: bool) -> None:
        """Show progress and the way to cancel, or the button that begins an export."""
        self.export.setEnabled(not exporting and self._results is not None)
        for widget in (self._bar, self._doing, self.cancel):
            widget.setVisible(exporting)
        self._bar.setValue(0)

    def show_progress(self, what: str, fraction: float) -> None:
        """Show how far an export has come."""
        self._doing.setText(f"{what} …")
        self._bar.setValue(round(1000 * fraction))

    def show_exported(self, exported: Exported) -> None:
        """Say where the files lie."""
        self._folder = exported.folder
        self.open.show()
        self.say(
            f"Written to {exported.folder}: report.html, report.xlsx, tables, data, {len(exported.figures)} "
            "figures, and reproduce.py, which recomputes every number.",
            "muted",
        )

    def say(self, text: str, role: str) -> None:
        """Show a sentence above the sections."""
        say(self._status, text, role)
        self._status.setVisible(bool(text))

    # Layout

    def _lay_out(self) -> None:
        header = QHBoxLayout()
        header.setSpacing(10)
        header.addWidget(self._title)
        header.addStretch(1)
        for widget in (self._doing, self._bar, self.cancel, self.check, self.open, self.export):
            header.addWidget(widget)
        bar = QHBoxLayout()
        bar.setSpacing(6)
        for number, name in enumerate(_SECTIONS):
            button = QToolButton()
            button.setText(name)
            button.setCheckable(True)
            button.setAutoRaise(True)
            button.setStyleSheet("padding: 6px 14px;")
            self._choices.addButton(button, number)
            bar.addWidget(button)
        bar.addStretch(1)
        bar.addWidget(self.kind)
        bar.addWidget(self.stratum)
        self._choices.button(0).setChecked(True)
        self._choices.idClicked.connect(self.show_section)
        for area in self._areas:
            self._sections.addWidget(area)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 18, 24, 14)
        layout.setSpacing(10)
        layout.addLayout(header)
        layout.addWidget(self._status)
        layout.addLayout(bar)
        layout.addLayout(self._sections, 1)
        self._show_choosers(0)

    @property
    def complete(self) -> bool:
        """Whether the section that is shown has been built to its end."""
        return self._areas[self._sections.currentIndex()].complete

    def _show_choosers(self, number: int) -> None:
        self.kind.setVisible(number == _SECTIONS.index("Tables 3 and 4"))
        self.stratum.setVisible(number == _SECTIONS.index("Strata"))

    def _build(self, number: int) -> None:
        self._show_choosers(number)
        if self._results is None or number in self._built:
            return
        self._built.add(number)
        (self._fill_result, self._fill_tables, self._fill_stratum, self._fill_readers)[number]()

    def _fill_result(self) -> None:
        if self._results is not None:
            self._areas[0].fill(_result_parts(self._results))

    def _fill_tables(self) -> None:
        if self._results is not None:
            self._areas[1].fill(_table_parts(self._results, self.kind.currentData() != "published"))

    def _fill_stratum(self) -> None:
        if self._results is not None:
            self._areas[2].fill(_stratum_parts(self._results, self.stratum.currentData()))

    def _fill_readers(self) -> None:
        if self._results is not None:
            self._areas[3].fill(_reader_parts(self._results))

    def _open_report(self) -> None:
        if self._folder is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._folder / "report.html")))


class _Area(QScrollArea):
    """A section that scrolls; its parts are built a few at a time, so that the window answers meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self._parts: Iterator[QWidget | None] = iter(())
        self._layout = QVBoxLayout()
        self._timer = QTimer(self)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._build_some)

    @property
    def complete(self) -> bool:
        """Whether every part is there."""
        return not self._timer.isActive()

    def fill(self, parts: Iterable[QWidget | None]) -> None:
        """Show these widgets one below the other, in the place of what was shown.

        Args:
            parts: Made one after another; None where a widget that is shown already has got more content.
        """
        column = QWidget()
        column.setMaximumWidth(_WIDEST)
        self._layout = QVBoxLayout(column)
        self._layout.setContentsMargins(0, 0, 8, 0)
        self._layout.setSpacing(14)
        self._layout.addStretch(1)
        body = QWidget()
        outer = QHBoxLayout(body)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addStretch(1)
        outer.addWidget(column, 1000)
        outer.addStretch(1)
        self.setWidget(body)
        self._parts = iter(parts)
        self._timer.start()
        self._build_some()

    def _build_some(self) -> None:
        clock = QElapsedTimer()
        clock.start()
        while clock.elapsed() < _BUILD_MS:
            try:
                part = next(self._parts)
            except StopIteration:
                self._timer.stop()
                return
            if part is not None:
                self._layout.insertWidget(self._layout.count() - 1, part)


# Sections


def _result_parts(results: Results) -> Iterator[QWidget | None]:
    """The primary result in words, what it shows and does not show, stratum by stratum."""
    found = results.found
    lines: list[QWidget] = [styled_label("heading", "Primary result")]
    lines += [_words(sentence, size=1.15) for sentence in found.headline]
    yield card(_column(lines))
    columns = QWidget()
    row = QHBoxLayout(columns)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(14)
    for heading, sentences in (
        ("What this shows", found.shows),
        ("What this does not show", found.shows_not),
    ):
        texts = [_words(f"•  {sentence}") for sentence in sentences]
        box = card(_column([styled_label("heading", heading), *texts], stretch=True))
        row.addWidget(box, 1, Qt.AlignmentFlag.AlignTop)
    yield columns
    for finding in found.strata:
        own: list[QWidget] = [styled_label("heading", finding.title), muted(finding.size)]
        own += [_words(text) for text in (finding.omnibus, *finding.pairs)]
        if finding.limit:
            own.append(_words(finding.limit, role="warning"))
        yield card(_column(own))
    if not found.strata:
        yield _words(_NOTHING, role="muted")


def _table_parts(results: Results, exact: bool) -> Iterator[QWidget | None]:
    """Tables 3 and 4 of the paper."""
    from studies.report.analysis import ENDPOINTS
    from studies.report.findings import paper_tables

    tables = paper_tables(results.analysis, "exact" if exact else "published")
    for table in tables:
        heads = ["Plane, sampling", "Method", "N"]
        heads += [f"{ENDPOINTS[key].label}\n{ENDPOINTS[key].unit}" for key in table.columns]
        rows, before = [], ""
        for line in table.rows:
            first = line.stratum != before
            before = line.stratum
            cells = [Cell(f"{cell.text} {cell.marks}".strip(), bool(cell.marks)) for cell in line.cells]
            names = (line.stratum if first else "", line.method, line.clips if first else "")
            rows.append([*map(Cell, names), *cells])
        heading = styled_label("heading", f"Table {table.number}. {table.title}")
        legend = _words(table.legend, role="muted")
        yield card(_column([heading, grid(heads, rows, names=2), legend]))
    if not tables:
        yield _words(_NOTHING, role="muted")


def _stratum_parts(results: Results, name: str) -> Iterator[QWidget | None]:
    """Endpoints, pairs, figures and notes of one stratum."""
    from studies.report import views

    analysis = results.analysis
    documents = [*analysis.document["strata"], *analysis.document["all_strata"]]
    found = [item for item in documents if item["stratum"] == name]
    endpoints = [views.endpoint_view(item) for item in found]
    alpha = analysis.tables.alpha
    shown = [item for item in endpoints if item["cells"]]
    if shown:
        yield card(_column([grid(*_endpoint_table(analysis, shown, alpha), names=1)]))
        heading = styled_label("heading", "Pairs of methods")
        table = grid(*_pair_table(shown, alpha), names=2)
        yield card(_column([heading, table, _words(_PAIR_NOTE, role="muted")]))
    else:
        yield _words("No clip is complete here.", role="muted")
    yield from _figures([drawing for drawing in results.drawings if drawing.stratum == name])
    notes = [
        f"Skillings–Mack, {item['label']}, with all readings (n = {item['mack']['n']}): "
        f"{item['mack_kind']} p = {_p(item['mack']['p_permutation'])}."
        for item in endpoints
        if item["mack"]
    ]
    notes += dict.fromkeys(note for item in found for note in item["notes"])
    if notes:
        yield card(_column([_words(note, role="muted") for note in notes]))


def _reader_parts(results: Results) -> Iterator[QWidget | None]:
    """Agreement by stratum, blinding, how every reader read, what is missing."""
    from studies.report import views
    from studies.report.analysis import stratum_title

    analysis = results.analysis
    titles = {name: stratum_title(found[0]) for name, found in analysis.strata}
    keys = ("names", "clips", "orders", "preferences", "kappa", "ac2", "tau")
    heads = ["Readers", "Clips", "Same order", "Same\npreferences", "Weighted κ", "Gwet AC2", "τ-b"]
    for item in (*analysis.document["strata"], *analysis.document["all_strata"]):
        if item["kind"] != "ranks":
            continue
        rows = [[Cell(row[key]) for key in keys] for row in views.agreement_rows(item["agreement"])]
        position = views.position_text(item["agreement"])
        sentences = [views.everybody_text(item["agreement"])]
        sentences.append(f"Mean rank by place on the screen: {position}" if position else "")
        own: list[QWidget] = [styled_label("heading", titles[item["stratum"]])]
        if rows:
            own.append(grid(heads, rows, names=1))
        own += [_words(text, role="muted") for text in sentences if text]
        if len(own) > 1:
            yield card(_column(own))
    yield from _reader_cards(analysis)


def _p(value: float | None, sign: str = "") -> str:
    from studies.report.wording import p_text

    return f"{sign}{p_text(value)}"


def _endpoint_table(
    analysis: Analysis, endpoints: Sequence[dict[str, Any]], alpha: float
) -> tuple[list[str], list[list[Cell]]]:
    from studies.names import method_label

    heads = ["Endpoint", "N", *(method_label(arm) for arm in analysis.tables.arms)]
    heads += ["Friedman\nexact p", "Friedman\nχ² p", "W"]
    rows = []
    for item in endpoints:
        means = [
            Cell(f"{cell['mean_sd']}\n{cell['interval']}" if cell["interval"] else cell["mean_sd"])
            for cell in item["cells"]
        ]
        rows.append(
            [
                Cell(f"{item['label']}  ({item['unit']})"),
                Cell(str(item["n"])),
                *means,
                Cell(_p(item["exact"], item["exact_sign"]), _significant(item["exact"], alpha)),
                Cell(_p(item["chi_square"]), _significant(item["chi_square"], alpha)),
                Cell(item["w"]),
            ]
        )
    return heads, rows


def _pair_table(endpoints: Sequence[dict[str, Any]], alpha: float) -> tuple[list[str], list[list[Cell]]]:
    heads = [
        "Endpoint",
        "First vs second",
        "W/T/L",
        "Closed test p\nprimary",
        "Sign test p",
        "Single step p",
        "Nemenyi p\nasymptotic",
        "Net preference",
        "Shift or difference",
    ]
    rows = []
    for item in endpoints:
        for place, pair in enumerate(item["pairs"]):
            numbers = [
                (pair["closed"], pair["closed_sign"]),
                (pair["sign"], ""),
                (pair["single"], pair["single_sign"]),
                (pair["nemenyi"], ""),
            ]
            rows.append(
                [
                    Cell("" if place else item["label"]),
                    Cell(pair["names"]),
                    Cell(pair["outcome"]),
                    *(Cell(_p(value, sign), _significant(value, alpha)) for value, sign in numbers),
                    Cell(pair["net"]),
                    Cell(pair["shift"] or pair["difference"]),
                ]
            )
    return heads, rows


def _significant(value: float | None, alpha: float) -> bool:
    return value is not None and value <= alpha


def _reader_cards(analysis: Analysis) -> Iterator[QWidget | None]:
    """Blinding, how every reader read, and what is missing."""
    from studies.report import views

    blinding = views.blinding_rows(analysis)
    about: QWidget = _words("Readers were not asked to guess the methods.", role="muted")
    if blinding:
        keys = ("name", "arm", "counts", "bang", "cluster", "james")
        heads = ["Reader", "Method", "Right/wrong/?", "Bang’s index", "Cluster interval", "James’ index"]
        about = grid(heads, [[Cell(row[key]) for key in keys] for row in blinding], names=2)
    yield card(_column([styled_label("heading", "Blinding"), about]))
    columns = {
        "reader": "Reader",
        "readings": "Readings",
        "missing": "Not judged /\nnot read",
        "repeats": "Repeats",
        "seconds": "Seconds,\nmedian (least)",
        "minutes": "Minutes",
        "skipped": "Frames\nskipped",
        "breaks": "Breaks",
        "confidence": "Confidence",
    }
    reading = [[Cell(row[key]) for key in columns] for row in views.reading_rows(analysis)]
    if reading:
        table = grid(list(columns.values()), reading, names=1)
        yield card(_column([styled_label("heading", "How they read"), table]))
    asked = ("reader", "clip", "kind", "reason", "comment")
    missing = [[Cell(row[key]) for key in asked] for row in views.missing_rows(analysis)]
    if missing:
        table = grid(["Reader", "Clip", "What", "Reason", "The reader’s words"], missing, names=5)
        yield card(_column([styled_label("heading", "Missing readings"), table]))


def _figures(drawings: Sequence[Drawing]) -> Iterator[QWidget | None]:
    """Figures on a grid of six columns, with their captions; first the grid, then None for each figure."""
    if not drawings:
        return
    body = QWidget()
    layout = QGridLayout(body)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(14)
    for place in range(6):
        layout.setColumnStretch(place, 1)
    yield body
    row = column = span = 0
    for drawing in drawings:
        before, span = span, 6 if drawing.kind == "movies" else 2 if drawing.kind in _THIRD else 3
        if column + span > 6 or (column and span != before):
            row, column = row + 1, 0
        caption = _words(drawing.caption, role="muted")
        layout.addLayout(
            _column([Figure(drawing.content, drawing.caption), caption], stretch=True), row, column, 1, span
        )
        column += span
        yield None


def grid(heads: Sequence[str], rows: Sequence[Sequence[Cell]], *, names: int) -> QWidget:
    """A table of labels; the first `names` columns are words and stand left."""
    body = QWidget()
    layout = QGridLayout(body)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setHorizontalSpacing(18)
    layout.setVerticalSpacing(6)

    def place_label(label: QLabel, row: int, column: int, bottom: bool = False) -> None:
        side = Qt.AlignmentFlag.AlignLeft if column < names else Qt.AlignmentFlag.AlignRight
        label.setTextFormat(Qt.TextFormat.PlainText)
        label.setAlignment(side | (Qt.AlignmentFlag.AlignBottom if bottom else Qt.AlignmentFlag.AlignTop))
        layout.addWidget(label, row, column)

    for column, head in enumerate(heads):
        label = muted(head)
        label.setWordWrap(column >= names)
        place_label(label, 0, column, True)
        layout.setColumnStretch(column, 3 if column < names else 2)
    rule = QFrame()
    rule.setProperty("role", "rule")
    rule.setFixedHeight(1)
    layout.addWidget(rule, 1, 0, 1, len(heads))
    for row, cells in enumerate(rows, start=2):
        for column, cell in enumerate(cells):
            label = QLabel(cell.text)
            if cell.bold:
                label.setStyleSheet("font-weight: 700;")
                label.setAccessibleName(f"{cell.text}, significant")
            place_label(label, row, column)
    return body


def card(layout: QVBoxLayout | QGridLayout) -> QFrame:
    """A frame around a layout."""
    frame = QFrame()
    frame.setProperty("role", "card")
    frame.setLayout(layout)
    layout.setContentsMargins(20, 16, 20, 16)
    return frame


def muted(text: str) -> QLabel:
    """A label in the quiet colour."""
    label = styled_label("muted", text)
    label.setTextFormat(Qt.TextFormat.PlainText)
    return label


def _words(text: str, *, role: str = "", size: float = 1.0) -> QLabel:
    """A sentence that wraps and can be selected."""
    label = styled_label(role, text)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    if size != 1.0:
        label.setStyleSheet(f"font-size: {11.5 * size:.1f}pt;")
    return label


def _column(parts: Sequence[QWidget], stretch: bool = False) -> QVBoxLayout:
    layout = QVBoxLayout()
    layout.setSpacing(7)
    for part in parts:
        layout.addWidget(part)
    if stretch:
        layout.addStretch(1)
    return layout
