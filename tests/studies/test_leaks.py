"""Blinding: nothing that lies in a locked study tells which movie was made by which method.

Words are looked for in every byte, also as UTF-16, Base64 and hexadecimal; everything else that can be
observed of a file (its name, place in a listing, size, times, blocks, inode, frame, place in the log) is
counted against the arms over many clips. The arms are made as different as methods are: one smooth, one
noisy, one of fewer frames, with provenances of other lengths, attached from files of other sizes and times.
"""

from __future__ import annotations

import base64
import json
import logging
import math
import os
import shutil
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from studies import blinding
from studies.names import method_label
from studies.package import export_package, open_package, save_response
from studies.study import Study
from tests.studies.conftest import PASSPHRASE, MovieWriter, StudyMaker

ARMS = ("compressed_sensing", "dl_natural", "dl_cardiac")
RAW_WORDS = ("meas_", "_FID77_", "SuperScan")
LABEL = "third try, spiral gone wrong"
CLIPS = 24
CHANCE = 1e-8
"""A count of arms that chance would bring less often than this is a leak."""
Observed = Mapping[str, Mapping[str, Any]]
"""Observable to movie id to value."""


def encodings(word: str) -> Iterator[bytes]:
    """Yield what a word may look like in a file."""
    for text in {word, word.replace("_", " "), word.replace("_", "-"), word.upper(), word.capitalize()}:
        for plain in (text.encode(), text.encode("utf-16-le"), text.encode("utf-16-be")):
            yield plain
            yield plain.hex().encode()
            # Within a longer text Base64 looks one of three ways; the ends depend on the neighbours.
            for before in range(3):
                coded = base64.b64encode(b"\0" * before + plain)
                yield coded[4 if before else 0 : -4]


def words_in(content: bytes, words: tuple[str, ...]) -> set[str]:
    """Return which words a file's bytes hold; four letters of Base64 come in a long ciphertext by chance."""
    return {word for word in words if any(coded in content for coded in encodings(word) if len(coded) > 4)}


def chance_of(count: int, clips: int, arms: int) -> float:
    """How likely one arm takes one place in `count` of `clips` clips or more, times the cells looked at."""
    tail = sum(
        math.comb(clips, hits) * (1 / arms) ** hits * (1 - 1 / arms) ** (clips - hits)
        for hits in range(count, clips + 1)
    )
    return tail * arms * arms


def leaks(observed: Observed, clips: list[tuple[str, ...]], method_of: Mapping[str, str]) -> dict[str, float]:
    """Return the observables whose order within clips goes with the arm, with the chance of that.

    Args:
        observed: what is seen of every movie.
        clips: movie ids of each clip.
        method_of: movie id to arm.
    """
    found = {}
    for name, values in observed.items():
        cells: Counter[tuple[int, str]] = Counter()
        for movie_ids in clips:
            seen = sorted({values[movie_id] for movie_id in movie_ids})
            if len(seen) > 1:
                cells.update((seen.index(values[movie_id]), method_of[movie_id]) for movie_id in movie_ids)
        if cells:
            chance = chance_of(max(cells.values()), len(clips), len(set(method_of.values())))
            if chance < CHANCE:
                found[name] = chance
    return found


@pytest.fixture
def opened_for_writing() -> Iterator[list[str]]:
    """Paths that Python opens for writing while the test runs."""
    paths: list[str] = []
    listening = [True]

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if not listening[0] or event != "open":
            return
        path, mode, flags = arguments
        written = any(letter in (mode or "") for letter in "wax+") or (flags or 0) & (os.O_WRONLY | os.O_RDWR)
        if written and isinstance(path, (str, bytes)):
            paths.append(os.fsdecode(path))

    sys.addaudithook(hook)  # there is no way to take it back
    yield paths
    listening[0] = False


