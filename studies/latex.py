"""Text as LaTeX prints it: for all tables that this program writes."""

from __future__ import annotations

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "−": r"$-$",
    "×": r"$\times$",
    "≤": r"$\leq$",
    "∞": r"$\infty$",
    "α": r"$\alpha$",
    "–": "--",
    "’": "'",
    "“": "``",
    "”": "''",
    "†": r"\textdagger{}",
    "‡": r"\textdaggerdbl{}",
    "§": r"\S{}",
    "¶": r"\P{}",
    "*": r"\textasteriskcentered{}",
    "χ": r"$\chi$",
    "²": r"\textsuperscript{2}",
    "λ": r"$\lambda$",
}


def escaped(text: str) -> str:
    """Text for LaTeX; letters beyond ASCII stay as they are (LaTeX reads UTF-8)."""
    return "".join(_ESCAPES.get(sign, sign) for sign in text)
