"""`blindcine evaluate`: tables, tests in words, files, figure, and the whole way with tiny networks."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import matplotlib.image
import numpy as np
import pytest

from app.cli import main
from app.commands import evaluate, evaluation_tables, evaluation_tests
from app.commands.evaluation_figure import FigureMaker
from app.commands.evaluation_tables import Gathered
from app.commands.times import MovieTimes
from recon_backend.evaluation import Case, Comparison, EvaluationOptions, Score
from recon_backend.simulation.ranges import SimulationRanges

ARMS = ("compressed_sensing", "dl_natural", "dl_cardiac")


def score(dataset: str, method: str, reference: str, ssim: float, **more: Any) -> Score:
    return Score(
        dataset,
        more.pop("sampling", "radial"),
        method,
        reference,
        -30 * ssim,
        30 * ssim,
        ssim,
        24,
        1.5,
        group=more.pop("group", "clips_50%"),
        kind=more.pop("kind", "video"),
        **more,
    )


@pytest.fixture
def gathered() -> Gathered:
    """Six videos of five recordings: the natural network leads in all, the cardiac one in five of six."""
    found = Gathered("validation")
    for number in range(6):
        name, block = f"v{number}", f"r{max(number, 1)}"
        shift = 0.01 * number
        values = {"gridded": 0.4, "compressed_sensing": 0.6, "dl_natural": 0.8, "dl_cardiac": 0.7}
        if number == 5:
            values["dl_cardiac"] = 0.5
        found.scores.append(score(name, "ceiling", "noisy", 0.9, block=block))
        for method, value in values.items():
            for reference in ("noisy", "truth"):
                found.scores.append(score(name, method, reference, value + shift, block=block))
            if method != "gridded":
                seconds = {"preparation": 2.0, "model_loading": 0.5, "reconstruction": 1.0 + number}
                if method == "compressed_sensing":
                    seconds["reconstruction"] *= 10
                times = MovieTimes(name, name, "radial", method, "cpu", 24, seconds, "")
                found.times.setdefault(("clips_50%", "video"), []).append(times)
    return found


def test_the_tests_are_exact_and_in_plain_words(gathered: Gathered) -> None:
    """Recordings are the unit: v0 and v1 are one. Two rankings, each with three pairs."""
    tests = evaluation_tests.tests_of(gathered.scores)
    assert [(test.sampling, test.endpoint) for test in tests] == [
        ("radial", "SSIM"),
        ("radial", "MSE and PSNR (one ranking)"),
    ]
    result = tests[0].result
    assert result.arms == ARMS and (result.clips, result.blocks) == (6, 5)
    first, *pairs = evaluation_tests.sentences(tests[0])[:4]
    assert "the reconstructions differ" in first and "n = 6 videos of 5 recordings, no ties" in first
    # Natural first in five of five blocks: 2 · 2⁻⁵ = 0.0625 is not below 0.05, whatever Friedman says.
    natural = next(pair for pair in pairs if "dl_natural" in pair and "compressed" in pair)
    assert "no difference shown" in natural and "dl_natural ahead in 5 of 5" in natural
    assert "p = 0.062" in natural or "p = 0.063" in natural
    for score_ in gathered.scores:
        object.__setattr__(score_, "block", score_.dataset)
    pairs = evaluation_tests.sentences(evaluation_tests.tests_of(gathered.scores)[0])
    assert any(
        "dl_natural is better than compressed_sensing" in line and "p = 0.031" in line for line in pairs
    )


def test_mse_and_psnr_order_alike_and_lower_mse_wins(gathered: Gathered) -> None:
    for test in evaluation_tests.tests_of(gathered.scores):
        assert np.argmin(test.result.mean_rank) == ARMS.index("dl_natural")


def test_ties_are_counted_and_incomplete_data_left_out(gathered: Gathered) -> None:
    for found in gathered.scores:
        if found.method == "dl_cardiac" and found.dataset != "v5":
            object.__setattr__(found, "ssim", 0.8 + 0.01 * int(found.dataset[1]))
    gathered.scores = [
        found for found in gathered.scores if (found.dataset, found.method) != ("v5", "compressed_sensing")
    ]
    (test, _) = evaluation_tests.tests_of(gathered.scores)
    assert test.result.clips == 5
    assert "4 ties in pairs" in evaluation_tests.sentences(test)[0]


def test_json_has_one_row_a_method_and_the_noisy_target_inside(gathered: Gathered) -> None:
    gathered.scores.append(score("s", "gridded", "plain", 0.3, kind="scan", group="scans"))
    gathered.scores.append(score("s", "gridded", "shaded", 0.35, kind="scan", group="scans"))
    rows = evaluation_tables.json_rows(gathered)
    json.dumps(rows, allow_nan=False)
    keys = [(row["dataset"], row["sampling"], row["method"], row["reference"]) for row in rows]
    assert keys == [
        ("s", "radial", "gridded", "plain"),
        ("s", "radial", "gridded", "shaded"),
        *(("clips_50%", "radial", method, "truth") for method in ("gridded", *ARMS)),
    ]
    assert all({"mse_db", "psnr_db", "ssim", "n"} <= set(row) for row in rows)
    network = next(row for row in rows if row["method"] == "dl_natural")
    assert (network["n"], network["blocks"], network["split"]) == (6, 5, "validation")
    assert network["ssim"] == pytest.approx(0.825) and network["seconds"] == pytest.approx(3.5)
    assert network["gap_closed"] == pytest.approx(0.4 / (1 - 0.425))
    assert network["noisy_target"]["ceiling"] == pytest.approx(0.9)
    assert network["noisy_target"]["gap_closed"] == pytest.approx(0.4 / (0.9 - 0.425))
    assert rows[0]["n"] == 1


def test_a_ceiling_below_gridding_is_no_ceiling(gathered: Gathered) -> None:
    """The noise floor of a spiral's 30 coils is in gridding and in the target, not in the truth."""
    for number in range(6):
        gathered.scores.append(score(f"v{number}", "gridded", "noisy", 0.95, sampling="spiral"))
        gathered.scores.append(score(f"v{number}", "dl_natural", "noisy", 0.8, sampling="spiral"))
        gathered.scores.append(score(f"v{number}", "ceiling", "noisy", 0.9, sampling="spiral"))
    rows = [row for row in gathered.summary() if row.reference == "noisy"]
    assert evaluate.below_gridding(rows) == ["spiral"]
    shares = {row.sampling: row.gap_closed for row in rows if row.method == "dl_natural"}
    assert shares["spiral"] is None and shares["radial"] is not None


