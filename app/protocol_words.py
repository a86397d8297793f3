"""The fields of a protocol in words: what a form calls them, and their values as a person reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from studies.words import counted

FIELD_LABELS: Mapping[str, str] = {
    "name": "Name",
    "arms": "Methods",
    "readers": "Readers",
    "repeat_share": "Hidden repeats",
    "repeat_minimum": "… at least",
    "guess_clips": "Guess at the end",
    "must_view_loops": "Must be seen",
    "break_minutes": "Break after",
    "grey_scale": "Grey scale",
    "crop_mm": "Crop",
    "speed": "Speed",
    "endpoints": "Endpoints",
    "strata": "Groups",
    "alpha": "Significance level",
    "measurement_window_s": "Average over",
    "scans": "Planned scans",
}
"""Field to its label, in the order of the form."""

ENDPOINT_LABELS: Mapping[str, str] = {
    "rank": "Rank",
    "snr_db": "SNR",
    "edge_sharpness_per_mm": "Edge sharpness",
    "edge_sharpness_sd_per_mm": "SD of edge sharpness",
}
STRATUM_LABELS: Mapping[str, str] = {"plane": "Plane", "sampling": "Sampling"}
GREY_SCALE_LABELS: Mapping[str, str] = {
    "least_squares": "Matched to the mean",
    "joint_percentile": "As reconstructed, joint range",
}


def field_text(name: str, value: Any) -> str:  # noqa: ANN401 - a field's value is of any JSON kind
    """The value of a field as a person reads it."""
    if name == "endpoints":
        return ", ".join(
            f"{ENDPOINT_LABELS.get(item, item)}{' (primary)' if place == 0 else ''}"
            for place, item in enumerate(value)
        )
    if name == "strata":
        return " × ".join(STRATUM_LABELS.get(item, item) for item in value) or "None: all clips together"
    if name == "grey_scale":
        return GREY_SCALE_LABELS.get(value, value)
    if name == "crop_mm":
        return "Whole image" if value is None else f"Middle {value[0]:g} × {value[1]:g} mm"
    if name == "speed":
        return "True speed" if value == 1 else f"{value:g} × true speed"
    if name == "must_view_loops":
        return counted(value, "pass", "passes") if value else "Not required"
    if name == "repeat_share":
        return f"{value:.0%} of the clips" if value else "None"
    if name in ("repeat_minimum", "guess_clips"):
        return counted(value, "clip") if value else "None"
    if name == "break_minutes":
        return f"{value:g} min"
    if name == "measurement_window_s":
        return f"{value:g} s"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(str(item) for item in value) or "None"
    return f"{value:g}" if isinstance(value, float) else str(value)
