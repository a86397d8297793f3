"""What a command may raise because of its input or environment, and the sentence that the user reads then."""

from __future__ import annotations


class CommandError(Exception):
    """Something that the user asked for cannot be done; the message is one sentence that says what to do."""


OWN_PACKAGES = ("app", "recon_backend", "studies")
INSTALL_HINTS = {
    "tensorflow": "recon",
    "keras": "recon",
    "finufft": "recon",
    "av": "export",
    "pydicom": "export",
}


def expected_errors() -> tuple[type[BaseException], ...]:
    """Return the errors that end in a sentence; anything else is a defect and keeps its stack trace."""
    from recon_backend.errors import ReconstructionError
    from studies.errors import StudyError

    return (
        CommandError,
        StudyError,
        ReconstructionError,
        OSError,
        MemoryError,
        ImportError,
        KeyboardInterrupt,
    )


def sentence(error: BaseException) -> str:
    """Return what to tell the user about one of the `expected_errors()`."""
    if isinstance(error, KeyboardInterrupt):
        return "Interrupted; what was finished before is kept."
    if isinstance(error, MemoryError):
        return "There is not enough memory for this; close other programs, or take fewer frames or files."
    if isinstance(error, ImportError):
        return import_sentence(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}."
    return str(error) or type(error).__name__


def import_sentence(error: ImportError) -> str:
    """Return what to tell the user when a package or a system library of it is not there."""
    package = (error.name or "").split(".")[0]
    if package in INSTALL_HINTS:
        return (
            f"This command needs the package '{package}', which is not installed: "
            f"pip install 'blindcine[{INSTALL_HINTS[package]}]'."
        )
    if package in OWN_PACKAGES:
        raise error
    if isinstance(error, ModuleNotFoundError):
        return f"The package '{package}' is not installed; install blindcine again with its dependencies."
    return (
        f"A library could not be loaded ({error}); on Debian and Ubuntu, `python3 run.py` installs what "
        "is missing."
    )


def exit_code(error: BaseException) -> int:
    """Return 130 for an interruption, as shells do, and 2 for everything else."""
    return 130 if isinstance(error, KeyboardInterrupt) else 2