def test_csv_has_every_row_and_reference(gathered: Gathered) -> None:
    records = list(
        csv.DictReader(evaluation_tables.as_csv(evaluation_tables.csv_records(gathered)).splitlines())
    )
    assert len(records) == 9
    natural = next(r for r in records if (r["method"], r["reference"]) == ("dl_natural", "noisy"))
    assert float(natural["ssim_mean"]) == pytest.approx(0.825)
    assert float(natural["ssim_sd"]) == pytest.approx(np.std(0.01 * np.arange(6), ddof=1))
    assert float(natural["setup_s"]) == 2.5
    assert float(natural["ratio_to_compressed_sensing"]) == pytest.approx(0.1)
    assert next(r for r in records if r["method"] == "ceiling")["setup_s"] == ""


def test_times_are_set_against_compressed_sensing_of_the_same_scan(gathered: Gathered) -> None:
    rows = {row.method: row for row in evaluation_tables.times_rows(gathered.all_times())}
    natural = rows["dl_natural"]
    assert (natural.n, natural.setup_s, natural.mean_s, natural.median_s) == (6, 2.5, 3.5, 3.5)
    assert natural.sd_s == pytest.approx(np.std(np.arange(6), ddof=1))
    assert natural.ratio == pytest.approx(0.1) and rows["compressed_sensing"].ratio == pytest.approx(1)


