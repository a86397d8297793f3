"""From a raw file to movie files: what the worker, the command line, the demo and a cluster all do.

One job reads a file, reconstructs it by several methods, with the cache of results, and writes
`<name>_<method>.h5` for each; it is tracked and can be cancelled from the first byte on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recon_backend.acquisition import Acquisition
from recon_backend.cache import ResultCache, cache_folder
from recon_backend.errors import FormatError, ReconstructionError
from recon_backend.movie import read_description
from recon_backend.options import ReconstructionOptions
from recon_backend.tracking import Paces, Status, Step, Tracker

if TYPE_CHECKING:
    from recon_backend.models import ShelfModel
    from recon_backend.reconstruct import Preparation

ALL = "all"
PACES_NAME = "paces.json"
DEFAULT_OPTIONS = ReconstructionOptions()

_READING_SHARE = 0.05
_GUESSED_READING_NS = 20.0  # a byte


@dataclass(frozen=True)
class FinishedMovie:
    """A movie on disk.

    Attributes:
        method: which made it.
        path: where it lies.
        seconds: times of its computation, by step.
        cached: whether it was not computed now, but before.
    """

    method: str
    path: Path
    seconds: Mapping[str, float]
    cached: bool = False


def reconstruct_file(
    path: Path,
    methods: Sequence[str],
    out: Path,
    *,
    device: str = "auto",
    options: ReconstructionOptions = DEFAULT_OPTIONS,
    cache: ResultCache | None = None,
    progress: Callable[[Status], None] | None = None,
    keep_finished: bool = False,
) -> Iterator[FinishedMovie]:
    """Write `out/<name>_<method>.h5` for each method, yielding each as soon as it is on disk.

    The name is the acquisition's: the file's stem, unless that names the patient.

    Args:
        path: raw data.
        methods: names of methods; `all` stands for every one that there is for the file's sampling.
        out: folder of the movies; made if it is not there.
        device: "auto", "cpu" or "gpu".
        options: what was chosen beside the methods.
        cache: where results are looked for, and kept.
        progress: see `Tracker`.
        keep_finished: leave a movie that this very job wrote before as it is.

    Raises:
        ReconstructionError: the file cannot be read, a method is unknown or has no model for its sampling.
        Cancelled: `progress` asked for it.
        OSError: a movie cannot be written.
    """
    from recon_backend.methods import models_of
    from recon_backend.reconstruct import Preparation, reconstruct_all  # heavy

    tracker = Tracker(progress, user_paces())
    acquisition, reading_s = read_tracked(path, tracker)
    names = method_names(methods, acquisition.sampling)
    shelf = models_of(acquisition.sampling, names, options.models)
    preparation = Preparation(acquisition, options.preparation())
    for finished in _finished(preparation, names, options, shelf, out) if keep_finished else ():
        names.remove(finished.method)
        yield finished
    for name, movie in reconstruct_all(
        preparation,
        names,
        progress=tracker,
        device=device,
        settings=options.settings,
        combination=options.combination,
        shelf=shelf,
        cache=cache,
        reading_s=reading_s,
    ):
        saved = movie.save(_target(out, acquisition, name))
        record = movie.provenance
        yield FinishedMovie(name, saved, _seconds(record), cached="from_cache" in record)


def read_tracked(path: Path, tracker: Tracker) -> tuple[Acquisition, float]:
    """Read a raw file as the first step of a job, and how many seconds that took.

    Raises:
        FormatError: see `open_acquisition`.
        Cancelled: the tracker's sink asked for it.
    """
    from recon_backend.formats import open_acquisition

    size = path.stat().st_size if path.is_file() else 0
    step = Step("Reading", "reading", float(size), _GUESSED_READING_NS * 1e-9 * size, computes=False)
    tracker.plan([step], up_to=_READING_SHARE)
    began = time.perf_counter()
    acquisition = tracker.run(
        step, lambda report: open_acquisition(path, progress=lambda _phase, fraction: report(fraction))
    )
    return acquisition, time.perf_counter() - began


def method_names(asked: Sequence[str], sampling: str) -> list[str]:
    """The methods to run: those asked for, `all` being every one that there is for this sampling."""
    from recon_backend.methods import available_methods

    fitting = [info.name for info in available_methods() if sampling in info.samplings]
    return list(dict.fromkeys(name for word in asked for name in (fitting if word == ALL else [word])))


def user_paces() -> Paces:
    """What past runs of this user took."""
    try:
        return Paces(cache_folder() / PACES_NAME)
    except ReconstructionError:  # no home, no memory
        return Paces(None)


def _finished(
    preparation: Preparation,
    names: Sequence[str],
    options: ReconstructionOptions,
    shelf: Mapping[str, ShelfModel],
    out: Path,
) -> list[FinishedMovie]:
    """The movies in `out` that are just what would be computed again."""
    from recon_backend.reconstruct import result_keys

    found = []
    keys = result_keys(preparation, names, options.settings, options.combination, shelf)
    for name, key in keys.items():
        target = _target(out, preparation.acquisition, name)
        record = _record_of(target)
        if record.get("job_sha256") == key:
            found.append(FinishedMovie(name, target, _seconds(record), cached=True))
    return found


def _target(out: Path, acquisition: Acquisition, method: str) -> Path:
    return out / f"{acquisition.name}_{method}.h5"


def _record_of(path: Path) -> dict[str, Any]:
    """Provenance of a movie; empty if there is none, or none that can be read."""
    try:
        return read_description(path)[1]
    except FormatError:
        return {}


def _seconds(provenance: Mapping[str, Any]) -> dict[str, float]:
    return {step: float(value) for step, value in provenance.get("seconds", {}).items()}
