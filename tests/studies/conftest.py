"""Small studies on disk for the tests of this package: random movies of 8 × 8 pixels, no reconstruction."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from studies import blinding
from studies.study import Study

PASSPHRASE = "four horses and a lamp"
MovieWriter = Callable[..., Path]
StudyMaker = Callable[..., Study]


@pytest.fixture
def quick_seal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the passphrase cheap to try, and do not wait for the disk.

    How dear a guess is, and that files are synchronised, is tested elsewhere; a kill, unlike a power cut,
    loses nothing that the operating system holds.
    """
    monkeypatch.setattr(blinding, "SCRYPT_COST", 2)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def write_movie(tmp_path: Path) -> MovieWriter:
    """Write a Movie file as the format says, without recon_backend, which studies must not need."""

    def write(
        name: str,
        frames: NDArray[Any] | None = None,
        *,
        times: Sequence[float] | NDArray[Any] | None = None,
        spacing: tuple[float, float] = (1.5, 1.25),
        provenance: Mapping[str, Any] | None = None,
    ) -> Path:
        path = tmp_path / "reconstructions" / name
        path.parent.mkdir(exist_ok=True)
        if frames is None:
            frames = np.random.default_rng(len(name)).random((6, 8, 8))
        with h5py.File(path, "w") as file:
            file["movie"] = np.asarray(frames, np.float32)
            file.attrs["format"] = "blindcine-movie-1"
            file.attrs["pixel_spacing_mm"] = spacing
            file.attrs["frame_times_s"] = 0.05 * np.arange(len(frames)) if times is None else times
            file.attrs["provenance"] = json.dumps(provenance or {})
        return path

    return write


@pytest.fixture
def make_study(tmp_path: Path, write_movie: MovieWriter, quick_seal: None) -> StudyMaker:
    """Make a study with movies attached: `make_study(scans=4, readers=["Anna"])` also locks it."""

    def make(
        folder: str = "study",
        *,
        scans: int = 4,
        readers: Sequence[str] = (),
        arms: Sequence[str] = ("compressed_sensing", "dl_natural", "dl_cardiac"),
        seed: int | str | None = None,
        log_url: str | None = None,
        second_copy: Path | None = None,
    ) -> Study:
        study = Study.create(
            tmp_path / folder,
            name="Reading room",
            arms=arms,
            seed=seed,
            log_url=log_url,
            second_copy=second_copy,
        )
        for number in range(scans):
            scan_id = study.import_scan(
                tmp_path / f"meas_heart_{number}.h5",
                raw_sha256=f"{number + 1:02x}" * 32,
                subject=f"P{number // 2}",
                plane="SAX" if number % 2 else "4CH",
                sampling="radial",
                label=f"second breath hold {number}",
            )
            movies = {}
            for place, arm in enumerate(arms):
                # The value of every pixel tells scan and arm, so that a test can see which movie it got.
                frames = np.random.default_rng(number).random((6, 8, 8)) + 10 * number + place
                provenance: dict[str, Any] = {"method": arm, "raw": f"meas_heart_{number}.h5"}
                if arm.startswith("dl_"):
                    provenance["model"] = {
                        "name": f"model-{arm}",
                        "caution": f"Trained for {arm} on few videos.",
                    }
                movies[arm] = write_movie(f"{folder}_{number}_{arm}.h5", frames, provenance=provenance)
            study.attach_movies(scan_id, movies)
        if readers:
            study.lock(readers, PASSPHRASE)
        return study

    return make
