"""`blindcine study measure` and `study repeatability`, in this process, on a study of small movies."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from app.cli import main
from studies import blinding
from studies.mask_files import read_mask
from studies.measurement import measure
from studies.roi_files import read_roi_file
from studies.shapes import Ellipse, Line, Rectangle, Shapes
from studies.study import Study
from studies.timed_shapes import TimedShapes

SHIFTS = (0, 1, 2, 3, 2, 1, 0, 1)
PASSPHRASE = "open sesame"
ARMS = ("compressed_sensing", "dl_cardiac")
SHAPES = Shapes(Ellipse((20, 24), (7, 6)), Rectangle((42, 8), (9, 9)), Line((12, 24), (30, 24)))


@pytest.fixture(scope="module")
def made_study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A locked study of three scans, in which tissue moves to the right and back."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blinding, "SCRYPT_COST", 2)
        patch.setattr(os, "fsync", lambda descriptor: None)
        study = Study.create(folder / "study", name="Trial", arms=ARMS)
        for number in range(3):
            rng = np.random.default_rng(number)
            texture = gaussian_filter(rng.normal(size=(48, 56)), 2, mode="wrap")
            texture = 10 + number + 2 * texture / texture.std()
            texture[:, 36:] = 0
            movie = np.stack([np.roll(texture, shift, axis=1) for shift in SHIFTS])
            scan = study.import_scan(
                folder / f"{number}.h5",
                raw_sha256=f"{number:064x}",
                subject=f"P{number}",
                plane="SAX",
                sampling="radial",
            )
            movies = {}
            for place, arm in enumerate(ARMS):
                path = folder / f"{number}_{arm}.h5"
                with h5py.File(path, "w") as file:
                    noise = np.abs(rng.normal(0, 0.1 * (1 + place), movie.shape))
                    file["movie"] = np.asarray(movie + noise, np.float32)
                    file.attrs["format"] = "blindcine-movie-1"
                    file.attrs["pixel_spacing_mm"] = (2.0, 1.5)
                    file.attrs["frame_times_s"] = 0.25 * np.arange(len(SHIFTS))
                    file.attrs["provenance"] = "{}"
                movies[arm] = path
            study.attach_movies(scan, movies)
        study.lock(["Ann"], PASSPHRASE)
        yield folder / "study"


@pytest.fixture
def study(made_study: Path, tmp_path: Path) -> Path:
    import shutil

    (tmp_path / "shapes.json").write_text(json.dumps(SHAPES.to_dict()))
    return Path(shutil.copytree(made_study, tmp_path / "study"))


def run(study: Path, *words: str | Path, observer: str = "Cy", shapes: Path | None = None) -> int:
    shapes = shapes or study.parent / "shapes.json"
    command = ["study", "measure", str(study), "--observer", observer, "--shapes", str(shapes)]
    return main([*command, *map(str, words)])


def test_frames_width_and_following_reach_the_measurement(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is saved is what the library measures with these settings; the table has the companions."""
    clip_id = Study.open(study).clips[1].clip_id
    assert run(study, "--clip", clip_id, "--frames", "3-6", "--width", "3", "--follow", "--companions") == 0
    printed = capsys.readouterr().out
    assert "tSNR dB" in printed and "sigma mm" in printed and not [arm for arm in ARMS if arm in printed]
    assert "2 of 2 movies: The range of frames lasts 1.00 s" in printed
    (record,) = Study.open(study).measurements
    clip = Study.open(study).load_movies(clip_id)
    followed = TimedShapes.from_dict(record.shapes)
    assert followed.drawing.line == Line((12, 24), (30, 24), 3)
    assert followed.motions["signal"].dx == tuple(shift - 2 for shift in SHIFTS)  # drawn in frame 3
    assert set(followed.motions) == {"signal"}
    motion = followed.motions["signal"]
    match, lead = min(motion.match), min(motion.distinctness)
    said = f"up to 2.0 pixels; correlation at least {match:.2f}, {lead:.2f} above"
    assert said in printed and match > 0.6
    results = measure(
        clip.movies, followed, clip.pixel_spacing_mm, clip.frame_times_s, window_s=1.5, frame_range=(2, 6)
    )
    for movie_id, result in zip(clip.movie_ids, results, strict=True):
        value = record.values[movie_id]
        assert value["snr_db_mean"] == result.snr.mean and value["frames"] == 4  # type: ignore[union-attr]
        assert value["first_frame"] == 3 and value["line_width_px"] == 3
        assert value["edge_sigma_mm_mean"] == result.sigma.mean  # type: ignore[union-attr]
        assert value["displacement_px"] == 2


