"""From an acquisition to movies: preparation once, then each method, timed step by step, with provenance.

 All methods of a scan share coil compression, sensitivities and scale, so that nothing but the method differs
between arms.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from recon_backend import device, inference, methods, models
from recon_backend.acquisition import Acquisition
from recon_backend.cache import ResultCache, acquisition_sha256, result_key, software_versions
from recon_backend.coils import VIRTUAL_COILS, combined_magnitude
from recon_backend.compressed_sensing_settings import (
    DEFAULT_SETTINGS,
    CompressedSensingSettings,
    named_settings,
)
from recon_backend.errors import ReconstructionError
from recon_backend.movie import Movie
from recon_backend.options import Combination
from recon_backend.preparation import NORMALISATION_RULE, Prepared, prepare
from recon_backend.tracking import Step, Tracker

ProgressCallback = Callable[[str, float], None]

_LOGGER = logging.getLogger(__name__)

# Nanoseconds a pixel and frame on two cores, and seconds that the first call compiles, until this machine's
# own times are known: by network, or by method and sampling.
_GUESSED_NS = {
    "gridded/cartesian": 100.0,
    "gridded/radial": 300.0,
    "gridded/spiral": 400.0,
    "compressed_sensing/cartesian": 1_600.0,
    "compressed_sensing/radial": 4_500.0,
    "compressed_sensing/spiral": 5_500.0,
    "varnet": 5_500.0,
    "unet3d": 3_500.0,
    "fastdvdnet": 1_700.0,
}
_GUESSED_COMPILING_S = {methods.COMPRESSED_SENSING: 3.0, methods.NATURAL: 1.5, methods.CARDIAC: 1.5}
_GUESSED_PREPARATION_NS = 200.0  # a sample
_GUESSED_START_S = 8.0
_GUESSED_LOADING_S = 1.0
_RUNNERS = {
    "varnet": inference.run_varnet,
    "unet3d": inference.run_unet3d,
    "fastdvdnet": inference.run_fastdvdnet,
}


class Preparation:
    """What all methods share of one scan (`Prepared`), made once, when it is first needed.

    Attributes:
        acquisition: the scan.
        options: how it is prepared where that is not the default: arguments of `prepare`, ready for JSON.
        seconds: what it took; 0 as long as nobody needed it.
    """

    def __init__(self, acquisition: Acquisition, options: Mapping[str, Any] | None = None) -> None:
        """Remember the scan and the options."""
        self.acquisition = acquisition
        self.options = dict(options or {})
        self.seconds = 0.0
        self._prepared: Prepared | None = None

    @property
    def done(self) -> bool:
        """Whether it has been made."""
        return self._prepared is not None

    def get(self, report: Callable[[float], None] | None = None) -> Prepared:
        """Make it, or return what was made; `report` takes the fraction done. Errors as in `prepare`."""
        if self._prepared is None:
            began = time.perf_counter()
            self._prepared = prepare(self.acquisition, **self.options, progress=report)
            self.seconds = time.perf_counter() - began
        return self._prepared


def reconstruct(
    acquisition: Acquisition, method: str, *, progress: ProgressCallback | None = None, device: str = "auto"
) -> Movie:
    """Reconstruct one scan by one method.

    Args:
        acquisition: the scan.
        method: a name of `recon_backend.methods`.
        progress: called with (phase, fraction of the whole); may raise `Cancelled`.
        device: "auto", "cpu" or "gpu".

    Returns:
        The movie, with provenance. FastDVDNet's movie starts at the fifth frame.

    Raises:
        ReconstructionError: the method is unknown, has no model for this sampling, or the scan cannot be
            reconstructed.
    """
    return next(reconstruct_all(acquisition, [method], progress=progress, device=device))[1]


def reconstruct_all(
    scan: Acquisition | Preparation,
    names: Sequence[str],
    *,
    progress: ProgressCallback | Tracker | None = None,
    device: str = "auto",
    settings: str | CompressedSensingSettings = DEFAULT_SETTINGS,
    combination: Combination = "root_sum_of_squares",
    shelf: Mapping[str, models.ShelfModel] | None = None,
    cache: ResultCache | None = None,
    reading_s: float | None = None,
) -> Iterator[tuple[str, Movie]]:
    """Reconstruct one scan by several methods, yielding each movie as it is ready: first those in the cache.

    Arguments and errors as in `reconstruct`; all names and models are checked before work begins.

    Args:
        scan: the scan, or what was prepared of it.
        names: names of methods.
        progress: takes (phase, fraction of the whole) and may raise `Cancelled`; a `Tracker` also learns from
            this job what the next one will take. Either is also called from another thread.
        device: "auto", "cpu" or "gpu".
        settings: name of the settings of compressed sensing, or settings of one's own.
        combination: how gridding combines the coils, see `recon_backend.coils.combined_magnitude`.
        shelf: models for some of the networks among `names`, instead of those that the shelf would give.
        cache: where results are looked for, and kept.
        reading_s: what reading the scan took, for provenance.
    """
    preparation = scan if isinstance(scan, Preparation) else Preparation(scan)
    chosen = named_settings(settings) if isinstance(settings, str) else settings
    for name in names:
        methods.check_method(name)
    shelf = _with_given(preparation.acquisition, names, shelf)
    _check_length(preparation.acquisition, shelf)
    tracker = progress if isinstance(progress, Tracker) else _plain_tracker(progress)
    jobs = _jobs(preparation, names, shelf, chosen, combination, device)
    return _reconstruct_all(preparation, jobs, tracker, device, cache, reading_s)


def result_keys(
    preparation: Preparation,
    names: Sequence[str],
    settings: str = DEFAULT_SETTINGS,
    combination: Combination = "root_sum_of_squares",
    shelf: Mapping[str, models.ShelfModel] | None = None,
) -> dict[str, str]:
    """The key by which `recon_backend.cache` knows each method's result; it is also in the provenance.

    Arguments as in `reconstruct_all`.

    Raises:
        ReconstructionError: a network has no model for this sampling.
    """
    shelf = _with_given(preparation.acquisition, names, shelf)
    jobs = _jobs(preparation, names, shelf, named_settings(settings), combination, "auto")
    return {job.name: job.key for job in jobs}


def _plain_tracker(progress: ProgressCallback | None) -> Tracker:
    if progress is None:
        return Tracker(None)
    return Tracker(lambda status: progress(status.phase, status.fraction))


def _with_given(
    acquisition: Acquisition, names: Sequence[str], given: Mapping[str, models.ShelfModel] | None
) -> dict[str, models.ShelfModel]:
    """The model of each network among `names`: the one that is given, or the shelf's."""
    found = {name: model for name, model in (given or {}).items() if name in names}
    return methods.models_of(acquisition.sampling, [name for name in names if name not in found]) | found


