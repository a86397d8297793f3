"""Videos of a study: nothing before unblinding, every movie under its own method afterwards."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from studies.errors import StudyError
from studies.export import MovieExport
from studies.export.grid import GridSettings
from studies.export.study_movies import export_study_grids, export_study_movies
from studies.study import Study

PASSPHRASE = "four horses and a lamp"


def test_a_blinded_study_gives_no_movie_away(make_study: Callable[..., Study], tmp_path: Path) -> None:
    study = make_study(scans=2, readers=["Anna"])
    for export in (
        lambda: export_study_grids(study, tmp_path / "out"),
        lambda: export_study_movies(study, tmp_path / "out", MovieExport("gif")),
    ):
        with pytest.raises(StudyError, match="blinded"):
            export()
    assert not (tmp_path / "out").exists()


def test_an_unblinded_study_gives_each_movie_under_its_method(
    make_study: Callable[..., Study], tmp_path: Path
) -> None:
    study = make_study(scans=3, readers=["Anna"])
    study.unblind(PASSPHRASE, "Ada", force=True)
    fractions: list[float] = []
    written = export_study_movies(
        study, tmp_path / "one", MovieExport("dicom"), lambda _phase, fraction: fractions.append(fraction)
    )
    arms = ("compressed_sensing", "dl_cardiac", "dl_natural")
    assert sorted(path.name for path in written) == [
        f"{case}_radial_{arm}.dcm" for case in ("P0_4CH", "P0_SAX", "P1_4CH") for arm in arms
    ]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    data = {path.stem: pydicom.dcmread(io.BytesIO(path.read_bytes())) for path in written}
    # Pixels tell scan and arm: 10 for the second scan, and the place of the arm.
    for place, arm in enumerate(("compressed_sensing", "dl_natural", "dl_cardiac")):
        found = data[f"P0_SAX_radial_{arm}"]
        factor = float(found.DerivationDescription.split("*")[1])
        own = np.random.default_rng(1).random((6, 8, 8)) + 10 + place
        ratio = found.pixel_array / factor / own
        assert ratio.std() / ratio.mean() < 1e-3, "but for the factor of the grey scale it is this arm"
        assert found.SeriesDescription == arm and found.PatientID == "P0"
    videos = export_study_grids(study, tmp_path / "grids", "gif", GridSettings(side=64))
    assert [path.name for path in videos] == ["P0_4CH.gif", "P0_SAX.gif", "P1_4CH.gif"]
    images = [Image.open(io.BytesIO(path.read_bytes())) for path in videos]
    assert {image.n_frames for image in images} == {6}


def test_scans_of_one_sampling_get_rows_of_their_own_and_names_never_collide(
    make_study: Callable[..., Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(scans=2, readers=["Anna"])
    study.unblind(PASSPHRASE, "Ada", force=True)
    same = [scan.__class__(**{**vars(scan), "subject": "A/B", "plane": "SAX"}) for scan in study.scans]
    monkeypatch.setattr(Study, "scans", property(lambda _study: same))
    (video,) = export_study_grids(study, tmp_path / "out", "gif", GridSettings(side=64))
    assert video.name == "A_B_SAX.gif"
    assert Image.open(io.BytesIO(video.read_bytes())).height > 2 * 64
    written = export_study_movies(study, tmp_path / "one", MovieExport("gif"))
    assert len({path.name for path in written}) == 6
