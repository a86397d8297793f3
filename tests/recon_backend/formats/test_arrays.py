"""k-space arrays in HDF5: fastMRI, CMRxRecon, plain; and what HDF5 files may do to their reader."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy import fft

from recon_backend.formats import hdf5, open_acquisition


def kspace(*shape: int) -> np.ndarray:
    """Random complex64."""
    rng = np.random.default_rng(4)
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)


def matlab(array: np.ndarray) -> np.ndarray:
    """The pairs (real, imag) of MATLAB 7.3; h5py sees MATLAB's axes reversed."""
    pairs = np.empty(array.shape, [("real", "<f4"), ("imag", "<f4")])
    pairs["real"], pairs["imag"] = array.real, array.imag
    return pairs


def write(path: Path, **datasets: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, value in datasets.items():
            file[name] = value
    return path


def fastmri_header(scan: Any, **replaced: str) -> str:
    text = scan.header.format(
        y=8, x=10, encoded_x=20, encoded_x_mm=400, last_line=7, centre_line=4, trajectory="cartesian"
    )
    for old, new in replaced.items():
        text = text.replace(f"<{old}>", f"<{old}>{new}")
    return text


def test_fastmri(scan: Any, tmp_path: Path, refusal: Any) -> None:
    """(slice, coil, readout, phase), the readout two-fold oversampled."""
    array = kspace(3, 2, 20, 8)
    array[..., [1, 6]] = 0
    path = write(tmp_path / "a.h5", kspace=array, ismrmrd_header=fastmri_header(scan()))
    acquisition = open_acquisition(path, slice_index=2)
    assert acquisition.matrix == (8, 10)
    assert acquisition.field_of_view_mm == (240.0, 200.0)
    assert acquisition.details["field_strength_t"] == 1.5
    assert acquisition.mask.tolist() == [[True, False, True, True, True, True, False, True]]
    whole = fft.fftshift(fft.ifft(fft.ifftshift(array[2], axes=1), axis=1, norm="ortho"), axes=1)[:, 5:15]
    part = fft.fftshift(
        fft.ifft(fft.ifftshift(acquisition.kspace[:, 0], axes=2), axis=2, norm="ortho"), axes=2
    )
    np.testing.assert_allclose(part, whole.transpose(0, 2, 1), atol=1e-6)
    assert "slices 0 to 2" in refusal(path, slice_index=3)
    assert "jane" not in repr(acquisition.summary()).lower()


def test_dynamic_fastmri(scan: Any, tmp_path: Path) -> None:
    """The header says that the first axis counts repetitions."""
    limits = "<repetition><minimum>0</minimum><maximum>4</maximum><center>0</center></repetition>"
    path = write(
        tmp_path / "a.h5",
        kspace=kspace(5, 2, 20, 8),
        ismrmrd_header=fastmri_header(scan(), encodingLimits=limits),
    )
    assert open_acquisition(path).frames == 5


@pytest.mark.parametrize("name", ["kspace", "kspace_full", "kspace_sub04"])
def test_cmrxrecon(tmp_path: Path, name: str) -> None:
    """(time, slice, coil, phase, readout) as MATLAB's (nx, ny, coil, slice, time) comes out of HDF5."""
    array = kspace(4, 3, 2, 9, 7)
    array[:, :, :, ::3] = 0
    with h5py.File(tmp_path / "a.mat", "w", userblock_size=512) as file:
        file.create_dataset(name, data=matlab(array), chunks=(1, 1, 1, 9, 7), compression="gzip")
    acquisition = open_acquisition(tmp_path / "a.mat", slice_index=1)
    np.testing.assert_array_equal(acquisition.kspace, array[:, 1].transpose(1, 0, 2, 3))
    assert acquisition.mask.tolist() == [[False, True, True] * 3] * 4
    single = write(tmp_path / "b.mat", **{name: matlab(array[0])})
    np.testing.assert_array_equal(open_acquisition(single, slice_index=2).kspace[:, 0], array[0, 2])


def test_one_compressed_chunk_for_all(tmp_path: Path) -> None:
    """It must be unpacked as a whole, whatever the reading process may usually take."""
    array = np.zeros((1, 10, 5, 400, 400), np.complex64)
    array[..., ::40, :] = kspace(10, 5, 10, 400)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("kspace", data=array, chunks=array.shape, compression=1)
    acquisition = open_acquisition(tmp_path / "a.h5")
    assert np.flatnonzero(acquisition.mask.all(axis=0)).tolist() == list(range(0, 400, 40))
    np.testing.assert_array_equal(acquisition.kspace[:, :, 40], array[0, :, :, 40].transpose(1, 0, 2))


def test_plain_array(tmp_path: Path) -> None:
    """blindcine's own order (slice, frame, coil, phase, readout)."""
    array = kspace(2, 5, 3, 6, 8)
    acquisition = open_acquisition(write(tmp_path / "a.h5", kspace=array), slice_index=1)
    np.testing.assert_array_equal(acquisition.kspace, array[1].transpose(1, 0, 2, 3))
    assert acquisition.matrix == (6, 8)


def test_empty_lines_tell_the_phase_axis(tmp_path: Path) -> None:
    array = kspace(1, 5, 3, 6, 8)
    array[..., [0, 3]] = 0
    acquisition = open_acquisition(write(tmp_path / "a.h5", kspace=array))
    np.testing.assert_array_equal(acquisition.kspace, array[0].transpose(1, 0, 3, 2))
    assert acquisition.readouts_per_frame.tolist() == [6] * 5


def test_axes_by_yaml(tmp_path: Path, refusal: Any) -> None:
    array = kspace(6, 8, 4, 3)
    path = write(tmp_path / "a.h5", kspace=array)
    yaml = path.with_suffix(".yaml")
    yaml.write_text("axes: [y, x, frame, coil]\nframe_time_s: 0.04\nfield_of_view_mm: [60, 80]\n")
    acquisition = open_acquisition(path)
    np.testing.assert_array_equal(acquisition.kspace, array.transpose(3, 2, 0, 1))
    assert acquisition.frame_time_s == pytest.approx(0.04)
    yaml.write_text("axes: [y, x, coil]\n")
    assert "names 3 axes, but 'kspace' has 4" in refusal(path)
    yaml.write_text("axes: [y, x, coil, coil]\n")
    assert "different words" in refusal(path)
    yaml.write_text("sampling: radial\nangle_deg: 3\n")
    assert "store radial and spiral scans as ISMRMRD" in refusal(path)
    yaml.write_text("axes: [y, x, frame, coil]\nmatrix: [6, 4]\n")
    assert "'readout_oversampling'" in refusal(path)
    flat = write(tmp_path / "b.h5", kspace=kspace(6, 8))
    assert "'b.yaml', such as 'axes:" in refusal(flat)


def test_other_hdf5_files(scan: Any, tmp_path: Path, refusal: Any) -> None:
    assert "expected ISMRMRD" in refusal(write(tmp_path / "a.h5", image=np.zeros((4, 4))))
    assert "found 'image'" in refusal(tmp_path / "a.h5")
    assert "found nothing" in refusal(write(tmp_path / "b.h5"))
    assert "all samples are zero" in refusal(write(tmp_path / "c.h5", kspace=0 * kspace(2, 2, 4, 4)))
    bad = kspace(1, 2, 4, 4)
    bad[0, 0, 0, 0] = np.nan
    assert "frame 0 holds NaN" in refusal(write(tmp_path / "d.h5", kspace=bad))
    assert "is empty" in refusal(write(tmp_path / "e.h5", kspace=kspace(1, 0, 4, 4)))
    radial = fastmri_header(scan()).replace("cartesian", "radial")
    path = write(tmp_path / "f.h5", kspace=kspace(1, 2, 4, 4), ismrmrd_header=radial)
    assert "an array of k-space is Cartesian" in refusal(path)


def test_shapes_beyond_the_file(tmp_path: Path, refusal: Any) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("kspace", (400, 400, 32, 512, 512), np.complex64, chunks=(1, 1, 1, 16, 16))
    assert "more than the file holds" in refusal(tmp_path / "a.h5")


# --- the process that reads --------------------------------------------------------------------------


def test_a_crash_of_the_reading_process_is_one_sentence_and_the_next_file_is_read(
    tmp_path: Path, refusal: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.h5", kspace=kspace(1, 2, 4, 4))
    open_acquisition(path)
    ask = hdf5.File.ask

    def crash(self: hdf5.File, operation: str, **arguments: Any) -> Any:
        if operation == "slab":
            hdf5._child.process.kill()
        return ask(self, operation, **arguments)

    with monkeypatch.context() as patch:
        patch.setattr(hdf5.File, "ask", crash)
        assert "the HDF5 library failed on it" in refusal(path)
    assert open_acquisition(path).frames == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGSTOP")
def test_a_reading_process_that_hangs_is_ended(
    tmp_path: Path, refusal: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.h5", kspace=kspace(1, 2, 4, 4))
    open_acquisition(path)
    process = hdf5._child.process
    process.send_signal(signal.SIGSTOP)
    monkeypatch.setattr(hdf5, "_PATIENCE_S", 0.3)
    assert "the HDF5 library failed on it" in refusal(path)
    assert process.poll() is not None
    monkeypatch.undo()
    assert open_acquisition(path).frames == 1


def test_the_file_is_closed_after_reading(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", kspace=kspace(1, 2, 4, 4))
    open_acquisition(path)
    with h5py.File(path, "r+") as file:  # an open reader would hold a lock
        file["kspace"][0, 0, 0, 0] = 5
    assert open_acquisition(path).kspace[0, 0, 0, 0] == 5