def test_latex_is_balanced_and_escaped(gathered: Gathered) -> None:
    """As many cells in each row as the table has columns; no bare % or _; braces match."""
    tests = evaluation_tests.tests_of(gathered.scores)
    text = evaluation_tables.latex(gathered, tests, {"dl_natural": "Network, natural & new"})
    assert r"clips\_50\%" in text and r"Network, natural \& new" in text
    tables = re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", text, re.DOTALL)
    assert len(tables) == 2
    for columns, body in tables:
        rows = [line for line in body.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
        assert len(rows) > 2
        assert {len(re.split(r"(?<!\\)&", row)) for row in rows} == {len(columns)}
    content = "\n".join(text.splitlines()[1:])
    assert not re.search(r"(?<!\\)[%_#]", content.replace("$n$", ""))
    bare = re.sub(r"\\[{}]", "", content)
    depth = 0
    for character in bare:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    for name in ("table", "tabular"):
        assert content.count(rf"\begin{{{name}}}") == content.count(rf"\end{{{name}}}")
    assert all(ord(character) < 256 for character in content)


def comparison(number: int, method: str, movie: np.ndarray, ssim: float) -> Comparison:
    truth = np.zeros((8, 32, 32), np.float32)
    truth[:, 8:24, 8:24] = 1
    truth[:4, 8:24, 20] = 0.5
    case = Case(f"v{number}", "clips", "video", Path("v.mp4"))
    scores = (score(case.name, method, "truth", ssim, group="clips"),)
    return Comparison(case, scores, truth, movie * truth)


def test_the_figure_shows_best_median_and_worst(tmp_path: Path) -> None:
    """By the natural network's SSIM, although gridding has the opposite order; the same scale for all."""
    maker = FigureMaker(tmp_path / "figures")
    drawn: list[list[tuple[str, str]]] = []
    for number, ssim in enumerate((0.2, 0.9, 0.5, 0.6, 0.7)):
        maker.add(comparison(number, "gridded", np.float32(1), 1 - ssim))
        maker.add(comparison(number, "dl_natural", np.full((4, 1, 1), 0.5, np.float32).repeat(2, 0), ssim))
    from app.commands import evaluation_figure

    original = evaluation_figure._drawn

    def watched(title: Any, by: str, cases: Any) -> Any:
        drawn.append([(by, f"{word} {kept.dataset}") for word, kept in cases])
        return original(title, by, cases)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation_figure, "_drawn", watched)
        written = maker.write()
    maker.close()
    assert drawn == [[("dl_natural", "best v1"), ("dl_natural", "median v3"), ("dl_natural", "worst v0")]]
    assert [path.name for path in written] == ["clips_video_radial.png", "clips_video_radial.pdf"]
    assert written[1].read_bytes().startswith(b"%PDF")
    image = matplotlib.image.imread(written[0])
    assert image.shape[0] > 1000 and len(np.unique(image[..., 0])) > 10
    assert not list(tmp_path.glob("figures/.*"))


def test_panels_of_a_case_share_their_windows(tmp_path: Path) -> None:
    maker = FigureMaker(tmp_path)
    maker.add(comparison(0, "dl_natural", np.float32(3), 0.6))
    maker.add(comparison(0, "gridded", np.float32(1), 0.5))
    from app.commands import evaluation_figure

    kept = maker._kept[0]
    figure = evaluation_figure._drawn(("clips", "video", "radial"), "dl_natural", [("only case", kept)])
    images = [
        axis.images[0] for part in figure.subfigs for axis in part.axes if axis.images and axis.get_visible()
    ]
    maker.close()
    titles = [axis.get_title() for part in figure.subfigs for axis in part.axes if axis.get_title()]
    assert titles == ["truth", "gridded\nSSIM 0.500", "dl_natural\nSSIM 0.600"]
    grey = [image for image in images if image.get_cmap().name == "gray"]
    other = [image for image in images if image.get_cmap().name != "gray"]
    assert len(grey) == 6 and len(other) == 2
    assert {image.get_clim() for image in grey} == {(0, 1)}
    assert {image.get_clim() for image in other} == {(0, 0.25)}
    # The brightest moving column is shown over time: dark for the first half of the frames.
    profile = grey[2 + 1].get_array() if grey[1].get_array().shape == (32, 32) else grey[1].get_array()
    assert profile.shape == (32, 8) and profile[15, 0] < profile[15, 7]


