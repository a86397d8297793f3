"""Small ISMRMRD files written with the `ismrmrd` package, which recon_backend itself does not use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import ismrmrd
import numpy as np
import numpy.typing as npt
import pytest
import scipy.special

HEADER = """<?xml version="1.0"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
 <subjectInformation><patientName>DOE^JANE</patientName><patientID>HOSP-0815</patientID>
  <patientBirthdate>1980-02-29</patientBirthdate></subjectInformation>
 <measurementInformation><measurementID>m1</measurementID><protocolName>SAX realtime</protocolName>
 </measurementInformation>
 <acquisitionSystemInformation><systemVendor>SIMULATED</systemVendor>
  <systemFieldStrength_T>1.5</systemFieldStrength_T><institutionName>Saint Elsewhere</institutionName>
 </acquisitionSystemInformation>
 <experimentalConditions><H1resonanceFrequency_Hz>63866217</H1resonanceFrequency_Hz></experimentalConditions>
 <encoding>
  <encodedSpace><matrixSize><x>{encoded_x}</x><y>{y}</y><z>1</z></matrixSize>
   <fieldOfView_mm><x>{encoded_x_mm}</x><y>240</y><z>8</z></fieldOfView_mm></encodedSpace>
  <reconSpace><matrixSize><x>{x}</x><y>{y}</y><z>1</z></matrixSize>
   <fieldOfView_mm><x>200</x><y>240</y><z>8</z></fieldOfView_mm></reconSpace>
  <encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>{last_line}</maximum>
   <center>{centre_line}</center></kspace_encoding_step_1></encodingLimits>
  <trajectory>{trajectory}</trajectory>
 </encoding>
 <sequenceParameters><TR>3.0</TR><TE>1.5</TE><flipAngle_deg>60</flipAngle_deg></sequenceParameters>
