"""Set up blindcine in `.venv` and start it; needs nothing but Python 3.11 to 3.13.

    python3 run.py               the demo study (in a window, or headless where there is no display)
    python3 run.py test          linters, type check, import contracts and tests
    python3 run.py ARGUMENTS     `blindcine ARGUMENTS`, for example `run.py info scan.h5`

Rule: `.venv` is what the hashed locks in `requirements/` say. A stamp in it names the Python, the checkout
and the SHA-256 of each installed lock; while the stamp agrees nothing is checked any further, so a second
start costs a fraction of a second, and the stamp of a set-up that was interrupted makes `.venv` anew. Only
what the command needs is installed: `reader` (window and statistics), `recon` (TensorFlow and FINUFFT too),
`train` or `test`. On Debian and Ubuntu the system libraries that Qt needs are installed too where that is
allowed, else the command is printed.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent
ENVIRONMENT = ROOT / ".venv"
STAMP = ENVIRONMENT / "blindcine.json"
OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 13)
# Each lock holds everything of the locks named after it.
SUPERSETS = {
    "reader": ("reader", "recon", "train", "test"),
    "recon": ("recon", "train", "test"),
    "train": ("train",),
    "test": ("test",),
}
# What Qt's `offscreen` and `xcb` platforms load at run time, with Debian's package for it.
QT_LIBRARIES = {
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
    "libX11-xcb.so.1": "libx11-xcb1",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-randr.so.0": "libxcb-randr0",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxcb-sync.so.1": "libxcb-sync1",
    "libxcb-xfixes.so.0": "libxcb-xfixes0",
    "libxcb-xinerama.so.0": "libxcb-xinerama0",
    "libxcb-xkb.so.1": "libxcb-xkb1",
}
FONTS = "fonts-dejavu-core"
# Set where the tests must find PostgreSQL's server; Debian keeps its programs out of the search path.
SERVER_REQUIRED = "BLINDCINE_POSTGRESQL"
SERVER_PROGRAMS = Path("/usr/lib/postgresql")
APT_TIMEOUT_S = 900


class Check(NamedTuple):
    """One part of `run.py test`: its name, what Python is given, and environment variables."""

    name: str
    command: tuple[str, ...]
    variables: tuple[tuple[str, str], ...] = ()


# What computes in the framework is tested in both.
FRAMEWORK_TESTS = tuple(
    f"tests/recon_backend/{name}"
    for name in (
        "checkpoints",
        "streaming",
        "training",
        "test_compressed_sensing.py",
        "test_fourier_operators.py",
        "test_inference.py",
        "test_jobs.py",
        "test_models.py",
        "test_networks.py",
    )
)
# Two take two thirds of the time of one; more would need more memory than small machines have.
TWO_PROCESSES = ("-n", "2")
CHECKS = (
    Check("ruff", ("-m", "ruff", "check", ".")),
    Check("mypy", ("-m", "mypy")),
    Check("lint-imports", ("-c", "from importlinter.cli import lint_imports_command as check; check()")),
    Check("pytest", ("-m", "pytest", *TWO_PROCESSES)),
    Check("pytest (JAX)", ("-m", "pytest", *TWO_PROCESSES, *FRAMEWORK_TESTS), (("KERAS_BACKEND", "jax"),)),
)


class SetupError(Exception):
    """The set-up cannot go on; the message is one sentence for the user."""


def say(text: str) -> None:
    """Write one line for the user."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def environment_python() -> Path:
    """Return the interpreter inside `.venv`."""
    return ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def lock_digest(purpose: str) -> str:
    """Return the SHA-256 of a lock together with the project file that the checkout is installed from."""
    digest = hashlib.sha256()
    for path in (ROOT / "requirements" / f"{purpose}.txt", ROOT / "pyproject.toml"):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def purpose_of(arguments: list[str]) -> str:
    """Return the lock that `blindcine ARGUMENTS` needs."""
    words = [word for word in arguments if not word.startswith("-")]
    command = words[0] if words else ""
    if "--help" in arguments or "-h" in arguments or "--version" in arguments:
        return "reader"
    if command == "test":
        return "test"
    if command in {"evaluate", "simulate", "train"}:
        return "train"  # they read videos
    if command == "window" and not tensorflow_exists():
        return "reader"
    if command == "models" and words[1:2] not in (["list"], ["show"]):
        return "recon"  # networks are built
    if command in {"info", "models", "statistics"} or (command == "study" and words[1:2] != ["reconstruct"]):
        return "reader"
    return "recon"


