"""Raw data to movies: reading, sampling, reconstruction and its worker process.

The package knows no Qt and no reader study. Importing it is cheap: TensorFlow, Keras and FINUFFT are imported
by the modules that need them, on first use.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("blindcine")
except PackageNotFoundError:  # run from a source tree that was not installed
    __version__ = "0+source"
