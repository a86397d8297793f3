"""Siemens twix: the same scan as an ISMRMRD file must come out the same; YAML files say where samples lie."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import turbotwix

from recon_backend.formats import open_acquisition
from recon_backend.sampling.presets import preset_sampling
from recon_backend.sampling.radial import radial_trajectory
from recon_backend.sampling.spiral import SpiralDesign, spiral_arm, spiral_trajectory

VERSIONS = ("VB", "VD")
DESIGN = {"matrix": 32, "full_arms": 4, "dwell_s": 4e-6}


def yaml(path: Path, text: str) -> Path:
    """Write the YAML beside a raw file."""
    path.with_suffix(".yaml").write_text(text)
    return path


@pytest.mark.parametrize("version", VERSIONS)
def test_written_files_are_twix_to_another_reader(
    writers: Any, scan: Any, tmp_path: Path, version: str
) -> None:
    recipe = writers.TwixScan(scan(), version)
    lines = recipe.lines()
    with turbotwix.open_twix(str(recipe.write(tmp_path / "a.dat"))) as file:
        samples = file.read(file.lines.image)
        assert file.version == version.lower()
        np.testing.assert_array_equal(samples.transpose(1, 0, 2), [line.samples for line in lines])
        assert file.lines.counter("Lin").tolist() == [line.counters["Lin"] for line in lines]
        assert file.hdr.MeasYaps["sKSpace", "lBaseResolution"] == 10
        assert file.lines.headers()["TimeStamp"].tolist() == [line.ticks for line in lines]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("matrix", [(12, 10), (13, 11), (20, 9)])
def test_cartesian_equals_the_same_scan_as_ismrmrd(
    writers: Any, scan: Any, tmp_path: Path, version: str, matrix: tuple[int, int]
) -> None:
    recipe = scan(matrix=matrix, frames=4)
    expected = open_acquisition(recipe.write(tmp_path / "a.h5"))
    twix = writers.TwixScan(recipe, version, values={"sSliceArray.asSlice[0].dReadoutFOV": "200.0"})
    acquisition = open_acquisition(twix.write(tmp_path / "a.dat"))
    np.testing.assert_array_equal(acquisition.kspace, expected.kspace)
    np.testing.assert_array_equal(acquisition.mask, expected.mask)
    assert acquisition.matrix == expected.matrix == matrix
    assert acquisition.field_of_view_mm == pytest.approx(expected.field_of_view_mm)
    np.testing.assert_allclose(acquisition.frame_times_s, [0, 0.012, 0.024, 0.036], rtol=1e-12)
    assert acquisition.details["field_strength_t"] == 1.5
    assert acquisition.details["tr_ms"] == 3.0
    assert acquisition.details["sequence_name"] == "realtime"


@pytest.mark.parametrize("counter", ["Phs", "Set"])
def test_frames_by_phase_or_set(writers: Any, scan: Any, tmp_path: Path, counter: str) -> None:
    recipe = writers.TwixScan(scan())
    expected = open_acquisition(recipe.write(tmp_path / "a.dat"))
    lines = recipe.lines()
    for line in lines:
        line.counters[counter] = line.counters.pop("Rep")
    acquisition = open_acquisition(recipe.write(tmp_path / "b.dat", lines))
    np.testing.assert_array_equal(acquisition.kspace, expected.kspace)


def test_lines_that_are_no_image_are_left_out(writers: Any, scan: Any, tmp_path: Path) -> None:
    recipe = writers.TwixScan(scan())
    expected = open_acquisition(recipe.write(tmp_path / "a.dat"))
    lines: list[Any] = []
    for line in recipe.lines():
        junk = np.full_like(line.samples, 7)
        for flag in (writers.PHASCOR, writers.PATREF, writers.DUMMY, 1 << 1):
            lines.append(writers.Line(junk, flag, dict(line.counters)))
        lines.append(writers.side_block("VD", 96))
        line.flags |= writers.PATREF | writers.PATREF_AND_IMAGE
        lines.append(line)
    acquisition = open_acquisition(recipe.write(tmp_path / "b.dat", lines))
    np.testing.assert_array_equal(acquisition.kspace, expected.kspace)
    assert "12 phase-correction readouts were dropped" in acquisition.notes
    assert "12 parallel-imaging calibration readouts were dropped" in acquisition.notes


@pytest.mark.parametrize("version", VERSIONS)
def test_noise_lines_whiten(writers: Any, scan: Any, tmp_path: Path, version: str) -> None:
    rng = np.random.default_rng(3)
    recipe = writers.TwixScan(scan(coils=3), version, values={"sRXSPEC.alDwellTime[0]": "30000"})
    plain = open_acquisition(recipe.write(tmp_path / "a.dat"))
    mix = np.eye(3) + 0.4 * rng.normal(size=(3, 3))
    noise = [
        writers.Line(mix @ (rng.normal(size=(3, 256)) + 1j * rng.normal(size=(3, 256))), writers.NOISE)
        for _ in range(4)
    ]
    if version == "VD":
        text = recipe.text()
        path = writers.write_twix(tmp_path / "b.dat", version, [(text, noise), (text, recipe.lines())])
    else:
        path = recipe.write(tmp_path / "b.dat", [*noise, *recipe.lines()])
    acquisition = open_acquisition(path)
    assert acquisition.whitened
    used = np.linalg.lstsq(plain.kspace.reshape(3, -1).T, acquisition.kspace.reshape(3, -1).T, rcond=None)[
        0
    ].T
    samples = np.concatenate([line.samples for line in noise], axis=1)
    covariance = samples @ samples.conj().T / samples.shape[1]
    # Noise lines of 256 samples have a dwell time of 30 us, the scan's here too.
    np.testing.assert_allclose(used @ covariance @ used.conj().T, np.eye(3), atol=3e-3)


def test_partial_fourier_and_asymmetric_echo(writers: Any, scan: Any, tmp_path: Path) -> None:
    """The counters begin at the first line that was acquired; the centres tell where it belongs."""
    recipe = writers.TwixScan(scan(matrix=(16, 10), readouts=6))
    whole = open_acquisition(recipe.write(tmp_path / "a.dat"))
    lines = []
    for line in recipe.lines():
        row = line.counters["Lin"] - recipe.scan.centre_line + 8
        if row < 4:
            continue
        line.counters["Lin"], line.centre_line = row - 4, 4
        line.samples, line.centre_column = line.samples[:, 6:], 4
        lines.append(line)
    part = open_acquisition(recipe.write(tmp_path / "b.dat", lines))
    np.testing.assert_array_equal(part.mask, whole.mask & (np.arange(16) >= 4))
    for line in (cut := recipe.lines()):
        line.cut_off = (6, 0)
    cut_off = open_acquisition(recipe.write(tmp_path / "c.dat", cut))
    np.testing.assert_array_equal(part.kspace[:, part.mask], cut_off.kspace[:, part.mask])


def test_reflected_lines_are_turned(writers: Any, scan: Any, tmp_path: Path) -> None:
    recipe = writers.TwixScan(scan())
    lines = recipe.lines()
    for line in lines[::2]:
        line.samples, line.flags = line.samples[:, ::-1], line.flags | writers.REFLECT
    acquisition = open_acquisition(recipe.write(tmp_path / "a.dat", lines))
    expected = open_acquisition(recipe.write(tmp_path / "b.dat"))
    np.testing.assert_array_equal(acquisition.kspace, expected.kspace)


def test_slices(writers: Any, scan: Any, tmp_path: Path, refusal: Any) -> None:
    recipe = writers.TwixScan(scan())
    lines = []
    for line in recipe.lines():
        for number in (0, 1, 2):
            counters = {**line.counters, "Sli": number}
            lines.append(writers.Line((number + 1) * line.samples, counters=counters, centre_line=5))
    path = recipe.write(tmp_path / "a.dat", lines)
    first, last = open_acquisition(path), open_acquisition(path, slice_index=2)
    np.testing.assert_allclose(last.kspace, 3 * first.kspace, rtol=1e-5, atol=1e-6)
    assert "slice 0 of 3 was read" in first.notes
    assert "no slice 3" in refusal(path, slice_index=3)


@pytest.mark.parametrize("version", VERSIONS)
def test_cut_file_keeps_what_is_there(writers: Any, scan: Any, tmp_path: Path, version: str) -> None:
    recipe = writers.TwixScan(scan(), version)
    path = recipe.write(tmp_path / "a.dat", end=False)
    whole = open_acquisition(path)
    lines = len(writers.twix_line(version, recipe.lines()[0], 1))
    path.write_bytes(path.read_bytes().rstrip(b"\0")[: path.stat().st_size - int(2.5 * lines)])
    cut = open_acquisition(path)
    assert cut.frames == 3
    assert cut.readouts_per_frame.tolist()[:2] == [4, 4]
    assert 0 < cut.readouts_per_frame[2] < 4
    np.testing.assert_array_equal(cut.kspace[:, :2], whole.kspace[:, :2])
    assert any("aborted or cut short" in note for note in cut.notes)
    assert any("incomplete" in note for note in cut.notes)


def test_nothing_that_names_the_patient_gets_out(writers: Any, scan: Any, tmp_path: Path) -> None:
    private = ["doe", "jane", "0815", "hosp", "1980", "0229", "elsewhere"]
    nosy = writers.TwixScan(scan(), values={"tProtocolName": '""Jane Doe SAX""'})
    named = open_acquisition(nosy.write(tmp_path / "meas_DOE_hosp0815.dat"))
    assert named.name == f"scan_{named.source_sha256[:12]}"
    assert "protocol_name" not in named.details
    plain = open_acquisition(writers.TwixScan(scan()).write(tmp_path / "a.dat"))
    assert plain.details["protocol_name"] == "SAX realtime"
    for acquisition in (named, plain):
        text = json.dumps(acquisition.summary()).lower().replace(acquisition.source_sha256, "")
        text = text.replace(acquisition.source_sha256[:12], "")
        assert [word for word in private if word in text] == []


# --- radial and spiral -------------------------------------------------------------------------------


def spokes(writers: Any, scan: Any, *, count: int, samples: int, coils: int = 2) -> tuple[Any, list[Any]]:
    """A radial twix scan of random numbers with one spoke a line number, and no frame counter."""
    recipe = writers.TwixScan(scan(sampling="radial", matrix=(samples // 2, samples // 2)))
    rng = np.random.default_rng(1)
    lines = [
        writers.Line(
            rng.normal(size=(coils, samples)) + 1j * rng.normal(size=(coils, samples)),
            counters={"Lin": number},
            centre_column=samples // 2,
            ticks=number,
        )
        for number in range(count)
    ]
    return recipe, lines


def test_radial_by_yaml(writers: Any, scan: Any, tmp_path: Path) -> None:
    recipe, lines = spokes(writers, scan, count=41, samples=32)
    path = recipe.write(tmp_path / "a.dat", lines)
    yaml(path, "sampling: radial\nangle_deg: 23.62814\nspokes_per_frame: 13\nfirst_angle_deg: 10\n")
    acquisition = open_acquisition(path)
    assert acquisition.sampling == "radial"
    assert acquisition.kspace.shape == (2, 4, 13, 32)
    assert acquisition.matrix == (16, 16)
    assert acquisition.field_of_view_mm == (240.0, 240.0)
    assert acquisition.readouts_per_frame.tolist() == [13, 13, 13, 2]
    expected = radial_trajectory(3, 13, 32, angle=np.deg2rad(23.62814)).astype(np.float64)
    turn = np.deg2rad(10)
    across, along = expected[..., 0], expected[..., 1]
    np.testing.assert_allclose(
        acquisition.trajectory[:3, ..., 0], across * np.cos(turn) + along * np.sin(turn), atol=2e-6
    )
    np.testing.assert_allclose(
        acquisition.trajectory[:3, ..., 1], along * np.cos(turn) - across * np.sin(turn), atol=2e-6
    )
    flat = acquisition.kspace.reshape(2, -1, 32)[:, :41]
    np.testing.assert_array_equal(
        flat.transpose(1, 0, 2), [line.samples.astype(np.complex64) for line in lines]
    )
    # 13 spokes of 3 ms; stamps of one tick (2.5 ms) a spoke contradict that and win.
    np.testing.assert_allclose(np.diff(acquisition.frame_times_s), 13 * 2.5e-3)


def test_frames_by_counter_where_the_yaml_has_no_number(writers: Any, scan: Any, tmp_path: Path) -> None:
    recipe, lines = spokes(writers, scan, count=20, samples=16)
    for number, line in enumerate(lines):
        line.counters = {"Lin": number % 5, "Rep": number // 5}
    path = yaml(recipe.write(tmp_path / "a.dat", lines), "sampling: radial\nangle_deg: 36\n")
    acquisition = open_acquisition(path)
    assert acquisition.kspace.shape == (2, 4, 5, 16)
    angles = np.arctan2(acquisition.trajectory[..., -1, 0], acquisition.trajectory[..., -1, 1])
    np.testing.assert_allclose(
        np.mod(angles.reshape(-1), 2 * np.pi), np.deg2rad(36 * np.arange(20) % 360), atol=1e-5
    )


def test_preset_by_yaml_and_header(writers: Any, scan: Any, tmp_path: Path) -> None:
    recipe, lines = spokes(writers, scan, count=26, samples=64)
    path = yaml(recipe.write(tmp_path / "a.dat", lines), "preset: cardiac_radial\n")
    acquisition = open_acquisition(path)
    expected = preset_sampling("cardiac_radial", 2, matrix=32).trajectory
    np.testing.assert_allclose(acquisition.trajectory, expected, atol=2e-6)
    assert acquisition.field_of_view_mm == (240.0, 240.0)  # the header's, not the preset's 400
    yaml(path, "preset: cardiac_radial\nfield_of_view_mm: 300\nskip_readouts: 13\n")
    changed = open_acquisition(path)
    assert changed.field_of_view_mm == (300.0, 300.0)
    assert changed.frames == 1
    np.testing.assert_array_equal(changed.kspace[:, 0], acquisition.kspace[:, 1])


def test_spiral_by_yaml(writers: Any, scan: Any, tmp_path: Path) -> None:
    design = SpiralDesign(**DESIGN)
    arm = spiral_arm(design)
    recipe = writers.TwixScan(scan(sampling="spiral", matrix=(32, 32)))
    rng = np.random.default_rng(0)
    lines = [
        writers.Line(rng.normal(size=(2, len(arm) + 5)), counters={"Lin": number % 4, "Rep": number // 4})
        for number in range(12)
    ]
    path = recipe.write(tmp_path / "a.dat", lines)
    yaml(
        path,
        "sampling: spiral\narms_per_frame: 4\nframe_rotation_deg: 30\nfirst_sample: 1\n"
        f"field_of_view_mm: 400\ndesign: {json.dumps(DESIGN)}\n",
    )
    acquisition = open_acquisition(path)
    assert acquisition.sampling == "spiral"
    assert acquisition.kspace.shape == (2, 3, 4, len(arm))
    np.testing.assert_allclose(acquisition.kspace[:, 2, 1], lines[9].samples[:, 1 : 1 + len(arm)], rtol=1e-6)
    expected = spiral_trajectory(3, 4, np.deg2rad(30), design)
    np.testing.assert_allclose(acquisition.trajectory, expected, atol=2e-6)


@pytest.mark.parametrize("components", ["xy", "yx"])
def test_trajectory_from_a_file(writers: Any, scan: Any, tmp_path: Path, components: str) -> None:
    recipe, lines = spokes(writers, scan, count=12, samples=16)
    path = recipe.write(tmp_path / "a.dat", lines)
    rng = np.random.default_rng(2)
    points = rng.uniform(-0.5, 0.5, (6, 16, 2)) / np.sqrt(2)  # cycles/pixel, repeats once
    np.save(tmp_path / "where.npy", points if components == "yx" else points[..., ::-1])
    yaml(
        path,
        f"sampling: spiral\ntrajectory: where.npy\ncomponents: {components}\nmatrix: 8\n"
        "readouts_per_frame: 4\n",
    )
    acquisition = open_acquisition(path)
    assert acquisition.kspace.shape == (2, 3, 4, 16)
    expected = 2 * np.pi * np.concatenate([points, points]).reshape(3, 4, 16, 2)
    np.testing.assert_allclose(acquisition.trajectory, expected, rtol=1e-5, atol=1e-6)
    assert "the trajectory repeats every 6 readouts" in acquisition.notes


def test_checksum_covers_the_yaml(writers: Any, scan: Any, tmp_path: Path) -> None:
    """Another trajectory is another scan to the cache of results."""
    recipe, lines = spokes(writers, scan, count=13, samples=16)
    path = recipe.write(tmp_path / "a.dat", lines)
    sums = {
        open_acquisition(yaml(path, f"sampling: radial\nangle_deg: {angle}\n")).source_sha256
        for angle in (23.6, 23.8)
    }
    assert len(sums) == 2


@pytest.mark.parametrize("sampling", ["radial", "spiral"])
def test_without_yaml_the_error_says_what_to_write(
    writers: Any, scan: Any, tmp_path: Path, refusal: Any, sampling: str
) -> None:
    recipe, lines = spokes(writers, scan, count=13, samples=16)
    recipe.scan.sampling = sampling
    text = refusal(recipe.write(tmp_path / "meas.dat", lines))
    assert f"the protocol says '{sampling}'" in text
    assert "'meas.yaml'" in text
    assert "angle_deg: 23.6281" in text
    assert "cardiac_radial" in text


def test_spokes_that_call_themselves_cartesian_are_noticed(
    writers: Any, scan: Any, tmp_path: Path, refusal: Any
) -> None:
    recipe, lines = spokes(writers, scan, count=13, samples=32)
    recipe.scan.sampling = "cartesian"
    for line in lines:
        line.centre_line = 6
    path = recipe.write(tmp_path / "a.dat", lines)
    assert "the lines look like spokes" in refusal(path)
    acquisition = open_acquisition(yaml(path, "sampling: cartesian\n"))
    assert acquisition.sampling == "cartesian"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "states nothing"),
        ("- 1\n- 2", "states nothing"),
        ("a: [", "not valid YAML (line 1)"),
        ("sampling: zigzag", "'sampling' is 'zigzag', but it must be one of cartesian, radial, spiral"),
        ("samplin: radial", "'samplin' is no known field; perhaps it means 'sampling'"),
        ("1: 2", "'1' is no known field; known are preset"),
        ("angle_deg: 23", "'sampling' is missing"),
        ("sampling: radial", "'angle_deg' is missing"),
        ("sampling: radial\nangle_deg: 23.6281 deg", "'angle_deg' is '23.6281 deg', but it must be an angle"),
        ("sampling: radial\nangle_deg: .nan", "'angle_deg' is 'nan'"),
        ("sampling: radial\nangle_deg: 1\narms_per_frame: 3", "'arms_per_frame' is for spiral scans"),
        ("sampling: radial\nangle_deg: 1\nspokes_per_frame: 0", "a whole number from 1 to"),
        (
            "sampling: radial\nangle_deg: 1\nspokes_per_frame: 5\nreadouts_per_frame: 6",
            "contradict each other",
        ),
        ("sampling: radial\nangle_deg: 1\nmatrix: [1, 2, 3]", "a list of two of them (y, x)"),
        ("sampling: radial\nangle_deg: 1\nmatrix: 1000000", "whole number from 1 to 4096"),
        ("sampling: radial\nangle_deg: 1\nmatrix: 8\nreadout_oversampling: 1", "reach beyond a matrix of 8"),
        ("sampling: radial\nangle_deg: 1\nskip_readouts: 99", "no imaging line is left"),
        ("sampling: radial\nangle_deg: 1\nfirst_sample: 16", "beyond the readouts' end"),
        ("sampling: radial\nangle_deg: 1\nfield_of_view_mm: [100, 200]", "need square ones"),
        (
            "sampling: spiral\nmatrix: 8\nfield_of_view_mm: 90",
            "'arms_per_frame' or 'arm_angle_deg' is missing",
        ),
        ("sampling: spiral\narms_per_frame: 3\ndesign: {matrix: 0}", "'design' is a group of fields"),
        ("sampling: spiral\narms_per_frame: 3\ndesign: {colour: 1}", "fields out of matrix"),
        ("sampling: spiral\narms_per_frame: 3\ndesign: {matrix: 32}", "readouts have only 16"),
        ("preset: liver", "'preset' is 'liver', but it must be one of cardiac_cartesian"),
        ("preset: cardiac_radial\nsampling: spiral", "the preset cardiac_radial is radial"),
        ("trajectory: ../x.npy\nsampling: radial", "in the same folder"),
        ("trajectory: x.npy\nsampling: radial", "there is no such file"),
        ("trajectory: short.npy\nsampling: radial", "has 15 samples a readout, but the raw file has 16"),
        ("trajectory: odd.npy\nsampling: radial", "has 5 readouts, but the raw file has 13"),
        ("trajectory: flat.npy\nsampling: radial", "expected (readout, sample, 2)"),
        ("trajectory: text.npy\nsampling: radial", "not a readable .npy file"),
        ("trajectory: huge.npy\nsampling: radial", "not a readable .npy file"),
    ],
)
def test_wrong_yaml(writers: Any, scan: Any, tmp_path: Path, refusal: Any, text: str, expected: str) -> None:
    np.save(tmp_path / "short.npy", np.full((13, 15, 2), 0.1))
    np.save(tmp_path / "odd.npy", np.full((5, 16, 2), 0.1))
    np.save(tmp_path / "flat.npy", np.zeros((13, 16)))
    (tmp_path / "text.npy").write_text("numbers")
    whole = (tmp_path / "short.npy").read_bytes()
    (tmp_path / "huge.npy").write_bytes(whole.replace(b"(13, 15, 2), }      ", b"(99999999, 15, 2), }"))
    recipe, lines = spokes(writers, scan, count=13, samples=16)
    path = yaml(recipe.write(tmp_path / "a.dat", lines), text)
    assert expected in refusal(path)


def test_two_descriptions(writers: Any, scan: Any, tmp_path: Path, refusal: Any) -> None:
    recipe, lines = spokes(writers, scan, count=13, samples=16)
    path = yaml(recipe.write(tmp_path / "a.dat", lines), "sampling: radial\nangle_deg: 5\n")
    (tmp_path / "a.trajectory.yaml").write_text("sampling: radial\nangle_deg: 6\n")
    assert "'a.yaml', 'a.trajectory.yaml'" in refusal(path)


# --- what is wrong with a file -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sKSpace.lBaseResolution", "does not state the base resolution"),
        ("sSliceArray.asSlice[0].dPhaseFOV", "field of view along phase encoding"),
    ],
)
def test_missing_geometry(
    writers: Any, scan: Any, tmp_path: Path, refusal: Any, name: str, expected: str
) -> None:
    path = writers.TwixScan(scan(), values={name: None}).write(tmp_path / "a.dat")
    assert expected in refusal(path)
    yaml(path, "matrix: [12, 10]\nfield_of_view_mm: [240, 200]\n")
    assert open_acquisition(path).matrix == (12, 10)


def test_damaged_files(writers: Any, scan: Any, tmp_path: Path, refusal: Any) -> None:
    recipe = writers.TwixScan(scan())
    path = recipe.write(tmp_path / "a.dat")
    whole = path.read_bytes()
    path.write_bytes(whole[:5000])
    assert "truncated" in refusal(path) or "no raw data" in refusal(path)
    path.write_bytes(whole[:10400])
    assert "truncated or damaged" in refusal(path)
    text = len(recipe.text())
    path.write_bytes(whole[: 10240 + text + 50])
    assert "no imaging line" in refusal(path)
    # A length of the measurement beyond the file, which made turbotwix read outside its memory.
    path.write_bytes(whole[:24] + struct.pack("<Q", 1 << 40) + whole[32:])
    assert open_acquisition(path).frames == 3
    nan = recipe.lines()
    nan[5].samples[0, 3] = np.nan
    assert "line 6 holds NaN" in refusal(recipe.write(path, nan))
    far = recipe.lines()
    far[3].counters["Lin"] = 60000
    assert "line 60000, outside" in refusal(recipe.write(path, far))
    deep = recipe.lines()
    deep[2].counters["Par"] = 1
    assert "3-dimensional" in refusal(recipe.write(path, deep))
    silent = recipe.lines()
    for line in silent:
        line.samples = 0 * line.samples
    assert "all samples are zero" in refusal(recipe.write(path, silent))


def test_an_index_in_the_protocol_asks_for_no_memory(writers: Any, scan: Any, tmp_path: Path) -> None:
    values = {"sSliceArray.asSlice[999999999].dThickness": "4.0", "a" * 5000: "1", "alTR[0]": "0x0BB8"}
    acquisition = open_acquisition(writers.TwixScan(scan(), values=values).write(tmp_path / "a.dat"))
    assert acquisition.details["tr_ms"] == 3.0