@pytest.fixture
def blinded(
    tmp_path: Path, write_movie: MovieWriter, quick_seal: None, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Study]:
    """Make a locked study of 24 clips whose arms differ in all that methods differ in."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))

    def make() -> Study:
        random = np.random.default_rng(1)
        study = Study.create(tmp_path / "study", name="Reading room", arms=ARMS)
        for number in range(CLIPS):
            raw = tmp_path / f"meas_MID{number:05}_FID77_SuperScan.h5"
            scan_id = study.import_scan(
                raw,
                raw_sha256=f"{number + 1:02x}" * 32,
                subject=f"P{number}",
                plane="SAX",
                sampling="spiral",
                label=LABEL,
            )
            smooth, noise = np.ones((9, 8, 8)), random.random((9, 8, 8))
            facts = {"source": raw.name, "model": "x" * 500}
            movies = {
                ARMS[0]: write_movie(f"a{number}", smooth, provenance={"method": ARMS[0]}),
                ARMS[1]: write_movie(f"b{number}", noise, provenance={"method": ARMS[1], **facts}),
                ARMS[2]: write_movie(
                    f"c{number}",
                    (smooth + noise)[4:],
                    times=0.05 * np.arange(4, 9),
                    provenance={"method": ARMS[2], "kernel": "y" * 90},
                ),
            }
            for later, path in enumerate(movies.values()):
                os.utime(path, (1_700_000_000 + later, 1_700_000_000 + later))
            study.attach_movies(scan_id, movies)
        study.lock(["Ada", "Ben"], PASSPHRASE)
        return study

    return make


def unblinded(study: Study, tmp_path: Path) -> Mapping[str, str]:
    """Open the seal of a copy: who is who."""
    copy = Study.open(shutil.copytree(study.folder, tmp_path / "copy"))
    return copy.unblind(PASSPHRASE, "the test", force=True)


def file_facts(study: Study, movie_ids: list[str]) -> dict[str, dict[str, Any]]:
    """Everything that can be seen of the movies' files and of their place in the log."""
    folder = study.folder / "movies"
    listing = [entry.name for entry in os.scandir(folder)]
    log = json.dumps([event.payload for event in study.events])
    facts: dict[str, dict[str, Any]] = {}
    for movie_id in movie_ids:
        path = folder / f"{movie_id}.h5"
        status = path.stat()
        with h5py.File(path) as file:
            frames = file["movie"]
            inside = repr(
                (sorted(file), [(name, repr(value)) for name, value in file.attrs.items()], frames.shape)
            )
            layout = (frames.id.get_offset(), frames.chunks, frames.compression, frames.dtype.str)
        content = path.read_bytes()
        pixels = frames_bytes(path)
        values = {
            "name": movie_id,
            "listing": listing.index(path.name),
            "inode": status.st_ino,
            "size": status.st_size,
            "blocks": status.st_blocks,
            "modified": status.st_mtime_ns,
            "changed": status.st_ctime_ns,
            "mode": status.st_mode,
            "inside": inside,
            "layout": repr(layout),
            "bytes that are no pixels": content.replace(pixels, b""),
            "first place in the log": log.index(movie_id),
            "last place in the log": log.rindex(movie_id),
        }
        for name, value in values.items():
            facts.setdefault(name, {})[movie_id] = value
    return facts


def frames_bytes(path: Path) -> bytes:
    """The pixels of a movie file as they lie in it."""
    with h5py.File(path) as file:
        return np.asarray(file["movie"][()], "<f4").tobytes()


def test_the_count_finds_an_order_and_leaves_chance_alone() -> None:
    """The detector itself: files attached arm by arm are found by name and by size, random ones are not."""
    clips = [tuple(f"{clip}{place}" for place in "abc") for clip in range(CLIPS)]
    random = np.random.default_rng(2)
    method_of = {
        movie_id: ARMS[arm]
        for movie_ids in clips
        for movie_id, arm in zip(movie_ids, random.permutation(3), strict=True)
    }
    sizes = {ARMS[0]: 10, ARMS[1]: 10, ARMS[2]: 11}
    observed: dict[str, dict[str, Any]] = {
        "name": {movie_id: movie_id for movie_id in method_of},
        "size": {movie_id: sizes[method] for movie_id, method in method_of.items()},
        "arm by arm": {movie_id: ARMS.index(method) for movie_id, method in method_of.items()},
        "equal": dict.fromkeys(method_of, 7),
    }
    assert set(leaks(observed, clips, method_of)) == {"size", "arm by arm"}


def test_words_are_found_however_they_are_written() -> None:
    """The detector itself: plain, UTF-16, Base64 at every offset, hexadecimal, with spaces."""
    for coded in (
        b"xx compressed sensing",
        "dl_natural".encode("utf-16-le"),
        *(base64.b64encode(b"q" * shift + b'{"method": "dl_cardiac"}') for shift in range(3)),
        b"compressed_sensing".hex().encode(),
    ):
        assert words_in(coded, ARMS), coded
    assert not words_in(os.urandom(100_000) + b"sensible compression, naturally", ARMS)


