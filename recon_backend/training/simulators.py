"""Spawned processes that simulate training batches and put them into a bounded queue.

They must never import Keras: a simulator needs a tenth of a network's memory and start-up time. So this
module imports none of it.
"""

from __future__ import annotations

import multiprocessing
import queue
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from recon_backend.acquisition import Sampling
from recon_backend.preparation import NORMALISATION_RULE
from recon_backend.simulation.ranges import SimulationRanges
from recon_backend.training.samples import PatchShape, draw_batches
from recon_backend.training.sources import open_source

_QUEUE_LENGTH = 6
_QUEUE_TIMEOUT_S = 300.0
_PARENT_CHECK_S = 2.0

Array = npt.NDArray[np.float32]
Batch = tuple[list[Array], Array]


class _Sink(Protocol):
    """What a simulator process needs of the queue."""

    def put(self, item: Batch, block: bool = True, timeout: float | None = None) -> None: ...


def simulate_forever(
    sampling: Sampling,
    data: Path,
    cache: Path,
    seed: list[int],
    patch: PatchShape,
    ranges: SimulationRanges,
    normalisation: str,
    sink: _Sink,
) -> None:
    """Body of a simulator process: put batches into the queue until the parent ends it, or is gone.

    Args:
        sampling: which acquisition to simulate.
        data: folder of videos or file of cine images.
        cache: folder of decoded videos.
        seed: entropy of this process's draws.
        patch: how clips are cut.
        ranges: what is drawn how.
        normalisation: see `draw_batches`.
        sink: the queue.
    """
    source = open_source(data, cache, "train", published=ranges.published_reading)
    rng = np.random.default_rng(seed)
    parent = multiprocessing.parent_process()
    while True:
        for batch in draw_batches(source, sampling, patch, rng, ranges, normalisation=normalisation):
            while True:
                # A trainer that was killed cannot end its simulators, so they look for it themselves.
                if parent is not None and not parent.is_alive():
                    return
                try:
                    sink.put(batch, timeout=_PARENT_CHECK_S)
                    break
                except queue.Full:
                    continue


@contextmanager
def running_simulators(
    *,
    sampling: Sampling,
    data: Path,
    cache: Path,
    seed: list[int],
    patch: PatchShape,
    processes: int,
    ranges: SimulationRanges | None = None,
    normalisation: str = NORMALISATION_RULE,
) -> Iterator[Callable[[], Batch]]:
    """Simulators for the time of a `with` block; gives the function that takes the next batch.

    With one process the batches and their order follow from the seed. The function raises RuntimeError if all
    simulators have ended or none delivers for five minutes.
    """
    context = multiprocessing.get_context("spawn")
    batches: Any = context.Queue(_QUEUE_LENGTH)
    workers: list[BaseProcess] = [
        context.Process(
            target=simulate_forever,
            args=(
                sampling,
                data,
                cache,
                [*seed, number],
                patch,
                ranges or SimulationRanges(),
                normalisation,
                batches,
            ),
            daemon=True,
        )
        for number in range(processes)
    ]
    for worker in workers:
        worker.start()

    def take() -> Batch:
        deadline = time.monotonic() + _QUEUE_TIMEOUT_S
        while True:
            try:
                batch: Batch = batches.get(timeout=_PARENT_CHECK_S)
                return batch
            except queue.Empty:
                if not any(worker.is_alive() for worker in workers) or time.monotonic() > deadline:
                    raise RuntimeError(
                        "The simulation stopped delivering samples; see the messages above."
                    ) from None

    try:
        yield take
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join(10)
        batches.close()
        batches.cancel_join_thread()
