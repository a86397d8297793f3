"""`blindcine export` and `export-grid` from movie files to files for other programs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.cli import main
from recon_backend.movie import Movie


@pytest.fixture(scope="module")
def movies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two samplings by two methods, as `reconstruct` writes them; the last one starts a frame later."""
    folder = tmp_path_factory.mktemp("movies")
    rng = np.random.default_rng(1)
    for sampling, step in (("radial", 0.05), ("spiral", 0.06)):
        for method, first in (("compressed_sensing", 0), ("dl_natural", 1)):
            frames = rng.random((5 - first, 16, 16), dtype=np.float32)
            times = step * np.arange(first, 5)
            record = {"sampling": sampling, "method": method, "raw_sha256": "0" * 64}
            Movie(frames, (2.0, 2.0), times, record).save(folder / f"S01_{sampling}_{method}.h5")
    return folder


@pytest.mark.parametrize(
    ("kind", "ending"), [("mp4", "mp4"), ("gif", "gif"), ("dicom", "dcm"), ("nifti", "nii")]
)
def test_every_format(
    movies: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, ending: str
) -> None:
    paths = [str(path) for path in sorted(movies.glob("*radial*.h5"))]
    assert main(["export", *paths, "--format", kind, "--out", str(tmp_path)]) == 0
    written = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert [path.name for path in written if path.suffix != ".json"] == [
        f"{Path(path).stem}.{ending}" for path in paths
    ]
    assert all(path.stat().st_size > 500 for path in written if path.suffix != ".json")


@pytest.mark.parametrize("ending", ["mp4", "gif"])
def test_a_grid(movies: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str) -> None:
    paths = [str(path) for path in movies.glob("*.h5")]
    target = tmp_path / "videos" / f"S2.{ending}"
    assert main(["export-grid", *paths, "--out", str(target), "--labels", "--side", "64"]) == 0
    assert capsys.readouterr().out == f"{target}\n" and target.stat().st_size > 1000


def test_what_cannot_be_exported_is_one_sentence(
    movies: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, *others = [str(path) for path in sorted(movies.glob("*.h5"))]
    out = ["--format", "gif", "--out", str(tmp_path / "one.gif")]
    assert main(["export", first, *others, *out]) == 2
    assert "several movies need a folder" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "none.h5"), *out]) == 2
    assert "none.h5" in capsys.readouterr().err
    other = tmp_path / Path(first).name
    other.write_bytes(Path(first).read_bytes())
    assert main(["export", first, str(other), "--format", "gif", "--out", str(tmp_path)]) == 2
    assert "same name" in capsys.readouterr().err
    assert main(["export-grid", first, str(other), "--out", str(tmp_path / "a.mp4")]) == 2
    assert "choose the movies of one subject" in capsys.readouterr().err
    plain = Movie(np.ones((3, 4, 4), np.float32), (1.0, 1.0), np.arange(3.0)).save(tmp_path / "plain.h5")
    assert main(["export-grid", str(plain), "--out", str(tmp_path / "a.mp4")]) == 2
    assert "does not say its sampling and method" in capsys.readouterr().err
    assert not (tmp_path / "a.mp4").exists()


def test_a_study_is_named_instead_of_movies(
    movies: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    some = str(next(movies.glob("*.h5")))
    for words in ([], [some, "--study", str(tmp_path)]):
        assert main(["export-grid", *words, "--out", str(tmp_path / "out")]) == 2
        assert "either movies or" in capsys.readouterr().err
    assert main(["export-grid", "--study", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("\n") <= 2 and not (tmp_path / "out").exists()


def test_measurements_are_of_an_unblinded_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export-measurements", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err and not (tmp_path / "out").exists()
