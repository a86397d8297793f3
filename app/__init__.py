"""The application: the window, and the command line with every capability of it.

It holds no numerics beyond what it must draw: statistics come from `studies`, movies from `recon_backend`,
which the window reaches only through the worker process and files.
"""

from __future__ import annotations

__version__ = "0.1.0"