def test_files_of_a_measurement_and_the_way_back(study: Path, tmp_path: Path) -> None:
    """Masks, drawings and position-time images of every clip; a drawing measured again gives the same."""
    words = ["--masks", tmp_path / "m", "--mask-format", "nii.gz", "--drawings", tmp_path / "d"]
    assert (
        run(study, *words, "--profiles", tmp_path / "p", "--follow", "--drawn-in", "2", "--frames", "2-7")
        == 0
    )
    opened = Study.open(study)
    for record in opened.measurements:
        clip = opened.load_movies(record.clip_id)
        masks = read_mask(tmp_path / "m" / f"{record.clip_id}.nii.gz")
        np.testing.assert_array_equal(
            masks.signal, TimedShapes.from_dict(record.shapes).masks("signal", 8, (48, 56))
        )
        roi = read_roi_file(tmp_path / "d" / f"{record.clip_id}.json")
        assert roi.author == "Cy" and roi.frame_range == (1, 7) and roi.tool.startswith("blindcine ")
        for movie_id, movie in zip(clip.movie_ids, clip.movies, strict=True):
            stem = tmp_path / "p" / f"{record.clip_id}_{movie_id}_yt"
            with stem.with_suffix(".csv").open(newline="") as file:
                rows = list(csv.reader(file))
            numbers = np.array(rows[1:], float)
            assert numbers[-1, 0] == pytest.approx(18 * 1.5)
            np.testing.assert_allclose(numbers[::2, 1:], movie[:, 24, 12:31].T, rtol=1e-6)
            assert stem.with_suffix(".png").stat().st_size > 2000
    before = {record.clip_id: record.values for record in opened.measurements}
    clip_id = opened.clips[2].clip_id
    assert run(study, observer="Dee", shapes=tmp_path / "d" / f"{clip_id}.json") == 0  # finds its own movies
    again = [record for record in Study.open(study).measurements if record.observer == "Dee"]
    assert [record.clip_id for record in again] == [clip_id]
    assert dict(again[0].values) == dict(before[clip_id])