def opens_window(arguments: list[str]) -> bool:
    """Tell whether the command loads Qt, so that its system libraries must be there."""
    words = [word for word in arguments if not word.startswith("-")]
    command = words[0] if words else ""
    if "--help" in arguments or "-h" in arguments or "--version" in arguments:
        return False
    if command == "demo":
        return "--headless" not in arguments and display_named()
    return command in {"", "test", "window"} or words[:2] == ["study", "read"]


def tensorflow_exists() -> bool:
    """Tell whether TensorFlow has builds for this machine; for Macs with Intel processors no more."""
    return not (sys.platform == "darwin" and platform.machine() == "x86_64")


def display_named() -> bool:
    """Tell whether the session names a display (Windows and macOS always have one)."""
    linux = sys.platform.startswith("linux")
    return not linux or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


# --- system packages


def missing_packages(arguments: list[str]) -> list[str]:
    """Return Debian's packages that the set-up and the command need, all at once, where they are missing."""
    missing = []
    if not read_stamp() and importlib.util.find_spec("ensurepip") is None:
        missing.append(f"python{sys.version_info.major}.{sys.version_info.minor}-venv")
    return missing + (missing_qt_packages() if opens_window(arguments) else []) + missing_server(arguments)


def missing_server(arguments: list[str]) -> list[str]:
    """Return Debian's package of PostgreSQL's server where the tests must have one, as in CI, and have not.

    Elsewhere those tests are skipped: a server is not for us to install on a machine unasked.
    """
    if arguments[:1] != ["test"] or not os.environ.get(SERVER_REQUIRED):
        return []
    there = shutil.which("initdb") or any(SERVER_PROGRAMS.glob("*/bin/initdb"))
    return [] if there else ["postgresql"]


def missing_qt_packages() -> list[str]:
    """Return Debian's packages for the libraries that Qt needs and the loader does not find."""
    if not sys.platform.startswith("linux"):
        return []
    missing = []
    for library, package in QT_LIBRARIES.items():
        try:
            ctypes.CDLL(library)
        except OSError:
            missing.append(package)
    return [*missing, FONTS] if missing else []