@pytest.fixture(scope="module")
def tiny_shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six networks of a few filters with random weights, under the names of the shipped ones."""
    from recon_backend import models
    from recon_backend.networks.architectures import Architecture

    folder = tmp_path_factory.mktemp("shelf")
    networks = {
        "cartesian": Architecture("varnet", (2, 4), 1),
        "radial": Architecture("unet3d", (2, 4)),
        "spiral": Architecture("fastdvdnet", (2, 4, 8)),
    }
    for sampling, architecture in networks.items():
        network = architecture.build("float32")
        for kind in ("natural", "cardiac"):
            shipped = models.find(sampling, kind).manifest
            record = {
                **{name: getattr(shipped, name) for name in type(shipped).__dataclass_fields__},
                "filters": list(architecture.filters),
                "cascades": architecture.cascades,
                "golden": {},
            }
            models.write_model(
                folder / f"{sampling}-{kind}",
                network.get_weights(),
                [weight.path for weight in network.weights],
                models.Manifest(**record),
            )
    return folder


@pytest.fixture
def few_coils(monkeypatch: pytest.MonkeyPatch) -> None:
    few = SimulationRanges.published(coils=(2, 2))
    monkeypatch.setattr(SimulationRanges, "published", staticmethod(lambda: few))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with a video of moving colours and a file with one patient."""
    import av

    folder = tmp_path / "held_out"
    folder.mkdir()
    with av.open(str(folder / "waves.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"
        y, x = np.mgrid[:96, :128]
        for frame in range(12):
            waves = [np.sin(x / 9 + frame / 3), np.cos(y / 7 - frame / 4), np.sin((x + y) / 11)]
            image = (127 + 120 * np.stack(waves, axis=-1)).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    with h5py.File(folder / "hearts.h5", "w") as file:
        y, x = np.mgrid[:60, :60] - 30.0
        radius = 15 + 5 * np.sin(2 * np.pi * np.arange(8) / 8)
        beat = 200 * (np.hypot(y, x)[None] < radius[:, None, None]) + 20
        for patient in ("patient1", "patient2"):
            file[patient] = beat[None].astype(np.uint8)
    return folder


def test_from_a_folder_to_tables_and_figures(
    data: Path,
    tmp_path: Path,
    tiny_shelf: Path,
    few_coils: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A video and two patients in all samplings by all methods, with a file that cannot be read."""
    monkeypatch.setenv("BLINDCINE_MODELS", str(tiny_shelf))
    (data / "broken.mp4").write_bytes(b"no video")
    out = tmp_path / "out"
    files = {name: out / f"table.{name}" for name in ("json", "csv", "tex")}
    words = ["evaluate", "--data", str(data), "--frames", "6"]
    words += ["--json", str(files["json"]), "--csv", str(files["csv"]), "--latex", str(files["tex"])]
    code = main([*words, "--details", str(out / "details.csv")])
    captured = capsys.readouterr()
    assert code == 2
    assert captured.err.count("Failed: broken.mp4") == 3
    rows = json.loads(files["json"].read_text())
    methods = ("gridded", *ARMS)
    assert {(row["dataset"], row["sampling"], row["method"], row["n"]) for row in rows} == {
        (dataset, sampling, method, n)
        for dataset, n in (("held_out", 1), ("hearts", 2))
        for sampling in ("cartesian", "radial", "spiral")
        for method in methods
    }
    for row in rows:
        assert row["psnr_db"] == pytest.approx(-row["mse_db"]) and -1 <= row["ssim"] <= 1
        assert row["frames"] == (2 if row["sampling"] == "spiral" else 6)
    details = list(csv.DictReader((out / "details.csv").read_text().splitlines()))
    assert len(details) == 3 * 3 * (2 * len(methods) + 2)
    mean = np.mean(
        [
            float(row["ssim"])
            for row in details
            if (row["group"], row["sampling"], row["method"], row["reference"])
            == ("hearts", "radial", "dl_natural", "truth")
        ]
    )
    network = next(
        row
        for row in rows
        if (row["dataset"], row["sampling"], row["method"]) == ("hearts", "radial", "dl_natural")
    )
    assert network["ssim"] == pytest.approx(mean)
    assert "hearts (patients), against the noise-free truth" in captured.out
    assert "Tests, hearts (patients) against the noise-free truth" in captured.out
    assert "radial, SSIM: " in captured.out and "n = 2 patients" in captured.out
    assert r"\toprule" in files["tex"].read_text()
    assert len(files["csv"].read_text().splitlines()) == 1 + 2 * 3 * 10
    # Once more, from the cache, for one sampling: the same figures, and the pictures.
    words = ["evaluate", "--data", str(data / "hearts.h5"), "--frames", "6", "--samplings", "radial"]
    assert main([*words, "--json", str(out / "again.json"), "--figure", str(out)]) == 0
    assert "8 of 8 times are of an earlier computation" in capsys.readouterr().out
    again = json.loads((out / "again.json").read_text())
    assert again == [row for row in rows if (row["sampling"], row["dataset"]) == ("radial", "hearts")]
    assert (out / "hearts_cine_radial.png").exists() and (out / "hearts_cine_radial.pdf").exists()


def test_an_interruption_keeps_what_was_computed(
    data: Path, tmp_path: Path, few_coils: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl+C after the first patient's rows: they are in the file, and the exit code is a shell's."""
    from recon_backend import evaluation

    original = evaluation.evaluate_cases

    def interrupted(*arguments: Any, **options: Any) -> Iterator[Comparison]:
        for found in original(*arguments, **options):
            yield found
            if found.case.name == "patient2":
                raise KeyboardInterrupt

    monkeypatch.setattr(evaluation, "evaluate_cases", interrupted)
    target = tmp_path / "rows.json"
    words = ["evaluate", str(data / "hearts.h5"), "--method", "gridded", "--samplings", "spiral"]
    assert main([*words, "--frames", "6", "--json", str(target)]) == 130
    (row,) = json.loads(target.read_text())
    assert (row["dataset"], row["method"], row["n"]) == ("hearts", "gridded", 1)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "No data were named"),
        (["--data", "{data}", "--frames", "3"], "--frames is 3"),
        (["--data", "{data}", "--models", "nobody"], "no model 'nobody'"),
        (["--data", "{data}", "--methods", "magic"], "magic"),
        (["--data", "{data}/nothing"], "no such file"),
        (["--data", "{data}/waves.mp4", "--methods", "dl_natural"], "No natural model"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    data: Path,
    words: list[str],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from recon_backend import models

    if "dl_natural" in words:
        monkeypatch.setattr(models, "shelf", lambda: [])
    assert main(["evaluate", *(word.format(data=data) for word in words)]) == 2
    error = capsys.readouterr().err
    assert sentence in error and "Traceback" not in error


def test_data_that_networks_may_have_seen_is_said(
    data: Path, capsys: pytest.CaptureFixture[str], few_coils: None
) -> None:
    """The shipped models name `cardiac_cine_acdc` in their manifests."""
    from recon_backend.models import shelf

    (name,) = {
        str(entry["name"])
        for model in shelf()
        if model.manifest.training_kind == "cardiac"
        for entry in model.manifest.data
    }
    path = (data / "hearts.h5").rename(data / f"{name}.h5")
    words = ["evaluate", str(path), "--method", "gridded", "--samplings", "spiral", "--frames", "5"]
    assert main([*words, "--limit", "1"]) == 0
    captured = capsys.readouterr()
    assert "may not be held out" in captured.err and "1 patients" in captured.out
    assert main([*words, "--split", "validation"]) == 0
    captured = capsys.readouterr()
    assert "may not be held out" not in captured.err and "validation split" in captured.out


def test_settings_of_compressed_sensing_reach_the_evaluation(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recon_backend import evaluation

    asked: list[EvaluationOptions] = []

    def evaluate_cases(_cases: object, options: EvaluationOptions, **_more: object) -> Iterator[Comparison]:
        asked.append(options)
        yield from ()

    monkeypatch.setattr(evaluation, "evaluate_cases", evaluate_cases)
    main(["evaluate", str(data), "--settings", "published"])
    assert [options.settings for options in asked] == ["published"]