def test_a_drawing_goes_elsewhere_only_if_told(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(study, "--drawings", tmp_path / "d", "--search", "9") == 0
    first, second = (clip.clip_id for clip in Study.open(study).clips[:2])
    drawing = tmp_path / "d" / f"{first}.json"
    assert run(study, "--clip", second, shapes=drawing) == 2
    assert "made on other movies" in capsys.readouterr().err
    assert run(study, "--clip", second, "--other-image", observer="Dee", shapes=drawing) == 0
    data = json.loads(drawing.read_text())
    data["image"]["sha256"] = "0" * 64
    drawing.write_text(json.dumps(data))
    assert run(study, shapes=drawing) == 2
    assert "no movies that this drawing was made on" in capsys.readouterr().err


def test_line_widths_of_edits_too_and_shapes_without_a_line(study: Path, tmp_path: Path) -> None:
    edited = TimedShapes(SHAPES).to_dict()
    edited["over_time"] = {
        "edits": [{"frames": [1, 2], "shapes": Shapes(line=Line((12, 25), (30, 25))).to_dict()}]
    }
    clips = [clip.clip_id for clip in Study.open(study).clips]
    plain = Shapes(SHAPES.signal, SHAPES.background).to_dict()
    (tmp_path / "sets.json").write_text(json.dumps({clips[0]: edited, clips[1]: plain}))
    assert run(study, "--width", "4", "--profiles", tmp_path / "p", shapes=tmp_path / "sets.json") == 0
    records = {
        record.clip_id: TimedShapes.from_dict(record.shapes) for record in Study.open(study).measurements
    }
    assert set(records) == set(clips[:2])
    assert {line.width_px for line, _ in records[clips[0]].groups("line", 8) if isinstance(line, Line)} == {4}
    assert len(list((tmp_path / "p").glob(f"{clips[0]}_*_yt.png"))) == 2
    assert not list((tmp_path / "p").glob(f"{clips[1]}*"))


def test_one_clip_that_is_refused_saves_none(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = [clip.clip_id for clip in Study.open(study).clips]
    outside = Shapes(Ellipse((3, 24), (7, 6)), SHAPES.background).to_dict()
    (tmp_path / "shapes.json").write_text(json.dumps({clips[0]: SHAPES.to_dict(), clips[1]: outside}))
    assert run(study) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert f"Clip {clips[1]}: The signal region reaches" in error and "Nothing was saved" in error
    assert not Study.open(study).measurements


@pytest.mark.parametrize(
    ("words", "content", "said"),
    [
        ([], "{", "is not JSON"),
        ([], "[1]", "expected one object"),
        ([], '{"strange": {}}', "no clip 'strange'"),
        (["--clip", "strange"], "{}", "no shapes for the clip 'strange'"),
        (["--frames", "3-12"], None, "frames 1…8, but 3 to 12"),
        (["--follow", "--drawn-in", "9"], None, "frames 1…8, but frame 9"),
        (["--width", "0"], None, "width of a line must be at least 1"),
    ],
)
def test_mistakes_are_told_and_nothing_is_saved(
    study: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    content: str | None,
    said: str,
) -> None:
    if content is not None:
        (tmp_path / "shapes.json").write_text(content)
    assert run(study, *words) == 2
    assert said in capsys.readouterr().err and not Study.open(study).measurements


@pytest.mark.parametrize("frames", ["3-x", "0-4", "5-3", ""])
def test_ranges_of_frames_are_checked(study: Path, frames: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(study, "--frames", frames)
    assert "range of frames" in capsys.readouterr().err


def test_repeatability_of_two_observers(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Blinded: means over movies only; unblinded: methods too. The file has what is printed."""
    assert run(study) == 0
    (tmp_path / "second.json").write_text(
        json.dumps(Shapes(Ellipse((21, 25), (7, 6)), SHAPES.background, Line((13, 25), (30, 24))).to_dict())
    )
    assert run(study, observer="Dee", shapes=tmp_path / "second.json") == 0
    capsys.readouterr()
    command = ["study", "repeatability", str(study), "--observers", "Cy, Dee"]
    assert main([*command, "--out", str(tmp_path / "r.csv")]) == 0
    printed = capsys.readouterr().out
    assert "Cy and Dee, 3 clips in both" in printed and "ICC(A,1)" in printed
    assert (
        "Dice of the signal masks: mean 0.8" in printed
        and "Dice of the background masks: mean 1.000" in printed
    )
    assert not [arm for arm in ARMS if arm in printed]
    with (tmp_path / "r.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    by_clip: dict[str, list[float]] = {}
    for record in Study.open(study).measurements:
        mean = float(np.mean([value["snr_db_mean"] for value in record.values.values()]))
        by_clip.setdefault(record.clip_id, []).append(mean)
    difference = np.mean([pair[0] - pair[1] for pair in by_clip.values()])
    assert rows[0]["what"] == "snr_db_mean" and float(rows[0]["bias"]) == pytest.approx(difference)
    first, second = SHAPES.signal, Ellipse((21, 25), (7, 6))
    masks = [shape.mask((48, 56)) for shape in (first, second) if shape is not None]
    dice = 2 * (masks[0] & masks[1]).sum() / (masks[0].sum() + masks[1].sum())
    assert float(rows[-2]["mean"]) == pytest.approx(dice)

    Study.open(study).unblind(PASSPHRASE, "Eve", force=True)
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {row["group"] for row in found["rows"]} == {"mean of the movies", "masks", *ARMS}


def test_repeatability_of_one_observer_and_mistakes(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(study) == 0
    command = ["study", "repeatability", str(study)]
    assert main([*command, "--observer", "Cy"]) == 2
    assert "measured no clip twice" in capsys.readouterr().err
    plain = Shapes(signal=Ellipse((20, 24), (7, 6))).to_dict()
    clips = [clip.clip_id for clip in Study.open(study).clips]
    (tmp_path / "again.json").write_text(json.dumps({clip_id: plain for clip_id in clips[:2]}))
    assert run(study, shapes=tmp_path / "again.json") == 0
    capsys.readouterr()
    assert main([*command, "--observer", "Cy"]) == 0
    printed = capsys.readouterr().out
    assert "Cy, first and Cy, latest, 2 clips" in printed and "SNR: 2 clip(s) lack a value" not in printed
    assert "temporal_snr_db" in printed and "snr_db_mean " not in printed.replace(
        "difference_snr_db_mean ", ""
    )
    for observers, said in [
        ("Cy", "not two observers"),
        ("Cy,Cy", "not two observers"),
        ("Cy,Rob", "'Rob' measured"),
    ]:
        assert main([*command, "--observers", observers]) == 2
        assert said in capsys.readouterr().err
