"""Session folders: kept while their process lives, removed after it was killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from app.scratch import ScratchFolder, remove_abandoned

OTHER = """
import sys
from pathlib import Path
from app.scratch import remove_abandoned
remove_abandoned(Path(sys.argv[1]))
"""
KILLED = """
import os, signal, sys
from pathlib import Path
from app.scratch import ScratchFolder
folder = ScratchFolder(Path(sys.argv[1]))
(folder.path / "movie_dl_natural.h5").write_text("movie")
print(folder.path, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_folder_of_a_living_process_is_kept(tmp_path: Path) -> None:
    folder = ScratchFolder(tmp_path)
    (folder.path / "movie.h5").write_text("movie")
    subprocess.run([sys.executable, "-c", OTHER, str(tmp_path)], check=True, timeout=60)
    assert (folder.path / "movie.h5").exists()
    folder.remove()
    assert not folder.path.exists()


def test_folder_of_a_killed_process_is_removed(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    left = Path(done.stdout.strip())
    assert (left / "movie_dl_natural.h5").exists()
    remove_abandoned(tmp_path)
    assert not left.exists()
