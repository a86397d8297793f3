"""Reconstruction of a scan that is still being measured, frame by frame; see `streaming.stream`."""

from __future__ import annotations

from recon_backend.streaming.sources import ArrivedFrame, FrameSource, ReplayedScan
from recon_backend.streaming.stream import (
    LatencyStatistics,
    StreamedFrame,
    StreamSettings,
    describe_latency,
    stream,
)

__all__ = [
    "ArrivedFrame",
    "FrameSource",
    "LatencyStatistics",
    "ReplayedScan",
    "StreamSettings",
    "StreamedFrame",
    "describe_latency",
    "stream",
]