def test_no_file_of_a_locked_study_holds_a_telling_word(
    blinded: Callable[[], Study], caplog: pytest.LogCaptureFixture, opened_for_writing: list[str]
) -> None:
    """Neither the study's files nor temporary files nor logs, after a reading has gone on for a while."""
    caplog.set_level(logging.DEBUG)
    study = blinded()
    for _ in range(3):
        presentation = study.next_presentation("Ada")
        assert presentation is not None
        study.load_clip(presentation)
        study.commit_ranking("Ada", presentation, (1, 2, 2), comment="blurred")
    words = (*ARMS, *RAW_WORDS, LABEL, PASSPHRASE)
    files = [path for path in study.folder.rglob("*") if path.is_file()]
    assert len(files) > 3 * CLIPS
    for path in files:
        assert not words_in(path.read_bytes(), words), path
        assert not words_in(str(path.relative_to(study.folder)).encode(), words)
    assert not words_in(caplog.text.encode(), words)
    # The test makes the movies that it attaches; nothing else is written outside the study.
    outside = [
        path
        for path in map(Path, opened_for_writing)
        if not path.is_relative_to(study.folder) and path.parent.name != "reconstructions"
    ]
    assert opened_for_writing and not outside
    assert not list(Path(tempfile.gettempdir()).iterdir())


def test_nothing_that_can_be_observed_goes_with_the_arm(blinded: Callable[[], Study], tmp_path: Path) -> None:
    """Sizes, times, inodes, listings, headers and places in the log, over 24 clips."""
    study = blinded()
    clips = [clip.movie_ids for clip in study.clips]
    movie_ids = [movie_id for ids in clips for movie_id in ids]
    facts = file_facts(study, movie_ids)
    for name in ("size", "blocks", "modified", "mode", "inside", "layout", "bytes that are no pixels"):
        for ids in clips:
            assert len({facts[name][movie_id] for movie_id in ids}) == 1, name
    method_of = unblinded(study, tmp_path)
    assert Counter(method_of.values()) == dict.fromkeys(ARMS, CLIPS)
    assert leaks(facts, clips, method_of) == {}


