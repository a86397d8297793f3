"""Every data set in every sampling by every method, one comparison after the other.

 Raw scans are read, simulated data are simulated (see `scans`, `simulated`); from there on both go through
`reconstruct_all`, as prospective scans do, with the cache of results. At any time there is one scan in memory
and one movie, however many data sets there are.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from recon_backend import methods
from recon_backend.acquisition import Acquisition, Sampling
from recon_backend.cache import ResultCache
from recon_backend.compressed_sensing_settings import (
    DEFAULT_SETTINGS,
    CompressedSensingSettings,
    named_settings,
)
from recon_backend.errors import Cancelled, ReconstructionError
from recon_backend.evaluation.cases import Case
from recon_backend.evaluation.metrics import Frames, Score, compare, on_one_scale
from recon_backend.evaluation.scans import load_truth, matching_frames, profile_of, raw_files
from recon_backend.formats import open_acquisition
from recon_backend.models import ShelfModel
from recon_backend.movie import Movie

CEILING = "ceiling"
CEILING_WITH_FLOOR = "ceiling_with_floor"
BEST_COMPRESSED_SENSING = "compressed_sensing_best"
BEST_GRID = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""λ over the mean eigenvalue of AᴴWA; the settings `quality` have 0.2."""

FAILURES = (ReconstructionError, OSError, MemoryError, ValueError, RuntimeError)
"""What may go wrong with one data set while the others are sound."""

_SIMULATION_SHARE = 0.3

Report = Callable[[str, float], None]


@dataclass(frozen=True)
class EvaluationOptions:
    """What is compared, and how.

    Attributes:
        methods: names of `recon_backend.methods`; None = all that there are for a sampling.
        samplings: scans of other samplings are passed over; videos and cines are simulated in each.
        models: networks to evaluate instead of the shelf's own choice; empty = that choice.
        frames: frames of a simulated scan.
        seed: another number gives other simulated data.
        settings: of compressed sensing.
        best_grid: values of λ from which the best for each single scan is picked, knowing the truth; empty =
            that is not tried.
        device: "auto", "cpu" or "gpu".
        cache: where results are looked for, and kept.
    """

    methods: Sequence[str] | None = None
    samplings: Sequence[Sampling] = ("cartesian", "radial", "spiral")
    models: Sequence[ShelfModel] = ()
    frames: int = 24
    seed: int = 0
    settings: str = DEFAULT_SETTINGS
    best_grid: Sequence[float] = ()
    device: str = "auto"
    cache: ResultCache | None = None


@dataclass(frozen=True, eq=False)
class Comparison:
    """One method on one scan.

    Attributes:
        case: the data set.
        scores: one for each reference; the last decides where one is needed.
        truth: the deciding reference (frame, y, x), peak 1.
        images: the reconstruction on the truth's scale, same frames.
        provenance: the movie's; empty for the ceiling.
    """

    case: Case
    scores: tuple[Score, ...]
    truth: Frames
    images: Frames
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sampling(self) -> str:
        """The sampling."""
        return self.scores[0].sampling

    @property
    def method(self) -> str:
        """The method."""
        return self.scores[0].method


@dataclass(frozen=True)
class _Run:
    """One reconstruction: what it is called in the tables, the method, and what it is done with."""

    label: str
    method: str
    model: ShelfModel | None = None
    settings: str | CompressedSensingSettings = DEFAULT_SETTINGS


@dataclass(frozen=True, eq=False)
class _Scan:
    """A scan with its references, the deciding one last, and what is scored against the noisy one."""

    case: Case
    sampling: str
    preparation: Any  # reconstruct.Preparation; its module is imported late
    references: Mapping[str, Movie]
    ceilings: Mapping[str, Frames] = field(default_factory=dict)


def evaluate_cases(
    cases: Sequence[Case],
    options: EvaluationOptions,
    *,
    progress: Report | None = None,
    on_failure: Callable[[Case, str, Exception], None] | None = None,
) -> Generator[Comparison, None, None]:
    """Compare every data set in every sampling.

    Args:
        cases: see `find_cases`.
        options: what is compared.
        progress: called with (phase, fraction of the whole); may raise `Cancelled`.
        on_failure: called with a data set, its sampling (empty for scans) and what went wrong, and the rest
            goes on; None = the error is raised.

    Raises:
        ReconstructionError: a method is unknown, or there is no model for it; with `on_failure` only before
            any work begins.
        Cancelled: `progress` asked for it.
    """
    report = progress or (lambda _phase, _fraction: None)
    for name in options.methods or ():
        methods.check_method(name)
    parts: list[tuple[Case, Sampling | None]] = []
    for case in cases:
        parts.extend((case, sampling) for sampling in _samplings(case, options))
    for wanted in {sampling for _, sampling in parts if sampling is not None}:
        _runs(wanted, options)  # a model that is missing is told before hours of work
    with TemporaryDirectory(prefix="blindcine-clips-", ignore_cleanup_errors=True) as clips:
        for number, (case, sampling) in enumerate(parts):
            title = case.name if sampling is None else f"{case.name}, {sampling}"

            def part(phase: str, fraction: float, number: int = number, title: str = title) -> None:
                report(f"{title}: {phase}", (number + min(1.0, fraction)) / len(parts))

            try:
                yield from _evaluate_one(case, sampling, options, Path(clips), part)
            except Cancelled:
                raise
            except FAILURES as error:
                if on_failure is None:
                    raise
                on_failure(case, sampling or "", error)