</ismrmrdHeader>"""


@dataclass
class Scan:
    """What a raw file shall hold; `edit` may change each readout or, returning False, leave it out."""

    sampling: str = "cartesian"
    frames: int = 3
    coils: int = 2
    matrix: tuple[int, int] = (12, 10)
    readouts: int = 4
    noise_samples: int = 0
    dummies: int = 0
    tick_ms: float = 2.5
    header: str = HEADER
    edit: Callable[[ismrmrd.Acquisition], object] | None = None
    unit: float = 1.0
    seed: int = 0

    @property
    def centre_line(self) -> int:
        """The header's centre line; not half the matrix, so that a reader that ignores it fails."""
        return self.matrix[0] // 2 - 1

    def coil_images(self) -> npt.NDArray[np.complex128]:
        """Random coil images (coil, frame, y, x)."""
        rng = np.random.default_rng(self.seed)
        shape = (self.coils, self.frames, *self.matrix)
        return rng.normal(size=shape) + 1j * rng.normal(size=shape)

    def rows(self, frame: int) -> npt.NDArray[np.int64]:
        """The acquired rows of k-space of a frame, with N // 2 the centre."""
        rng = np.random.default_rng([self.seed, frame])
        others = rng.permutation(np.delete(np.arange(1, self.matrix[0]), self.matrix[0] // 2 - 1))
        return np.sort(np.append(others[: self.readouts - 1], self.matrix[0] // 2))

    def trajectory(self, frame: int) -> npt.NDArray[np.float64]:
        """Cycles/pixel (readout, sample, 2), components (x, y); one sample at radius 0.5."""
        radius = (np.arange(8) - 4) / 8
        angle = (frame * self.readouts + np.arange(self.readouts))[:, None] * 0.41
        return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)

    def write(self, path: Path) -> Path:
        """Write the file."""
        dataset = ismrmrd.Dataset(str(path), "dataset", create_if_needed=True)
        cartesian = self.sampling == "cartesian"
        dataset.write_xml_header(
            self.header.format(
                y=self.matrix[0],
                x=self.matrix[1],
                encoded_x=self.matrix[1] * (2 if cartesian else 1),
                encoded_x_mm=400 if cartesian else 200,
                last_line=self.matrix[0] - 1,
                centre_line=self.centre_line,
                trajectory=self.sampling,
            ).encode()
        )
        for count, acquisition in enumerate(self.acquisitions()):
            acquisition.scan_counter = count
            if self.edit is None or self.edit(acquisition) is not False:
                dataset.append_acquisition(acquisition)
        dataset.close()
        return path

    def acquisitions(self) -> Iterator[ismrmrd.Acquisition]:
        """The readouts in the order of acquisition: noise, dummies, frames."""
        rng = np.random.default_rng([self.seed, 1])
        length = self.matrix[1] * 2 if self.sampling == "cartesian" else 8
        if self.noise_samples:
            mix = np.eye(self.coils) + 0.5 * rng.normal(size=(self.coils, self.coils))
            shape = (self.coils, self.noise_samples)
            noise = mix @ (rng.normal(size=shape) + 1j * rng.normal(size=shape))
            yield self._readout(noise, None, ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
        for _ in range(self.dummies):
            points = None if self.sampling == "cartesian" else np.zeros((length, 2))
            yield self._readout(np.full((self.coils, length), 99), points, ismrmrd.ACQ_IS_DUMMYSCAN_DATA)
        images = self.coil_images()
        time_ms = 0.0
        for frame in range(self.frames):
            samples, points, lines = self._frame(images[:, frame], frame)
            for index in range(self.readouts):
                acquisition = self._readout(samples[:, index], None if points is None else points[index])
                acquisition.idx.repetition = frame
                acquisition.idx.kspace_encode_step_1 = int(lines[index])
                acquisition.center_sample = length // 2
                acquisition.acquisition_time_stamp = 1000 + int(time_ms / self.tick_ms)
                time_ms += 3.0
                yield acquisition

    def _frame(
        self, images: npt.NDArray[np.complex128], frame: int
    ) -> tuple[npt.NDArray[np.complex128], npt.NDArray[np.float64] | None, npt.NDArray[np.int64]]:
        if self.sampling != "cartesian":
            points = self.trajectory(frame)
            return dft(images, 2 * np.pi * points[..., ::-1]), points * self.unit, np.arange(self.readouts)
        height, width = self.matrix
        wide = np.zeros((self.coils, height, 2 * width), np.complex128)
        start = width - width // 2
        wide[:, :, start : start + width] = images
        rows = self.rows(frame)
        ky = 2 * np.pi * (rows - height // 2) / height
        kx = 2 * np.pi * (np.arange(2 * width) - width) / (2 * width)
        points = np.stack(np.meshgrid(ky, kx, indexing="ij"), axis=-1)
        return dft(wide, points), None, rows - height // 2 + self.centre_line

    @staticmethod
    def _readout(
        samples: npt.NDArray[np.complex128], points: npt.NDArray[np.float64] | None, flag: int | None = None
    ) -> ismrmrd.Acquisition:
        acquisition = ismrmrd.Acquisition.from_array(
            np.ascontiguousarray(samples, np.complex64),
            None if points is None else np.ascontiguousarray(points, np.float32),
        )
        acquisition.sample_time_us = 2.0
        if flag is not None:
            acquisition.setFlag(flag)
        return acquisition


def dft(images: npt.NDArray[np.complex128], points: npt.NDArray[np.float64]) -> npt.NDArray[np.complex128]:
    """Brute force: sum_r image(r) exp(-i k.r) / sqrt(size), r from N // 2; points (..., (y, x)) rad/pixel."""
    height, width = images.shape[-2:]
    along_y = np.exp(-1j * points[..., 0, None] * (np.arange(height) - height // 2))
    along_x = np.exp(-1j * points[..., 1, None] * (np.arange(width) - width // 2))
    return np.einsum("cyx,...y,...x->c...", images, along_y, along_x) / np.sqrt(height * width)


@pytest.fixture
def scan() -> type[Scan]:
    """The recipe of a small raw file: `scan(sampling="radial").write(path)`."""
    return Scan


def ellipses(frame: float, motion: float) -> list[tuple[float, float, float, float, float]]:
    """(amplitude, centre y, x, half-axes y, x) in parts of the field of view; the second one beats."""
    beat = motion * np.sin(2 * np.pi * frame / 9)
    return [
        (1.0, 0.02, -0.01, 0.33, 0.4),
        (0.9, -0.05 + 0.5 * beat, 0.06, 0.11 * (1 + 2 * beat), 0.09),
        (-0.6, 0.12, -0.17, 0.08, 0.12),
        (0.7, 0.14, 0.15, 0.05, 0.03),
    ]


def _disc(radius: np.ndarray) -> np.ndarray:
    """Fourier transform of the unit disc over its area, 2 J₁(2π r)/(2π r)."""
    argument = 2 * np.pi * np.maximum(radius, 1e-9)
    return 2 * scipy.special.j1(argument) / argument


def radial_samples(
    trajectory: np.ndarray,
    matrix: int,
    *,
    coils: int = 4,
    noise: float = 0.0,
    motion: float = 0.1,
    seed: int = 0,
) -> np.ndarray:
    """K-space (coil, frame, readout, sample); coils are plane waves mixed from three low frequencies.

    A coil of three plane waves shifts k-space by less than a cycle, so each sample is a sum of Bessel
    functions. `noise` is the standard deviation of the real part, relative to the largest sample.
    """
    rng = np.random.default_rng(seed)
    cycles = trajectory.astype(float) * matrix / (2 * np.pi)
    shifts = np.array([[0, 0], [0.45, 0], [-0.2, 0.4], [0.1, -0.45]])
    mixing = rng.standard_normal((coils, len(shifts))) + 1j * rng.standard_normal((coils, len(shifts)))
    mixing[:, 0] *= 1.5
    waves = np.zeros((len(shifts), *trajectory.shape[:3]), complex)
    for frame in range(len(trajectory)):
        for amplitude, y, x, half_y, half_x in ellipses(frame, motion):
            for wave, shift in enumerate(shifts):
                k = cycles[frame] - shift
                phase = np.exp(-2j * np.pi * (k[..., 0] * y + k[..., 1] * x))
                size = amplitude * np.pi * half_y * half_x
                waves[wave, frame] += size * phase * _disc(np.hypot(k[..., 0] * half_y, k[..., 1] * half_x))
    kspace = np.einsum("cw,w...->c...", mixing, waves)
    kspace /= np.abs(kspace).max()
    noisy = kspace + noise * (rng.standard_normal(kspace.shape) + 1j * rng.standard_normal(kspace.shape))
    return noisy.astype(np.complex64)


@dataclass(frozen=True)
class RadialScans:
    """Scans of beating ellipses that are sampled exactly: `ellipses` says what, `samples` measures them."""

    ellipses: Callable[..., list[tuple[float, float, float, float, float]]] = ellipses
    samples: Callable[..., npt.NDArray[np.complex64]] = radial_samples


@pytest.fixture(scope="session")
def radial_scans() -> RadialScans:
    """Radial data in closed form, along any trajectory."""
    return RadialScans()
