"""`blindcine desktop`: let a double click on a reader package open it, for this user, on a Linux desktop.

Rule: what is written follows the XDG specifications: a MIME type for `*.blindcine` (known by its name and by
its first bytes), an entry of the application that opens it, and an icon, all below `$XDG_DATA_HOME`.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from app.commands.failures import CommandError
from app.commands.terminal import say
from app.package_folders import PACKAGE_SUFFIX, user_data_folder

MIME_TYPE = "application/x-blindcine-package"
ENTRY_NAME = "blindcine.desktop"
ICON = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64">
<rect x="4" y="12" width="56" height="40" rx="6" fill="#14181d"/>
<g fill="none" stroke="#5cc8ff" stroke-width="3">
<rect x="10" y="20" width="12" height="16"/><rect x="26" y="20" width="12" height="16"/>
<rect x="42" y="20" width="12" height="16"/><path d="M10 44h44"/></g></svg>
"""
MIME = f"""<?xml version="1.0" encoding="UTF-8"?>
<mime-info xmlns="http://www.freedesktop.org/standards/shared-mime-info">
  <mime-type type="{MIME_TYPE}">
    <comment>Blinded reading for one reader</comment>
    <icon name="blindcine"/>
    <glob pattern="*{PACKAGE_SUFFIX}"/>
    <magic priority="60">
      <match type="string" offset="30" value="mimetype">
        <match type="string" offset="38" value="{MIME_TYPE}"/>
      </match>
    </magic>
  </mime-type>
</mime-info>
"""
ELSEWHERE = {
    "win32": (
        "Windows asks by itself: double-click a *.blindcine file, choose “Choose an app on your PC”, then "
        "{program}. A package can also be dropped on the window."
    ),
    "darwin": (
        "On macOS, start blindcine and drop the *.blindcine file on its window, or call in a terminal: "
        "{program} FILE."
    ),
}


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    text = "let a double click on a reader package (*.blindcine) open it"
    parser = subparsers.add_parser("desktop", help=text, description=text[0].upper() + text[1:] + ".")
    parser.add_argument("--remove", action="store_true", help="take the entries away again")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Install or remove the entries, or say what to do where there are none."""
    if sys.platform in ELSEWHERE:
        say(ELSEWHERE[sys.platform].format(program=" ".join(program())))
        return 0
    base = user_data_folder()
    files = entries(base)
    if arguments.remove:
        for path in files:
            path.unlink(missing_ok=True)
    else:
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
    updated = update(base)
    if arguments.remove:
        say("Removed: a double click on a *.blindcine file no longer opens blindcine.")
    elif "update-mime-database" in updated:
        say(f"Done: a double click on a *{PACKAGE_SUFFIX} file opens it in blindcine ({base}).")
    else:
        raise CommandError(
            "The entries are written, but 'update-mime-database' is missing, without which the desktop does "
            "not know them: install shared-mime-info and call this again."
        )
    return 0


def entries(base: Path) -> dict[Path, str]:
    """Return the files to write below a user's data folder, and their content."""
    command = " ".join(quoted(word) for word in program())
    entry = "\n".join(
        (
            "[Desktop Entry]",
            "Type=Application",
            "Name=blindcine",
            "Comment=Blinded reader studies of real-time cine MRI",
            f"Exec={command} window %f",
            "Icon=blindcine",
            "Terminal=false",
            "Categories=Science;MedicalSoftware;",
            f"MimeType={MIME_TYPE};",
            "",
        )
    )
    return {
        base / "mime" / "packages" / "blindcine.xml": MIME,
        base / "applications" / ENTRY_NAME: entry,
        base / "icons" / "hicolor" / "scalable" / "apps" / "blindcine.svg": ICON,
    }


def program() -> list[str]:
    """Return the words that start blindcine from anywhere."""
    installed = shutil.which("blindcine", path=str(Path(sys.executable).parent)) or shutil.which("blindcine")
    if installed is not None:
        return [installed]
    # A source tree: Python has to be told where it is.
    return ["env", f"PYTHONPATH={Path(__file__).resolve().parents[2]}", sys.executable, "-m", "app"]


def quoted(word: str) -> str:
    """Return a word as the line Exec of a desktop entry needs it."""
    text = word.replace("\\", "\\\\")
    for character in '"`$':
        text = text.replace(character, f"\\{character}")
    # Inside the value of a key every backslash is written twice, and a percent sign begins a field.
    return f'"{text}"'.replace("\\", "\\\\").replace("%", "%%")


def update(base: Path) -> list[str]:
    """Tell the desktop about the entries; return the programs that were there to do so."""
    done = []
    calls = {
        "update-mime-database": [str(base / "mime")],
        "update-desktop-database": [str(base / "applications")],
        "xdg-mime": ["default", ENTRY_NAME, MIME_TYPE],
    }
    for name, words in calls.items():
        path = shutil.which(name)
        folder_there = (base / "mime").is_dir() and (base / "applications").is_dir()
        if path is not None and folder_there:
            subprocess.run([path, *words], check=False, capture_output=True)
            done.append(name)
    return done