def test_positions_of_the_screen_do_not_go_with_the_arm(blinded: Callable[[], Study], tmp_path: Path) -> None:
    """Every arm takes every place equally often for each reader, and no reader's order tells another's."""
    study = blinded()
    method_of = unblinded(study, tmp_path)
    movie_ids = {clip.clip_id: clip.movie_ids for clip in study.clips}
    for reader in study.readers:
        shown = [
            tuple(method_of[movie_ids[item.clip_id][choice]] for choice in item.permutation)
            for item in study.schedule(reader)
            if item.kind == "reading"
        ]
        assert len(shown) == CLIPS
        assert set(Counter(shown).values()) == {CLIPS // math.factorial(len(ARMS))}
    # The index that the schedule stores is not a code for the arm.
    codes: Counter[tuple[int, str]] = Counter()
    for ids in movie_ids.values():
        codes.update((index, method_of[movie_id]) for index, movie_id in enumerate(ids))
    assert chance_of(max(codes.values()), CLIPS, len(ARMS)) > CHANCE


def test_loading_touches_all_arms_at_once(
    blinded: Callable[[], Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clip is there when all of it is: no arm appears earlier, so no time of loading belongs to one."""
    study = blinded()
    seen: list[int] = []
    original = blinding.display_frames

    def count(movies: Any, rule: str) -> Any:
        seen.append(len(movies))
        return original(movies, rule)

    monkeypatch.setattr(blinding, "display_frames", count)
    presentation = study.next_presentation("Ada")
    assert presentation is not None
    clip = study.load_clip(presentation)
    assert seen == [len(ARMS)]
    assert clip.display.shape[0] == len(ARMS) and clip.display.dtype == np.uint8


# What goes out to a reader


def package_facts(package: Path, folder: Path) -> dict[str, dict[str, Any]]:
    """Everything that can be seen of the movies in a package's file and in the folder it is unpacked to."""
    facts: dict[str, dict[str, Any]] = {}
    listing = [entry.name for entry in os.scandir(folder / "movies")]
    content = package.read_bytes()
    with zipfile.ZipFile(package) as archive:
        manifest = archive.read("package.json").decode()
        for place, entry in enumerate(archive.infolist()):
            path = folder / entry.filename
            if path.parent.name != "movies":
                continue
            status, inside = path.stat(), archive.read(entry)
            with h5py.File(path) as file:
                frames = file["movie"]
                pixels, shape = frames[()].tobytes(), repr((frames.shape, frames.dtype, sorted(file.attrs)))
                offset = frames.id.get_offset()
            header = content[entry.header_offset : entry.header_offset + 30]
            values = {
                "place": place,
                "offset": entry.header_offset,
                "size": (entry.file_size, entry.compress_size, status.st_size, status.st_blocks),
                "date": (entry.date_time, status.st_mtime_ns),
                "kind": (
                    entry.compress_type,
                    entry.external_attr,
                    entry.flag_bits,
                    entry.extra,
                    entry.comment,
                ),
                # Without the CRC, which is one of the pixels.
                "header": header[:14] + header[18:],
                "shape": (shape, offset),
                "bytes that are no pixels": inside.replace(pixels, b""),
                "listing": listing.index(path.name),
                "inode": status.st_ino,
                "changed": status.st_ctime_ns,
                "mode": status.st_mode,
                "first place in the manifest": manifest.index(path.stem),
                "last place in the manifest": manifest.rindex(path.stem),
            }
            for name, value in values.items():
                facts.setdefault(name, {})[path.stem] = value
    return facts


def test_nothing_of_a_reader_package_tells_arms_or_other_readers(
    blinded: Callable[[], Study], tmp_path: Path
) -> None:
    """Its bytes, its entries, what it unpacks to and the response, against words and against the arms."""
    study = blinded()
    others = [item.presentation_id for item in study.schedule("Ben")]
    ranked = study.next_presentation("Ben")
    assert ranked is not None
    study.commit_ranking("Ben", ranked, (1, 2, 2), comment="blurred by Ben alone")
    path = tmp_path / "Ada.blindcine"
    export_package(study, "Ada", path)
    package = open_package(path, tmp_path / "unpacked")
    while (presentation := package.next_presentation("Ada")) is not None:
        package.load_clip(presentation)
        package.commit_ranking("Ada", presentation, (1, 2, 2))
    for presentation in package.guess_presentations("Ada"):
        package.record_guess("Ada", presentation, package.guess_choices("Ada"))
    save_response(package, package.folder / "response")

    words = (*ARMS, *RAW_WORDS, LABEL, PASSPHRASE, *map(method_label, ARMS), "blurred by Ben alone")
    subjects = tuple(f'"{clip.subject}"' for clip in study.clips)
    # The movies lie in the package as they are unpacked.
    files = [path, *(file for file in package.folder.iterdir() if file.is_file())]
    assert {"events.sqlite3", "response"} <= {file.name for file in files}
    for file in files:
        content = file.read_bytes()
        assert not words_in(content, words), file
        for word in ('"Ben"', *subjects, *others):
            assert word.encode() not in content, (file, word)
    assert b'"Ada"' in path.read_bytes(), "the search finds what is there"

    facts = package_facts(path, package.folder)
    clips = [clip.movie_ids for clip in study.clips]
    assert set(facts["place"]) == {movie_id for ids in clips for movie_id in ids}
    for name in ("size", "date", "kind", "shape", "bytes that are no pixels", "mode"):
        for ids in clips:
            assert len({facts[name][movie_id] for movie_id in ids}) == 1, name
    assert leaks(facts, clips, unblinded(study, tmp_path)) == {}


def test_a_package_does_not_say_which_clips_come_again(make_study: StudyMaker, tmp_path: Path) -> None:
    """An archive program shows the manifest; neither kinds nor the order of the clips can be read in it."""
    study = make_study(scans=8)
    study.set_design(study.design.changed({"repeat_share": 0.25, "readers": ["Ada"]}))
    study.lock((), PASSPHRASE)
    repeated = [item for item in study.schedule("Ada") if item.kind == "repeat"]
    assert len(repeated) == 2
    path = tmp_path / "Ada.blindcine"
    export_package(study, "Ada", path)
    with zipfile.ZipFile(path) as archive:
        content = b"".join(map(archive.read, archive.namelist()))
    package = open_package(path, tmp_path / "unpacked")
    log = (package.folder / "events.sqlite3").read_bytes()
    for place in (content, log):
        assert not words_in(place, ('repeat"', *(item.presentation_id for item in study.schedule("Ada"))))
        for clip in study.clips:
            assert place.count(clip.clip_id.encode()) <= 1, "each clip alike: once, with its movies"
    assert package.schedule("Ada") == study.schedule("Ada")
