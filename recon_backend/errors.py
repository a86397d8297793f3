"""The errors that recon_backend raises on purpose, each one sentence that can be shown to the user.

Every error is a `ReconstructionError`; whoever shows errors to people catches that one class and never
needs a stack trace.
"""

from __future__ import annotations

from pathlib import Path


class ReconstructionError(Exception):
    """The data or the request make the work impossible; the message says why and what to do."""


class FormatError(ReconstructionError):
    """A file cannot be read; the text is `<file name>: <message>`."""

    def __init__(self, path: str | Path, message: str) -> None:
        """Keep the path and the bare message beside the sentence that names the file.

        Args:
            path: the file that is wrong; only its name is shown.
            message: what is wrong, what was expected, what to do.
        """
        self.path = Path(path)
        self.message = message
        super().__init__(path, message)

    def __str__(self) -> str:
        """The sentence for the user."""
        return f"{self.path.name or self.path}: {self.message}"


class InvalidAcquisition(ReconstructionError):
    """An `Acquisition` contradicts itself (shape, range, missing mask or trajectory)."""


class InvalidMovie(ReconstructionError):
    """A `Movie` contradicts itself (shape, spacing, frame times)."""


class Cancelled(ReconstructionError):
    """The user asked to stop; raised out of a progress callback."""
