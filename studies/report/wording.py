"""Numbers as journals print them: true minus signs, a dash for what is not there, p in three digits."""

from __future__ import annotations

import math
from collections.abc import Sequence

MISSING = "–"


def p_text(p: float | None) -> str:
    """A p value as journals print it: three decimals, "< 0.001" below that, a dash for none."""
    if p is None or math.isnan(p):
        return MISSING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def p_equals(p: float | None) -> str:
    """A p value inside a sentence: "p = 0.012", "p < 0.001"."""
    text = p_text(p)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def number_text(value: float | None, digits: int, *, signed: bool = False) -> str:
    """A number with fixed decimals; a dash for none or nan, ∞ for infinity, and a true minus sign."""
    if value is None or math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    rounded = round(value, digits) + 0.0  # no "-0.00"
    return f"{rounded:{'+' if signed and rounded else ''}.{digits}f}".replace("-", "−")


def mean_sd(mean: float | None, sd: float | None, digits: int) -> str:
    """Mean ± SD; the mean alone where one value has no SD."""
    spread = "" if sd is None or math.isnan(sd) else f" ± {number_text(sd, digits)}"
    return number_text(mean, digits) + spread


def interval_text(ends: Sequence[float] | None, digits: int) -> str:
    """An interval in brackets; empty where there is none."""
    if ends is None:
        return ""
    return f"[{number_text(ends[0], digits)}, {number_text(ends[1], digits)}]"


def estimate_text(value: float | None, ends: Sequence[float] | None, digits: int = 2) -> str:
    """A number and its interval."""
    return f"{number_text(value, digits)} {interval_text(ends, digits)}".strip()


def listed(words: Sequence[str]) -> str:
    """Words in a sentence: "a, b and c"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""