def _check_length(acquisition: Acquisition, shelf: dict[str, models.ShelfModel]) -> None:
    causal = any(model.manifest.network == "fastdvdnet" for model in shelf.values())
    if causal and acquisition.frames < inference.WINDOW_FRAMES:
        raise ReconstructionError(
            f"{acquisition.name}: the spiral network needs at least {inference.WINDOW_FRAMES} frames, "
            f"but the scan has {acquisition.frames}."
        )


@dataclass(frozen=True)
class _Job:
    """One method on one scan: all that is chosen before computing begins.

    Attributes:
        name: the method.
        model: for networks.
        settings: for compressed sensing.
        parameters: what provenance and the cache's key record of the choice.
        key: of the result in the cache.
        step: for the tracker.
        warm_kind: the step's kind once this process has done it and nothing needs to be compiled.
        loading: the step that loads the model.
    """

    name: str
    model: models.ShelfModel | None
    settings: CompressedSensingSettings | None
    parameters: Mapping[str, Any]
    key: str
    step: Step
    warm_kind: str
    loading: Step | None

    @property
    def steps(self) -> list[Step]:
        """Its steps in order."""
        return [self.step] if self.loading is None else [self.loading, self.step]


# Kinds of steps that this process has done: what they need is compiled.
_warm: set[str] = set()