def _samplings(case: Case, options: EvaluationOptions) -> Sequence[Sampling | None]:
    """What a data set is simulated in; a raw scan has its own sampling, which is known when it is read."""
    return (None,) if case.kind == "scan" else options.samplings


def evaluate(
    paths: Sequence[Path],
    methods: Sequence[str],
    *,
    device: str = "auto",
    progress: Report | None = None,
    cache: ResultCache | None = None,
) -> Iterator[Score]:
    """Reconstruct raw files by several methods and score them against their truth.

    Args:
        paths: raw files, or folders of them.
        methods: names of `recon_backend.methods`.
        device: "auto", "cpu" or "gpu".
        progress: called with (phase, fraction of the whole); may raise `Cancelled`.
        cache: where results are looked for, and kept.

    Raises:
        ReconstructionError: see `raw_files`, `load_truth`, `reconstruct_all`.
        Cancelled: `progress` asked for it.
    """
    cases = [
        Case(path.stem, path.resolve().parent.name, "scan", path, block=path.stem)
        for path in raw_files(paths)
    ]
    options = EvaluationOptions(methods=methods, device=device, cache=cache)
    for comparison in evaluate_cases(cases, options, progress=progress):
        yield from comparison.scores


def _evaluate_one(
    case: Case, sampling: Sampling | None, options: EvaluationOptions, clips: Path, report: Report
) -> Iterator[Comparison]:
    if sampling is None:
        report("Reading", 0.0)
        acquisition = open_acquisition(case.path)
        if acquisition.sampling not in options.samplings:
            return
        scan = _opened(case, acquisition)
        begun = 0.0
    else:
        report("Simulating", 0.0)
        scan = _simulated(case, sampling, options, clips)
        begun = _SIMULATION_SHARE
        yield from _ceilings(scan)
    runs = _runs(scan.sampling, options)
    tried = _best_runs(options) if options.best_grid else []
    count = len(runs) + len(tried)

    def of(first: int, share: int) -> Report:
        return lambda phase, fraction: report(phase, begun + (1 - begun) * (first + share * fraction) / count)

    yield from _reconstructed(scan, runs, options, of(0, len(runs)))
    if tried:
        best: Comparison | None = None
        for number, run in enumerate(tried):
            for found in _reconstructed(scan, [run], options, of(len(runs) + number, 1)):
                if best is None or found.scores[-1].ssim > best.scores[-1].ssim:
                    best = found
        if best is not None:
            yield best


def _opened(case: Case, acquisition: Acquisition) -> _Scan:
    from recon_backend.reconstruct import Preparation

    truth = load_truth(case.path)
    preparation = Preparation(acquisition)
    profile = profile_of(preparation, truth)
    shaded = replace(truth, frames=truth.frames * profile)
    return _Scan(case, acquisition.sampling, preparation, {"plain": truth, "shaded": shaded})


def _simulated(case: Case, sampling: Sampling, options: EvaluationOptions, clips: Path) -> _Scan:
    from recon_backend.evaluation.simulated import (
        SKIPPED_FRAMES,
        noisy_target,
        simulate_case,
        with_noise_floor,
    )
    from recon_backend.reconstruct import Preparation

    skipped = SKIPPED_FRAMES[sampling]
    if options.frames <= skipped:
        raise ReconstructionError(f"{sampling} scans need at least {skipped + 1} frames.")
    simulated = simulate_case(case, sampling, options.frames, options.seed, clips)
    acquisition = simulated.acquisition
    preparation = Preparation(acquisition)
    targets = {"noisy": noisy_target(simulated, preparation)}
    ceilings = {}
    if case.kind != "kspace":  # what a scanner measured has noise, and nobody knows it without
        targets["truth"] = simulated.truth
        with_floor = with_noise_floor(simulated, preparation)
        ceilings = {CEILING: simulated.truth[skipped:], CEILING_WITH_FLOOR: with_floor[skipped:]}
    spacing, times = acquisition.pixel_spacing_mm, acquisition.frame_times_s
    # The times of the frames that are left still count from the scan's first frame, see `_compared`.
    references = {name: Movie(frames[skipped:], spacing, times[skipped:]) for name, frames in targets.items()}
    return _Scan(case, sampling, preparation, references, ceilings)