def install_system_packages(packages: list[str]) -> None:
    """Install Debian packages where that is allowed.

    Args:
        packages: names of Debian packages; nothing happens when there are none.

    Raises:
        SetupError: they cannot be installed from here; names the command that does it.
    """
    if not packages:
        return
    if shutil.which("apt-get") is None:
        raise SetupError(
            "blindcine needs system packages that are missing; install your distribution's counterparts of "
            f"Debian's {' '.join(packages)} and start again."
        )
    command = f"apt-get update && apt-get install --yes --no-install-recommends {' '.join(packages)}"
    advice = f"blindcine needs system packages; run this and start again: sudo sh -c '{command}'"
    prefix = administrator_prefix()
    if prefix is None:
        raise SetupError(advice)
    say(f"Installing system packages: {' '.join(packages)}")
    try:
        result = subprocess.run(
            [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=APT_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SetupError(f"apt-get did not finish within {APT_TIMEOUT_S} s; {advice}") from error
    if result.returncode != 0:
        last = (result.stdout.strip().splitlines() or ["no message"])[-1]
        raise SetupError(f"apt-get failed ({last}); {advice}")


def administrator_prefix() -> list[str] | None:
    """Return what to put before a command to run it as administrator without a password, or None."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") is None:
        return None
    allowed = subprocess.run(
        ["sudo", "-n", "true"], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    return ["sudo", "-n"] if allowed.returncode == 0 else None


# --- the virtual environment


def python_identity() -> str:
    """Return what `.venv` takes over from the Python that made it.

    Not the build: an update within 3.11, which apt may bring along with the `venv` module while this script
    runs, leaves the packages as they are.
    """
    abi = f"{sys.implementation.cache_tag}{getattr(sys, 'abiflags', '')}"
    return f"{abi} for {platform.machine()} in {sys.base_prefix}"


def read_stamp() -> dict[str, object]:
    """Return the stamp of `.venv`; an empty one if another Python made it, elsewhere, or not to its end."""
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(stamp, dict) or not isinstance(stamp.get("locks"), dict):
        return {}
    if stamp.get("interrupted") is not False or not environment_python().exists():
        return {}
    return stamp if (stamp.get("python"), stamp.get("checkout")) == (python_identity(), str(ROOT)) else {}


def write_stamp(locks: dict[str, str], *, interrupted: bool) -> None:
    """Write the stamp so that it is either the old or the new one, also when the machine goes down."""
    stamp = {"python": python_identity(), "checkout": str(ROOT), "locks": locks, "interrupted": interrupted}
    temporary = STAMP.with_suffix(".new")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(stamp, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, STAMP)


def installed(purpose: str) -> bool:
    """Tell whether `.venv` holds what `purpose` needs, by its stamp alone."""
    locks = read_stamp().get("locks")
    return isinstance(locks, dict) and any(
        locks.get(name) == lock_digest(name) for name in SUPERSETS[purpose]
    )


@contextlib.contextmanager
def only_one_setup() -> Iterator[None]:
    """Hold a lock of the operating system, so that two starts at once do not both make `.venv`."""
    with (ROOT / ".venv.lock").open("a+b") as file:
        if sys.platform == "win32":
            import msvcrt

            waiting = True
            while waiting:
                try:
                    file.seek(0)
                    msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
                    waiting = False
                except OSError:
                    time.sleep(1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def set_up(purpose: str) -> None:
    """Bring `.venv` to what `purpose` needs; returns at once where it is there already.

    Raises:
        SetupError: no `venv` module, no network, no space: one sentence that says which.
    """
    if installed(purpose):
        return
    if purpose != "reader" and not tensorflow_exists():
        raise SetupError(
            "TensorFlow has no builds for Macs with Intel processors, so this command cannot run here; "
            "reading and measuring can: python3 run.py window"
        )
    with only_one_setup():
        if installed(purpose):
            return
        if not read_stamp():
            make_environment()
        install(purpose)


def make_environment() -> None:
    """Make `.venv` from nothing, in place of a broken or half-made one."""
    if ENVIRONMENT.exists() or ENVIRONMENT.is_symlink():
        say("Making .venv anew: it is not complete, or belongs to another Python or folder.")
        remove_environment()
    ENVIRONMENT.mkdir()
    write_stamp({}, interrupted=True)
    result = subprocess.run(
        [sys.executable, "-m", "venv", str(ENVIRONMENT)], capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        last = ((result.stderr or result.stdout).strip().splitlines() or ["no message"])[-1]
        raise SetupError(f"Python's venv module could not make {ENVIRONMENT}: {last}")
    write_stamp({}, interrupted=False)


def remove_environment() -> None:
    """Remove `.venv`, whatever it is."""
    try:
        if ENVIRONMENT.is_dir() and not ENVIRONMENT.is_symlink():
            shutil.rmtree(ENVIRONMENT)
        else:
            ENVIRONMENT.unlink()
    except OSError as error:
        raise SetupError(
            f"{ENVIRONMENT} cannot be replaced ({error.strerror}); remove it yourself."
        ) from error


def install(purpose: str) -> None:
    """Install a lock, and the checkout itself as an editable package, into `.venv`."""
    stamp = read_stamp()
    locks = stamp.get("locks")
    before = {str(name): str(digest) for name, digest in locks.items()} if isinstance(locks, dict) else {}
    lock = ROOT / "requirements" / f"{purpose}.txt"
    packages = sum(1 for line in lock.read_text(encoding="utf-8").splitlines() if "==" in line)
    say(f"Setting up .venv for '{purpose}': up to {packages} packages, a few minutes the first time.")
    write_stamp(before, interrupted=True)
    pip("install", "--require-hashes", "--no-deps", "--requirement", str(lock), packages=packages)
    pip("install", "--no-deps", "--no-build-isolation", "--editable", str(ROOT), packages=1)
    write_stamp({**before, purpose: lock_digest(purpose)}, interrupted=False)


def pip(*arguments: str, packages: int) -> None:
    """Run pip in `.venv`, showing one line of progress on a terminal and pip's own words only on failure."""
    command = [
        str(environment_python()),
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
        *arguments,
    ]
    output: list[str] = []
    seen = 0
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            output.append(line)
            seen += line.startswith(("Collecting ", "Requirement already satisfied", "Processing "))
            phase = line.strip()[:70] if line.startswith(("Collecting", "Installing", "Downloading")) else ""
            if phase and sys.stderr.isatty():
                sys.stderr.write(f"\r\033[K[{min(seen, packages)}/{packages}] {phase}")
                sys.stderr.flush()
    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K")
    if process.returncode != 0:
        errors = [line.strip() for line in output if line.startswith("ERROR")] or [
            line.strip() for line in output
        ]
        raise SetupError(
            f"pip could not install the packages ({' '.join(errors[-2:])[-400:]}); check the network "
            "connection and the free disk space, and start again."
        )


# --- what is run


def run_checks(arguments: list[str]) -> int:
    """Run every check, whatever the ones before said, and return 0 only if all passed.

    Args:
        arguments: passed on to pytest, which then runs once.
    """
    variables = dict(os.environ)
    if not display_named():
        variables["QT_QPA_PLATFORM"] = "offscreen"
    lines = []
    failed = False
    for name, command, more in CHECKS:
        if more and arguments:
            continue
        sys.stdout.write(f"--- {name}\n")
        sys.stdout.flush()
        start = time.monotonic()
        extra = arguments if name == "pytest" else []
        code = subprocess.run(
            [str(environment_python()), *command, *extra], cwd=ROOT, env=variables | dict(more), check=False
        ).returncode
        failed = failed or code != 0
        verdict = "passed" if code == 0 else f"failed (exit code {code})"
        lines.append(f"{name:<13} {verdict}, {time.monotonic() - start:.0f} s")
    lines.append("Some checks failed." if failed else "All checks passed.")
    sys.stdout.write("\n".join(["--- summary", *lines]) + "\n")
    return int(failed)


def start_blindcine(arguments: list[str]) -> int:
    """Run `blindcine ARGUMENTS` in the caller's folder; on POSIX it takes the place of this process."""
    command = [str(environment_python()), "-m", "app", *arguments]
    if os.name == "nt":
        return subprocess.run(command, check=False).returncode
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(command[0], command)


def main(arguments: list[str]) -> int:
    """Set up what the command needs and run it; returns the exit code."""
    if not OLDEST_PYTHON <= sys.version_info[:2] <= NEWEST_PYTHON:
        say(
            f"blindcine needs Python 3.11, 3.12 or 3.13, and this is {sys.version.split()[0]}; start it with "
            "another one, for example: python3.11 run.py"
        )
        return 2
    arguments = arguments or ["demo"]
    try:
        install_system_packages(missing_packages(arguments))
        set_up(purpose_of(arguments))
    except SetupError as error:
        say(str(error))
        return 2
    except KeyboardInterrupt:
        say("Set-up interrupted; the next start takes it up again.")
        return 130
    if arguments[0] == "test":
        return run_checks(arguments[1:])
    return start_blindcine(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
