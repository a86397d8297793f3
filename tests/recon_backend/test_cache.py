"""The cache of results: what makes two jobs the same, damage, eviction, several processes."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recon_backend import cache
from recon_backend.cache import ResultCache, acquisition_sha256, result_key
from recon_backend.errors import ReconstructionError
from recon_backend.formats import open_acquisition
from recon_backend.movie import Movie

JOB: dict[str, Any] = {
    "acquisition_sha256": "ab" * 32,
    "method": "compressed_sensing",
    "parameters": {"regularisation": 5e-4, "iterations": 30},
    "model_sha256": None,
    "precision": "float32 (tensorflow)",
}
LARGE = 10**9


def movie(seed: int = 0, raw: str = "raw") -> Movie:
    frames = np.random.default_rng(seed).random((3, 16, 16), np.float32)
    provenance = {"raw_sha256": raw, "method": "gridded", "seconds": {"reconstruction": 2.5}}
    return Movie(frames, (1.5, 2.0), np.arange(3) * 0.05, provenance)


def test_a_key_does_not_depend_on_the_order_of_parameters_but_on_all_else() -> None:
    key = result_key(**JOB)
    assert result_key(**JOB | {"parameters": {"iterations": 30, "regularisation": 5e-4}}) == key
    changes = (
        {"acquisition_sha256": "cd" * 32},
        {"method": "gridded"},
        {"parameters": {"regularisation": 5e-4, "iterations": 31}},
        {"parameters": {"regularisation": 5e-4, "iterations": 30, "weights": "root"}},
        {"model_sha256": "ef" * 32},
        {"precision": "bfloat16 (tensorflow)"},
    )
    assert len({key} | {result_key(**JOB | change) for change in changes}) == len(changes) + 1


@pytest.mark.parametrize("name", ["software_versions", "code_sha256"])
def test_a_key_depends_on_versions_and_source(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    key = result_key(**JOB)
    monkeypatch.setattr(cache, name, lambda: "another")
    assert result_key(**JOB) != key


@pytest.mark.parametrize("sampling", ["cartesian", "radial"])
def test_parts_of_one_file_are_different_scans(scan: Any, tmp_path: Path, sampling: str) -> None:
    path = scan(sampling=sampling, frames=4).write(tmp_path / "scan.h5")
    acquisition = open_acquisition(path)
    digest = acquisition_sha256(acquisition)
    assert acquisition_sha256(open_acquisition(path)) == digest
    assert acquisition_sha256(dataclasses.replace(acquisition, name="other name")) == digest
    others = [acquisition.frames_slice(0, 3), acquisition.frames_slice(1, 4)]
    others.append(dataclasses.replace(acquisition, field_of_view_mm=(100.0, 200.0)))
    others.append(dataclasses.replace(acquisition, frame_times_s=acquisition.frame_times_s * 2))
    others.append(dataclasses.replace(acquisition, kspace=acquisition.kspace * 2))
    if acquisition.trajectory is not None:
        others.append(dataclasses.replace(acquisition, trajectory=acquisition.trajectory * np.float32(0.9)))
    assert len({digest, *map(acquisition_sha256, others)}) == len(others) + 1


def test_a_movie_comes_back_with_its_provenance_and_says_where_from(tmp_path: Path) -> None:
    store = ResultCache(tmp_path / "cache", LARGE)
    assert store.load("key") is None
    original = movie()
    store.store("key", original)
    found = store.load("key")
    assert found is not None
    np.testing.assert_array_equal(found.frames, original.frames)
    assert found.pixel_spacing_mm == (1.5, 2.0)
    assert found.provenance.pop("from_cache") > "2026"
    assert found.provenance == original.provenance
    assert found.provenance["seconds"]["reconstruction"] == 2.5
    # Saved anew, it keeps the seconds of its first writing too.
    writing = original.provenance["seconds"]["writing"]
    saved = Movie.load(found.save(tmp_path / "out.h5"))
    assert saved.provenance["seconds"] == {"reconstruction": 2.5, "writing": writing}
    if os.name != "nt":
        assert (tmp_path / "cache" / "results").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("place", [0, 40, 511, 700, -1, "cut", "empty"])
def test_a_damaged_entry_is_dropped(tmp_path: Path, place: int | str) -> None:
    store = ResultCache(tmp_path, LARGE)
    store.store("key", movie())
    (path,) = (tmp_path / "results").iterdir()
    content = bytearray(path.read_bytes())
    if isinstance(place, int):
        content[place] ^= 0x01
    else:
        content = content[: len(content) // 2] if place == "cut" else bytearray()
    path.write_bytes(content)
    assert store.load("key") is None
    assert not path.exists()


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    store = ResultCache(tmp_path, LARGE)
    for number, name in enumerate("abc"):
        store.store(name, movie(number))
        os.utime(tmp_path / "results" / f"{name}.result", (1000 + number, 1000 + number))
    size = store.info().size_bytes // 3
    assert store.load("a") is not None  # now b is the oldest
    small = ResultCache(tmp_path, int(3.5 * size))
    small.store("d", movie(3))
    assert [small.load(name) is not None for name in "abcd"] == [True, False, True, True]
    assert small.info().size_bytes <= small.limit_bytes
    ResultCache(tmp_path, size // 2).store("e", movie(4))  # one result that is larger than the whole cache
    assert store.info().entries == 0


def test_forget_and_clear(tmp_path: Path) -> None:
    store = ResultCache(tmp_path, LARGE)
    for number in range(4):
        store.store(str(number), movie(number, raw="ab"[number % 2]))
    assert store.forget(["b", "c"]) == 2
    assert [store.load(str(number)) is not None for number in range(4)] == [True, False, True, False]
    (tmp_path / "results" / ".half.part").write_bytes(b"left by a process that was killed")
    assert store.clear() == 2
    assert list((tmp_path / "results").iterdir()) == []
    assert ResultCache(tmp_path / "nothing", LARGE).clear() == 0
    assert store.info() == cache.CacheInfo(tmp_path, 0, 0, LARGE)


def test_a_disk_that_refuses_costs_the_entry_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    ResultCache(tmp_path / "file", LARGE).store("key", movie())
    assert "not kept" in caplog.text
    store = ResultCache(tmp_path / "full", LARGE)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("recon_backend.storage.os.replace", refuse)
    store.store("key", movie())
    assert list((tmp_path / "full" / "results").iterdir()) == []


def _store_and_load(folder: str, seed: int) -> tuple[int, int]:
    """Ten results in a cache with room for four, the same keys from every process: how many were found, and
    how many of these were what they should be."""
    store = ResultCache(Path(folder), 4 * 6000)
    found = sound = 0
    for number in range(20):
        key = str((number * 7 + seed) % 10)
        expected = movie(int(key))
        store.store(key, expected)
        taken = store.load(key)  # None if another process has made room in the meantime
        if taken is not None:
            found += 1
            sound += int((taken.frames == expected.frames).all())
    return found, sound


def test_processes_share_a_folder(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(3) as pool:
        counts = pool.starmap(_store_and_load, [(str(tmp_path), seed) for seed in range(3)])
    assert sum(found for found, _ in counts) > 0
    assert all(found == sound for found, sound in counts)
    store = ResultCache(tmp_path, LARGE)
    names = [path.name for path in (tmp_path / "results").iterdir()]
    assert names
    assert all(name.endswith(".result") for name in names)
    assert all(store.load(name.removesuffix(".result")) is not None for name in names)


def test_places_and_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> None:
    assert cache.cache_folder() == own_cache
    found = cache.user_cache()
    assert found is not None
    assert found.limit_bytes == 5_000_000_000
    monkeypatch.delenv("BLINDCINE_CACHE")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for platform, variable, expected in (
        ("linux", "XDG_CACHE_HOME", tmp_path / "own" / "blindcine"),
        ("win32", "LOCALAPPDATA", tmp_path / "own" / "blindcine" / "Cache"),
        ("darwin", "UNUSED", tmp_path / "Library" / "Caches" / "blindcine"),
    ):
        monkeypatch.setattr(sys, "platform", platform)
        monkeypatch.setenv(variable, str(tmp_path / "own"))
        assert cache.cache_folder() == expected
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored, says the standard
    assert cache.cache_folder() == tmp_path / ".cache" / "blindcine"
    monkeypatch.setenv("BLINDCINE_CACHE_GB", "0")
    assert cache.user_cache() is None
    monkeypatch.setenv("BLINDCINE_CACHE_GB", "much")
    with pytest.raises(ReconstructionError, match="BLINDCINE_CACHE_GB is 'much'"):
        cache.user_cache()


def test_without_a_home_there_is_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("no home")

    monkeypatch.delenv("BLINDCINE_CACHE")
    monkeypatch.setattr(Path, "home", homeless)
    assert cache.user_cache() is None
