"""Reading ISMRMRD: against a brute-force DFT and the `ismrmrd` package, and every kind of bad file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import ismrmrd
import numpy as np
import pytest

from recon_backend.errors import Cancelled, FormatError
from recon_backend.formats import open_acquisition


def message(path: Path, **arguments: int) -> str:
    """The one sentence that reading the file ends with."""
    with pytest.raises(FormatError) as caught:
        open_acquisition(path, **arguments)
    text = str(caught.value)
    assert text.startswith(f"{path.name}: ")
    assert text.endswith(".")
    assert "\n" not in text
    return text


def test_cartesian_lines_are_the_dft_of_the_image_without_oversampling(scan: Any, tmp_path: Path) -> None:
    recipe = scan(dummies=3)
    path = recipe.write(tmp_path / "sax.h5")
    acquisition = open_acquisition(path)
    assert acquisition.kspace.shape == (2, 3, 12, 10)
    expected = np.zeros(acquisition.kspace.shape, np.complex128)
    mask = np.zeros((3, 12), bool)
    images = recipe.coil_images()
    along_y = np.exp(-2j * np.pi * np.outer(np.arange(12) - 6, np.arange(12) - 6) / 12)
    along_x = np.exp(-2j * np.pi * np.outer(np.arange(10) - 5, np.arange(10) - 5) / 10)
    for frame in range(3):
        mask[frame, recipe.rows(frame)] = True
        full = along_y @ images[:, frame] @ along_x / np.sqrt(120)
        expected[:, frame, mask[frame]] = full[:, mask[frame]]
    np.testing.assert_array_equal(acquisition.mask, mask)
    np.testing.assert_allclose(acquisition.kspace, expected, atol=2e-6)
    assert acquisition.matrix == (12, 10)
    assert acquisition.field_of_view_mm == (240.0, 200.0)
    assert acquisition.pixel_spacing_mm == (20.0, 20.0)
    np.testing.assert_allclose(acquisition.frame_times_s, [0, 0.012, 0.024], rtol=1e-12)
    assert acquisition.name == "sax"
    assert acquisition.source_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not acquisition.whitened
    assert "3 dummy readouts were dropped" in acquisition.notes


@pytest.mark.parametrize("sampling", ["radial", "spiral"])
def test_non_cartesian_matches_the_ismrmrd_package(scan: Any, tmp_path: Path, sampling: str) -> None:
    path = scan(sampling=sampling, dummies=2).write(tmp_path / "scan.h5")
    acquisition = open_acquisition(path)
    with ismrmrd.Dataset(str(path), "dataset", mode="r") as dataset:
        readouts = [dataset.read_acquisition(i) for i in range(dataset.number_of_acquisitions())]
    readouts = [readout for readout in readouts if not readout.isFlagSet(ismrmrd.ACQ_IS_DUMMYSCAN_DATA)]
    assert acquisition.sampling == sampling
    assert acquisition.kspace.shape == (2, 3, 4, 8)
    for position, readout in enumerate(readouts):
        frame, slot = divmod(position, 4)
        assert frame == readout.idx.repetition
        np.testing.assert_array_equal(acquisition.kspace[:, frame, slot], readout.data)
        np.testing.assert_allclose(
            acquisition.trajectory[frame, slot], 2 * np.pi * readout.traj[:, ::-1], rtol=1e-6, atol=1e-7
        )
    assert acquisition.readout_mask.all()
    assert acquisition.mask is None


@pytest.mark.parametrize(
    ("old", "new", "width", "width_mm"),
    [
        ("<x>{encoded_x_mm}</x>", "<x>200</x>", 10, 200.0),  # 2x oversampled, but stated without
        (
            "<x>{x}</x>",
            "<x>20</x>",
            20,
            200.0,
        ),  # stated 2x oversampled, but pixels would be 20 x 10 mm by lengths
        ("<x>{encoded_x_mm}</x>", "<x>0</x>", 10, 200.0),
        ("<x>200</x>", "<x>0</x>", 10, 200.0),
        ("<x>200</x>", "<x>320</x>", 16, 320.0),
    ],
)
def test_careless_headers_of_readout_oversampling(
    scan: Any, tmp_path: Path, old: str, new: str, width: int, width_mm: float
) -> None:
    recipe = scan()
    assert old in recipe.header
    recipe.header = recipe.header.replace(old, new)
    if new == "<x>20</x>":
        recipe.header = recipe.header.replace("<y>240</y>", "<y>120</y>")
    acquisition = open_acquisition(recipe.write(tmp_path / "a.h5"))
    assert acquisition.matrix == (12, width)
    assert acquisition.field_of_view_mm[1] == pytest.approx(width_mm)


def test_goldenangle_is_radial(scan: Any, tmp_path: Path) -> None:
    recipe = scan(sampling="radial")
    recipe.header = recipe.header.replace("{trajectory}", "goldenangle")
    assert open_acquisition(recipe.write(tmp_path / "a.h5")).sampling == "radial"


@pytest.mark.parametrize(
    ("unit", "name"),
    [(1.0, "cycles/pixel"), (2.0, "Nyquist"), (2 * np.pi, "rad/pixel"), (12.0, "cycles/FOV")],
)
def test_trajectory_unit_is_detected_and_noted(scan: Any, tmp_path: Path, unit: float, name: str) -> None:
    recipe = scan(sampling="radial", matrix=(12, 12), unit=unit)
    acquisition = open_acquisition(recipe.write(tmp_path / "a.h5"))
    expected = 2 * np.pi * recipe.trajectory(1)[..., ::-1]
    np.testing.assert_allclose(acquisition.trajectory[1], expected, rtol=1e-5, atol=1e-6)
    assert any(name in note for note in acquisition.notes)


def test_prewhitening_makes_the_noise_white(scan: Any, tmp_path: Path) -> None:
    recipe = scan(coils=3, noise_samples=400)
    acquisition = open_acquisition(recipe.write(tmp_path / "a.h5"))
    assert acquisition.whitened
    noise = next(recipe.acquisitions()).data.astype(np.complex128)
    covariance = noise @ noise.conj().T / 400
    plain = open_acquisition(scan(coils=3).write(tmp_path / "b.h5"))
    mix = np.linalg.lstsq(plain.kspace.reshape(3, -1).T, acquisition.kspace.reshape(3, -1).T, rcond=None)[0].T
    np.testing.assert_allclose(mix @ covariance @ mix.conj().T, np.eye(3), atol=1e-4)


def test_noise_bandwidth_counts(scan: Any, tmp_path: Path) -> None:
    def halve_dwell(acquisition: ismrmrd.Acquisition) -> None:
        if not acquisition.isFlagSet(ismrmrd.ACQ_IS_NOISE_MEASUREMENT):
            acquisition.sample_time_us = 1.0

    same = open_acquisition(scan(noise_samples=99).write(tmp_path / "a.h5"))
    faster = open_acquisition(scan(noise_samples=99, edit=halve_dwell).write(tmp_path / "b.h5"))
    # Twice the bandwidth has twice the noise power: unit variance asks for 1/sqrt(2) of the amplitude.
    np.testing.assert_allclose(faster.kspace, same.kspace / np.sqrt(2), rtol=1e-4, atol=1e-6)


def test_unusable_noise_scan_is_noted_not_fatal(scan: Any, tmp_path: Path) -> None:
    def silence_a_coil(acquisition: ismrmrd.Acquisition) -> None:
        if acquisition.isFlagSet(ismrmrd.ACQ_IS_NOISE_MEASUREMENT):
            acquisition.data[1] = 0

    acquisition = open_acquisition(scan(noise_samples=99, edit=silence_a_coil).write(tmp_path / "a.h5"))
    assert not acquisition.whitened
    assert any("silent" in note for note in acquisition.notes)


def test_frames_by_phase(scan: Any, tmp_path: Path) -> None:
    def to_phase(acquisition: ismrmrd.Acquisition) -> None:
        acquisition.idx.phase, acquisition.idx.repetition = acquisition.idx.repetition, 0

    expected = open_acquisition(scan().write(tmp_path / "a.h5"))
    acquisition = open_acquisition(scan(edit=to_phase).write(tmp_path / "b.h5"))
    np.testing.assert_array_equal(acquisition.kspace, expected.kspace)
    assert "frames are counted by phase" in acquisition.notes


def test_frames_split_where_lines_repeat(scan: Any, tmp_path: Path) -> None:
    def forget_frame(acquisition: ismrmrd.Acquisition) -> None:
        acquisition.idx.repetition = 0

    expected = open_acquisition(scan(sampling="radial").write(tmp_path / "a.h5"))
    acquisition = open_acquisition(scan(sampling="radial", edit=forget_frame).write(tmp_path / "b.h5"))
    np.testing.assert_array_equal(acquisition.kspace, expected.kspace)


def test_frames_split_at_flags(scan: Any, tmp_path: Path) -> None:
    def flag_instead(acquisition: ismrmrd.Acquisition) -> None:
        acquisition.idx.repetition = 0
        if acquisition.idx.kspace_encode_step_1 == 3:
            acquisition.setFlag(ismrmrd.ACQ_LAST_IN_REPETITION)
        acquisition.idx.kspace_encode_step_1 = acquisition.scan_counter  # never repeats

    acquisition = open_acquisition(scan(sampling="radial", edit=flag_instead).write(tmp_path / "a.h5"))
    assert acquisition.kspace.shape[1:3] == (3, 4)


def test_averages_of_a_line_are_averaged(scan: Any, tmp_path: Path) -> None:
    written: list[ismrmrd.Acquisition] = []

    class Doubled(scan):
        def acquisitions(self) -> Iterator[ismrmrd.Acquisition]:
            for acquisition in super().acquisitions():
                yield acquisition
                again = ismrmrd.Acquisition.from_array(3 * acquisition.data)
                again.idx.repetition = acquisition.idx.repetition
                again.idx.kspace_encode_step_1 = acquisition.idx.kspace_encode_step_1
                again.idx.average = 1
                again.acquisition_time_stamp = acquisition.acquisition_time_stamp
                written.append(again)
                yield again

    plain = open_acquisition(scan().write(tmp_path / "a.h5"))
    averaged = open_acquisition(Doubled().write(tmp_path / "b.h5"))
    np.testing.assert_allclose(averaged.kspace, 2 * plain.kspace, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(averaged.mask, plain.mask)
    assert len(written) == 12


def test_incomplete_last_frame_is_kept(scan: Any, tmp_path: Path) -> None:
    def cut(acquisition: ismrmrd.Acquisition) -> bool:
        return acquisition.scan_counter < 10

    cartesian = open_acquisition(scan(edit=cut).write(tmp_path / "a.h5"))
    assert cartesian.readouts_per_frame.tolist() == [4, 4, 2]
    radial = open_acquisition(scan(sampling="radial", edit=cut).write(tmp_path / "b.h5"))
    assert radial.readout_mask.tolist() == [[True] * 4, [True] * 4, [True, True, False, False]]
    assert not radial.kspace[:, 2, 2:].any()
    for acquisition in (cartesian, radial):
        assert any("incomplete" in note for note in acquisition.notes)
        np.testing.assert_allclose(acquisition.frame_times_s, [0, 0.012, 0.024])


def test_backward_lines_are_turned(scan: Any, tmp_path: Path) -> None:
    def backwards(acquisition: ismrmrd.Acquisition) -> None:
        if acquisition.scan_counter % 2:
            acquisition.data[:] = acquisition.data[:, ::-1].copy()
            acquisition.setFlag(ismrmrd.ACQ_IS_REVERSE)

    expected = open_acquisition(scan().write(tmp_path / "a.h5"))
    acquisition = open_acquisition(scan(edit=backwards).write(tmp_path / "b.h5"))
    np.testing.assert_array_equal(acquisition.kspace, expected.kspace)


def test_partial_echo_is_placed_by_its_centre(scan: Any, tmp_path: Path) -> None:
    class Partial(scan):
        def acquisitions(self) -> Iterator[ismrmrd.Acquisition]:
            for full in super().acquisitions():
                part = ismrmrd.Acquisition.from_array(full.data[:, 4:].copy())
                part.idx.repetition = full.idx.repetition
                part.idx.kspace_encode_step_1 = full.idx.kspace_encode_step_1
                part.center_sample = full.center_sample - 4
                yield part

    def discard(acquisition: ismrmrd.Acquisition) -> None:
        acquisition.discard_pre = 4

    expected = open_acquisition(scan(edit=discard).write(tmp_path / "a.h5"))
    acquisition = open_acquisition(Partial().write(tmp_path / "b.h5"))
    np.testing.assert_array_equal(acquisition.kspace, expected.kspace)


def test_calibration_only_readouts_are_dropped(scan: Any, tmp_path: Path) -> None:
    def calibrate(acquisition: ismrmrd.Acquisition) -> None:
        if acquisition.scan_counter == 1:
            acquisition.setFlag(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION)
        if acquisition.scan_counter == 2:
            acquisition.setFlag(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING)

    acquisition = open_acquisition(scan(edit=calibrate).write(tmp_path / "a.h5"))
    assert acquisition.readouts_per_frame.tolist() == [3, 4, 4]


def test_one_slice_of_several(scan: Any, tmp_path: Path) -> None:
    def alternate(acquisition: ismrmrd.Acquisition) -> None:
        acquisition.idx.slice = acquisition.scan_counter % 2

    path = scan(edit=alternate).write(tmp_path / "a.h5")
    lowest, other = open_acquisition(path), open_acquisition(path, slice_index=1)
    assert lowest.readouts_per_frame.tolist() == other.readouts_per_frame.tolist() == [2, 2, 2]
    assert not (lowest.mask & other.mask).any()
    assert "slice 0 of 2 was read" in lowest.notes
    assert "no slice 2" in message(path, slice_index=2)


def test_group_of_any_name_and_depth(scan: Any, tmp_path: Path) -> None:
    path = scan().write(tmp_path / "a.h5")
    expected = open_acquisition(path).kspace
    with h5py.File(path, "r+") as file:
        file.require_group("deep")
        file.move("dataset", "deep/measurement_7")
    np.testing.assert_array_equal(open_acquisition(path).kspace, expected)


def test_file_with_a_user_block(scan: Any, tmp_path: Path) -> None:
    plain = scan().write(tmp_path / "a.h5")
    path = tmp_path / "b.h5"
    path.write_bytes(b"\0" * 512 + plain.read_bytes())
    np.testing.assert_array_equal(open_acquisition(path).kspace, open_acquisition(plain).kspace)


def test_progress_rises_to_one_and_may_cancel(scan: Any, tmp_path: Path) -> None:
    path = scan().write(tmp_path / "a.h5")
    fractions: list[float] = []
    open_acquisition(path, progress=lambda _phase, fraction: fractions.append(fraction))
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert fractions[-1] == 1

    def stop(_phase: str, fraction: float) -> None:
        if fraction > 0.1:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        open_acquisition(path, progress=stop)


def test_nothing_that_names_the_patient_or_the_place_gets_out(scan: Any, tmp_path: Path) -> None:
    private = ["doe", "jane", "0815", "hosp", "1980", "0229", "elsewhere"]
    plain = open_acquisition(scan(noise_samples=99).write(tmp_path / "scan.h5"))
    assert plain.details["protocol_name"] == "SAX realtime"

    nosy = scan(noise_samples=99)
    nosy.header = nosy.header.replace("SAX realtime", "Jane Doe, 29.02.1980").replace(
        "SIMULATED", "Saint Elsewhere MR"
    )
    named = open_acquisition(nosy.write(tmp_path / "DOE-jane_hosp0815.h5"))
    assert "protocol_name" not in named.details
    assert "vendor" not in named.details
    assert named.name == f"scan_{named.source_sha256[:12]}"
    for acquisition in (plain, named):
        text = json.dumps(acquisition.summary()).lower().replace(acquisition.source_sha256, "")
        text = text.replace(acquisition.source_sha256[:12], "") + repr(acquisition.details).lower()
        assert [word for word in private if word in text] == []


def test_harmless_words_in_private_fields_do_not_hide_the_protocol(scan: Any, tmp_path: Path) -> None:
    recipe = scan()
    recipe.header = recipe.header.replace("DOE^JANE", "Phantom").replace("SAX realtime", "phantom realtime")
    assert (
        open_acquisition(recipe.write(tmp_path / "phantom.h5")).details["protocol_name"] == "phantom realtime"
    )


# --- what is wrong with a file -----------------------------------------------------------------------


def test_no_such_file_folder_empty_and_other_files(tmp_path: Path) -> None:
    assert "no such file" in message(tmp_path / "missing.h5")
    assert "folder" in message(tmp_path)
    (tmp_path / "empty.h5").touch()
    assert "empty" in message(tmp_path / "empty.h5")
    (tmp_path / "letter.h5").write_text("Dear all")
    assert "not ISMRMRD/OCMR, fastMRI or CMRxRecon" in message(tmp_path / "letter.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["xml"] = "a"
    assert "'xml' and 'data'" in message(tmp_path / "other.h5")
    with h5py.File(tmp_path / "table.h5", "w") as file:
        file["g/xml"], file["g/data"] = [b"<ismrmrdHeader/>"], np.zeros(3)
    assert "does not hold ISMRMRD acquisitions" in message(tmp_path / "table.h5")


def test_every_truncation_is_a_format_error(scan: Any, tmp_path: Path) -> None:
    whole = scan(frames=10).write(tmp_path / "whole.h5").read_bytes()
    path = tmp_path / "cut.h5"
    for part in np.linspace(0.01, 0.99, 25):
        path.write_bytes(whole[: int(part * len(whole))])
        assert "truncated" in message(path)


@pytest.mark.parametrize("sampling", ["cartesian", "radial"])
def test_any_readout_header_is_read_or_refused_in_one_sentence(
    scan: Any, tmp_path: Path, sampling: str
) -> None:
    path = scan(sampling=sampling, noise_samples=50, dummies=1).write(tmp_path / "a.h5")
    with h5py.File(path, "r") as file:
        good = file["dataset/data"][:]
    rng = np.random.default_rng(5)
    fields = [("head", name) for name in good["head"].dtype.names if name != "idx"]
    fields += [("idx", name) for name in good["head"]["idx"].dtype.names]
    outcomes = set()
    for part, name in fields:
        for value in (0, 3, 65535):
            elements = good.copy()
            target = elements["head"] if part == "head" else elements["head"]["idx"]
            chosen = rng.integers(0, good.size, rng.integers(1, 4))
            target[name][chosen] = value
            with h5py.File(path, "r+") as file:
                file["dataset/data"][:] = elements
            try:
                acquisition = open_acquisition(path)
            except FormatError as error:
                outcomes.add("refused")
                assert str(error).startswith("a.h5: ")
                assert "\n" not in str(error)
            else:
                outcomes.add("read")
                assert np.isfinite(acquisition.kspace).all()
    assert outcomes == {"read", "refused"}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_no_numbers(scan: Any, tmp_path: Path, value: float) -> None:
    def spoil(acquisition: ismrmrd.Acquisition) -> None:
        if acquisition.scan_counter == 7:
            acquisition.data[1, 3] = value

    assert "readout 7 holds NaN or infinite samples" in message(scan(edit=spoil).write(tmp_path / "a.h5"))


def test_no_signal(scan: Any, tmp_path: Path) -> None:
    def mute(acquisition: ismrmrd.Acquisition) -> None:
        acquisition.data[:] = 0

    assert "all samples are zero" in message(scan(edit=mute).write(tmp_path / "a.h5"))


@pytest.mark.parametrize("sampling", ["cartesian", "radial"])
def test_frame_without_lines(scan: Any, tmp_path: Path, sampling: str) -> None:
    def skip(acquisition: ismrmrd.Acquisition) -> bool:
        return acquisition.idx.repetition != 1

    assert "frame 1 has no readout" in message(scan(sampling=sampling, edit=skip).write(tmp_path / "a.h5"))


def test_frame_counters_far_apart_do_not_fill_the_memory(scan: Any, tmp_path: Path) -> None:
    def jump(acquisition: ismrmrd.Acquisition) -> None:
        acquisition.idx.repetition = acquisition.idx.phase = 65535 * (acquisition.scan_counter % 2)

    assert "frame 1 (and" in message(scan(edit=jump).write(tmp_path / "a.h5"))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("{trajectory}", "zigzag", "the trajectory in the header is 'zigzag'; expected one of cartesian"),
        ("<trajectory>{trajectory}</trajectory>", "", "trajectory in the header is missing"),
        ("<y>{y}</y><z>1", "<y>0</y><z>1", "encodedSpace matrix is 0 x 20"),
        ("<y>{y}</y><z>1", "<y>99999</y><z>1", "encodedSpace matrix is 99999 x 20"),
        ("<x>{encoded_x}</x>", "<x>15</x>", "have 20 samples, but the header's encoded matrix is 15"),
        ("<y>{y}</y><z>1", "<y>6</y><z>1", "outside the encoded matrix of 6 lines"),
        ("</encoding>", "", "damaged"),
        ("ismrmrdHeader", "anotherHeader", "not an ISMRMRD header"),
        ('<?xml version="1.0"?>', '<!DOCTYPE a [<!ENTITY b "c">]>', "document type"),
        ("encoding>", "coding>", "the header describes 0"),
    ],
)
def test_wrong_header(scan: Any, tmp_path: Path, old: str, new: str, expected: str) -> None:
    recipe = scan()
    assert old in recipe.header
    recipe.header = recipe.header.replace(old, new)
    assert expected in message(recipe.write(tmp_path / "a.h5"))


def test_radial_without_trajectory(scan: Any, tmp_path: Path) -> None:
    recipe = scan()
    recipe.header = recipe.header.replace("{trajectory}", "radial")
    assert "carry no trajectory" in message(recipe.write(tmp_path / "a.h5"))


@pytest.mark.parametrize(
    ("unit", "expected"),
    [(0.0, "zero everywhere"), (1000.0, "fits no known unit"), (np.nan, "NaN or infinite trajectory values")],
)
def test_wrong_trajectory(scan: Any, tmp_path: Path, unit: float, expected: str) -> None:
    assert expected in message(scan(sampling="radial", unit=unit).write(tmp_path / "a.h5"))


def test_three_dimensional_scan(scan: Any, tmp_path: Path) -> None:
    def partition(acquisition: ismrmrd.Acquisition) -> None:
        acquisition.idx.kspace_encode_step_2 = acquisition.scan_counter % 2

    assert "3-dimensional" in message(scan(edit=partition).write(tmp_path / "a.h5"))


def test_readouts_of_different_size(scan: Any, tmp_path: Path) -> None:
    class Ragged(scan):
        def acquisitions(self) -> Iterator[ismrmrd.Acquisition]:
            for count, acquisition in enumerate(super().acquisitions()):
                yield (
                    acquisition
                    if count != 5
                    else ismrmrd.Acquisition.from_array(acquisition.data[:, :9].copy())
                )

    assert "readout 5 has 9 samples, but readout 0 has 20" in message(Ragged().write(tmp_path / "a.h5"))


def test_header_of_a_readout_that_contradicts_its_data(scan: Any, tmp_path: Path) -> None:
    path = scan().write(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        element = file["dataset/data"][4]
        element["data"] = element["data"][:-2]
        file["dataset/data"][4] = element
    assert "readout 4 holds 78 values of 'data', but its header announces 80" in message(path)


def test_sizes_beyond_the_file_are_refused_before_memory_is_asked_for(scan: Any, tmp_path: Path) -> None:
    path = scan().write(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        elements = file["dataset/data"][:]
        elements["head"]["active_channels"] = 60000
        elements["head"]["number_of_samples"] = 60000
        file["dataset/data"][:] = elements
    assert "more than the file holds" in message(path)


def test_only_dummies(scan: Any, tmp_path: Path) -> None:
    def only_dummies(acquisition: ismrmrd.Acquisition) -> None:
        acquisition.setFlag(ismrmrd.ACQ_IS_DUMMYSCAN_DATA)

    assert "imaging readout" in message(scan(edit=only_dummies).write(tmp_path / "a.h5"))