def _jobs(
    preparation: Preparation,
    names: Sequence[str],
    shelf: Mapping[str, models.ShelfModel],
    chosen: CompressedSensingSettings,
    combination: Combination,
    request: str,
) -> list[_Job]:
    acquisition = preparation.acquisition
    scan_sha256 = acquisition_sha256(acquisition)
    common = {
        "virtual_coils": min(VIRTUAL_COILS, acquisition.coils),
        "normalisation": NORMALISATION_RULE,
        "whitened": acquisition.whitened,
        **preparation.options,
    }
    pixels = acquisition.frames * acquisition.matrix[0] * acquisition.matrix[1]
    jobs = []
    for name in names:
        model = shelf.get(name)
        settings = chosen if name == methods.COMPRESSED_SENSING else None
        parameters = (settings.to_dict() if settings is not None else {}) | common
        if name == methods.GRIDDED:
            parameters["combination"] = combination
        if model is not None:
            parameters["network_normalisation"] = model.manifest.normalisation
        key = result_key(
            scan_sha256,
            name,
            parameters,
            model_sha256=model.manifest.weights_sha256 if model is not None else None,
            precision=_precision(name),
        )
        text = json.dumps(parameters, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        network = model.manifest.network if model is not None else ""
        kind = f"{request}/{acquisition.sampling}/{network or name}/{digest}"
        warm_kind = f"{kind}/{acquisition.frames}x{acquisition.matrix}"
        warm, cold = f"{kind}/warm", f"{kind}/cold"
        first, second = (warm, cold) if warm_kind in _warm else (cold, warm)
        label = methods.LABELS[name]
        guess_s = _GUESSED_NS[network or f"{name}/{acquisition.sampling}"] * 1e-9 * pixels
        if first == cold:
            guess_s += _GUESSED_COMPILING_S.get(name, 0.0)
        step = Step(label, first, pixels, guess_s, like=second)
        loading = None
        if model is not None:
            loading = Step(
                f"{label}: loading the model",
                f"{request}/loading/{network}",
                1.0,
                _GUESSED_LOADING_S,
                computes=False,
            )
        jobs.append(_Job(name, model, settings, parameters, key, step, warm_kind, loading))
    return jobs


def _precision(name: str) -> str:
    """What decides number format and framework of a method, as far as they can change its result.

    The probe's own answer is that of the machine, which the cache belongs to, and needs the framework.
    """
    if name == methods.GRIDDED:
        return "float32"
    wish = "float32" if name == methods.COMPRESSED_SENSING else os.environ.get("BLINDCINE_PRECISION", "auto")
    return f"{wish} ({os.environ['KERAS_BACKEND']})"


def _reconstruct_all(
    preparation: Preparation,
    jobs: Sequence[_Job],
    tracker: Tracker,
    request: str,
    cache: ResultCache | None,
    reading_s: float | None,
) -> Iterator[tuple[str, Movie]]:
    missing = []
    for job in jobs:
        movie = cache.load(job.key) if cache is not None else None
        if movie is None:
            missing.append(job)
        else:
            yield job.name, movie
    if not missing:
        return
    opening = _opening(preparation, [job.name for job in missing], request)
    tracker.plan([step for step, _ in opening] + [step for job in missing for step in job.steps])
    for step, work in opening:
        tracker.run(step, work)
    for job in missing:
        seconds = {} if reading_s is None else {"reading": reading_s}
        movie, _ = _one(preparation, job, tracker, request, seconds)
        if cache is not None:
            cache.store(job.key, movie)
        yield job.name, movie


def _opening(
    preparation: Preparation, names: Sequence[str], request: str
) -> list[tuple[Step, Callable[[Callable[[float], None]], object]]]:
    """The steps before the first method, each with its work: the framework, and what the methods share."""
    found: list[tuple[Step, Callable[[Callable[[float], None]], object]]] = []
    start = _start_step(names)
    if start is not None:
        found.append((start, lambda _report: _start(request)))
    if not preparation.done:
        samples = preparation.acquisition.kspace.size
        kind = f"preparation/{preparation.acquisition.sampling}"
        preparing = Step("Preparing coils", kind, float(samples), _GUESSED_PREPARATION_NS * 1e-9 * samples)
        found.append((preparing, preparation.get))
    return found


def _start_step(names: Sequence[str]) -> Step | None:
    if "keras" in sys.modules or all(name == methods.GRIDDED for name in names):
        return None
    kind = f"starting/{os.environ['KERAS_BACKEND']}"
    return Step("Starting the framework", kind, 1.0, _GUESSED_START_S, computes=False)


def _start(request: str) -> None:
    """Import the framework: the first time this takes longer than many a reconstruction."""
    with device.use(request):
        pass


class _Run:
    """One method on one prepared scan, on the device that was asked for or, if that is too small, on the CPU.

    Attributes:
        found: parameters that were decided on the way.
        notes: what happened, one sentence each.
        device: where it was computed.
    """

    def __init__(self, prepared: Prepared, job: _Job) -> None:
        self._prepared = prepared
        self._job = job
        self._network: Any = None
        self._instead = ""
        self.found: dict[str, Any] = {}
        self.notes: list[str] = []
        self.device = "cpu (finufft)"

    def exchange(self, kspace: npt.NDArray[np.complex64]) -> None:
        """Put other data of the same shape in the place of the scan's; maps, scale and the rest stay."""
        self._prepared = replace(self._prepared, kspace=kspace, _block=None)

    def load(self, request: str) -> None:
        """Load the method's model, in the precision that suits the device."""
        assert self._job.model is not None
        with device.use(request):
            self.found["precision"] = device.precision()
            self._network = self._job.model.load(self.found["precision"])

    def compute(self, request: str, report: Callable[[float], None]) -> npt.NDArray[np.float32]:
        """Frames (frame, y, x); where a GPU's memory does not suffice, the CPU computes."""
        if self._job.name == methods.GRIDDED:
            return _gridded(self._prepared, self._job.parameters["combination"], report)
        request = self._instead or request
        try:
            return self._on(request, report)
        except device.memory_errors() as error:
            if device.choose(request).kind != "gpu" or not device.is_out_of_memory(error):
                raise
        # Out of the handler, whose traceback holds the tensors of the attempt.
        self.notes.append("The GPU's memory does not hold this scan, so it was computed on the CPU.")
        _LOGGER.warning("%s: %s", self._job.name, self.notes[-1])
        if self._job.model is not None:
            self.load("cpu")
        self._instead = "cpu"
        return self._on("cpu", report)

    def _on(self, request: str, report: Callable[[float], None]) -> npt.NDArray[np.float32]:
        with device.use(request) as chosen:
            self.device = chosen.name
            if self._job.settings is not None:
                frames, more = _compressed_sensing(self._prepared, self._job.settings, report)
                self.found.update(more)
                return frames
            assert self._job.model is not None  # a method is gridding, compressed sensing, or a network
            manifest = self._job.model.manifest
            scan = self._prepared.under_rule(manifest.normalisation)
            return _RUNNERS[manifest.network](self._network, scan, report)


def _one(
    preparation: Preparation, job: _Job, tracker: Tracker, request: str, seconds: dict[str, float]
) -> tuple[Movie, _Run]:
    seconds["preparation"] = preparation.seconds
    prepared = preparation.get()
    run = _Run(prepared, job)
    if job.loading is not None:
        began = time.perf_counter()
        tracker.run(job.loading, lambda _report: run.load(request))
        seconds["model_loading"] = time.perf_counter() - began
    began = time.perf_counter()
    frames = tracker.run(job.step, partial(run.compute, request))
    seconds["reconstruction"] = time.perf_counter() - began
    _warm.add(job.warm_kind)
    acquisition = prepared.acquisition
    skipped = acquisition.frames - len(frames)
    movie = Movie(
        frames=frames.astype(np.float32),
        pixel_spacing_mm=acquisition.pixel_spacing_mm,
        frame_times_s=acquisition.frame_times_s[skipped:],
        provenance={
            "method": job.name,
            "raw_sha256": acquisition.source_sha256,
            "raw_name": acquisition.name,
            "sampling": acquisition.sampling,
            "parameters": {**job.parameters, **run.found, **prepared.settings, "scale": prepared.scale},
            "model": _model_record(job.model),
            "notes": [*acquisition.notes, *prepared.notes, *run.notes],
            "device": run.device,
            "seconds": {step: round(value, 4) for step, value in seconds.items()},
            "software": dict(software_versions()),
            "job_sha256": job.key,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    )
    return movie, run


class RepeatedMethods:
    """Methods on one scan, each computed on the data as they are and then again on data that differ.

    Coil compression, sensitivities, scale and the loaded model are those of the scan itself throughout, so
    that what changes between the results comes from the data alone.

    Args:
        preparation: the scan.
        names: names of methods.
        again: how often each will be computed again.
        what: what those computations are called ("replica").
        tracker: runs the steps.
        device: "auto", "cpu" or "gpu".
        settings: name of the settings of compressed sensing.
        combination: how gridding combines the coils.
        shelf: models for some of the networks, instead of those that the shelf would give.

    Raises:
        ReconstructionError: a method is unknown, has no model for this sampling, or needs more frames.
    """

    def __init__(
        self,
        preparation: Preparation,
        names: Sequence[str],
        again: int,
        what: str,
        tracker: Tracker,
        *,
        device: str = "auto",
        settings: str = DEFAULT_SETTINGS,
        combination: Combination = "root_sum_of_squares",
        shelf: Mapping[str, models.ShelfModel] | None = None,
    ) -> None:
        """Check everything before work begins."""
        for name in names:
            methods.check_method(name)
        shelf = _with_given(preparation.acquisition, names, shelf)
        _check_length(preparation.acquisition, shelf)
        self._preparation = preparation
        self._tracker = tracker
        self._request = device
        self._jobs = _jobs(preparation, names, shelf, named_settings(settings), combination, device)
        self._repeats = {
            job.name: [_again(job.step, f"{what} {number} of {again}") for number in range(1, again + 1)]
            for job in self._jobs
        }
        self._run: _Run | None = None

    def prepare(self) -> Prepared:
        """Plan all steps and do what the methods share; to be called before `first`."""
        names = [job.name for job in self._jobs]
        opening = _opening(self._preparation, names, self._request)
        steps = [step for step, _ in opening]
        for job in self._jobs:
            steps += [*job.steps, *self._repeats[job.name]]
        self._tracker.plan(steps)
        for step, work in opening:
            self._tracker.run(step, work)
        return self._preparation.get()

    def first(self, name: str) -> Movie:
        """The movie of the scan as it is, as `reconstruct` makes it."""
        job = next(job for job in self._jobs if job.name == name)
        movie, self._run = _one(self._preparation, job, self._tracker, self._request, {})
        return movie

    def again(self, name: str, number: int, kspace: npt.NDArray[np.complex64]) -> npt.NDArray[np.float32]:
        """Magnitude (frame, y, x) by the method that `first` was called for last.

        Args:
            name: the method.
            number: which of the repetitions, from 0.
            kspace: takes the place of `Prepared.kspace`.
        """
        assert self._run is not None
        self._run.exchange(kspace)
        frames = self._tracker.run(self._repeats[name][number], partial(self._run.compute, self._request))
        return frames.astype(np.float32)


def _again(step: Step, label: str) -> Step:
    """A method's step once more, when nothing needs to be compiled."""
    warm = step.kind if step.kind.endswith("/warm") else step.like
    return replace(step, label=f"{step.label}: {label}", kind=warm, like="")


def _model_record(model: models.ShelfModel | None) -> dict[str, Any] | None:
    if model is None:
        return None
    manifest = model.manifest
    return {
        "name": manifest.name,
        "weights_sha256": manifest.weights_sha256,
        "normalisation": manifest.normalisation,
        "caution": manifest.caution,
    }


def _gridded(
    prepared: Prepared, combination: Combination, report: Callable[[float], None]
) -> npt.NDArray[np.float32]:
    blocks = []
    for start in range(0, prepared.frames, inference.BLOCK_FRAMES):
        stop = min(start + inference.BLOCK_FRAMES, prepared.frames)
        images = prepared.zero_filled(start, stop)
        blocks.append(combined_magnitude(images, combination, prepared.sensitivities))
        report(stop / prepared.frames)
    return np.concatenate(blocks)


def _compressed_sensing(
    prepared: Prepared, settings: CompressedSensingSettings, report: Callable[[float], None]
) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
    """The magnitude, and what provenance records beside the settings."""
    from recon_backend.compressed_sensing import compressed_sensing

    result = compressed_sensing(prepared, settings, report)
    return np.abs(result.images), {
        "regularisation": result.regularisation,
        "objective_first": result.objectives[0],
        "objective_last": result.objectives[-1],
        "largest_eigenvalue": result.eigenvalue,
        "normal_operator": result.operator,
    }