def _ceilings(scan: _Scan) -> Iterator[Comparison]:
    """The noise-free truth as if it were a reconstruction, without and with the noise floor."""
    for label, images in scan.ceilings.items():
        noisy = scan.references["noisy"].frames
        score = _score(scan, label, "noisy", noisy, images, {})
        # The figure shows the target itself in this place.
        yield Comparison(scan.case, (score,), *on_one_scale(scan.references["truth"].frames, noisy))


def _runs(sampling: str, options: EvaluationOptions) -> list[_Run]:
    """The reconstructions of a sampling.

    Raises:
        ReconstructionError: there is no model for a method.
    """
    from recon_backend import models
    from recon_backend.jobs import ALL, method_names

    names = method_names(options.methods or [ALL], sampling)
    runs: list[_Run] = []
    for name in names:
        if name in methods.TRAINING_KIND:
            if options.models:
                continue
            runs.append(_Run(name, name, models.find(sampling, methods.TRAINING_KIND[name])))
        else:
            runs.append(_Run(name, name, settings=options.settings))
    for model in options.models:
        if model.manifest.sampling == sampling:
            method = _method_of(model)
            taken = any(run.method == method for run in runs)
            runs.append(_Run(f"{method} ({model.manifest.name})" if taken else method, method, model))
    return runs


def _method_of(model: ShelfModel) -> str:
    for method, kind in methods.TRAINING_KIND.items():
        if model.manifest.training_kind == kind:
            return method
    return methods.NATURAL


def _best_runs(options: EvaluationOptions) -> list[_Run]:
    base = named_settings(options.settings)
    return [
        _Run(
            BEST_COMPRESSED_SENSING,
            methods.COMPRESSED_SENSING,
            settings=base
            if base.regularisation is None and base.relative_regularisation == value
            else replace(base, name="custom", regularisation=None, relative_regularisation=value),
        )
        for value in options.best_grid
    ]


def _reconstructed(
    scan: _Scan, runs: Sequence[_Run], options: EvaluationOptions, report: Report
) -> Iterator[Comparison]:
    """The runs of a scan; those that differ in their method only share one call."""
    from recon_backend.reconstruct import reconstruct_all

    left = list(runs)
    done = 0
    while left:
        batch: list[_Run] = []
        for run in left:
            if all(run.method != other.method for other in batch):
                batch.append(run)
        left = [run for run in left if run not in batch]
        by_method = {run.method: run for run in batch}
        settings = next((run.settings for run in batch if run.method == methods.COMPRESSED_SENSING), None)

        def part(phase: str, fraction: float, done: int = done, count: int = len(batch)) -> None:
            report(phase, (done + count * fraction) / len(runs))

        for name, movie in reconstruct_all(
            scan.preparation,
            list(by_method),
            progress=part,
            device=options.device,
            settings=settings or options.settings,
            shelf={run.method: run.model for run in batch if run.model is not None},
            cache=options.cache,
        ):
            yield _compared(scan, by_method[name].label, movie)
        done += len(batch)


def _compared(scan: _Scan, label: str, movie: Movie) -> Comparison:
    scores = []
    pair: tuple[Frames, Frames] | None = None
    for kind, reference in scan.references.items():
        if scan.case.kind == "scan":
            in_movie, in_truth = matching_frames(movie, reference)
        else:  # the same clock, and the same first frame for all methods
            in_movie, in_truth = _same_times(movie, reference)
        target, images = reference.frames[in_truth], movie.frames[in_movie]
        scores.append(_score(scan, label, kind, target, images, movie.provenance))
        pair = target, images
    assert pair is not None  # a scan has references
    return Comparison(scan.case, tuple(scores), *on_one_scale(*pair), movie.provenance)


def _same_times(movie: Movie, reference: Movie) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Indices (into the movie, into the reference) of all frames of the reference."""
    times = reference.frame_times_s
    places = np.searchsorted(movie.frame_times_s, times)
    if places[-1] >= len(movie.frames) or not np.array_equal(movie.frame_times_s[places], times):
        raise ReconstructionError("The reconstruction lacks frames of the simulated scan.")
    return places, np.arange(len(reference.frames))


def _score(
    scan: _Scan, label: str, reference: str, target: Frames, images: Frames, provenance: Mapping[str, Any]
) -> Score:
    mse_db, psnr_db, ssim = compare(target, images)
    parameters = provenance.get("parameters", {})
    seconds = float(provenance.get("seconds", {}).get("reconstruction", 0.0))
    return Score(
        scan.case.name,
        scan.sampling,
        label,
        reference,
        mse_db,
        psnr_db,
        ssim,
        len(images),
        seconds,
        group=scan.case.group,
        kind=scan.case.kind,
        block=scan.case.block,
        model=str((provenance.get("model") or {}).get("name", "")),
        regularisation=parameters.get("relative_regularisation"),
    )
