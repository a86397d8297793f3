"""Reconstructions against a known truth: raw scans with their truth, and data simulated as published."""

from __future__ import annotations

from recon_backend.evaluation.cases import Case, find_cases
from recon_backend.evaluation.comparisons import (
    BEST_COMPRESSED_SENSING,
    BEST_GRID,
    CEILING,
    CEILING_WITH_FLOOR,
    Comparison,
    EvaluationOptions,
    evaluate,
    evaluate_cases,
)
from recon_backend.evaluation.metrics import Score, compare, on_one_scale, ssim_map_mean
from recon_backend.evaluation.scans import load_truth, matching_frames, raw_files, receive_profile
from recon_backend.evaluation.summary import SummaryRow, summarise

__all__ = [
    "BEST_COMPRESSED_SENSING",
    "BEST_GRID",
    "CEILING",
    "CEILING_WITH_FLOOR",
    "Case",
    "Comparison",
    "EvaluationOptions",
    "Score",
    "SummaryRow",
    "compare",
    "evaluate",
    "evaluate_cases",
    "find_cases",
    "load_truth",
    "matching_frames",
    "on_one_scale",
    "raw_files",
    "receive_profile",
    "ssim_map_mean",
    "summarise",
]
