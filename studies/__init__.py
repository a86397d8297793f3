"""The science of a blinded reader study: event log, schedule, blinding, rankings, measurements, statistics.

Knows no Qt, no TensorFlow and no raw data: movies come in as files, results go out as plain records.
"""

from __future__ import annotations

__version__ = "0.1.0"
"""As `app.__version__`, which this package cannot ask for."""
