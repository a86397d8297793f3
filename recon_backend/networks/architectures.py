"""The network of each sampling by name, with its published size and a configurable one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from recon_backend.networks import fastdvdnet, unet3d, varnet


@dataclass(frozen=True)
class Architecture:
    """What is needed to build a network again.

    Attributes:
        network: "varnet", "unet3d" or "fastdvdnet".
        filters: channels of each UNet level, shallow first.
        cascades: unrolled steps; VarNet only, else 0.
    """

    network: str
    filters: tuple[int, ...]
    cascades: int = 0

    def build(self, precision: str | None = None, *, random: bool = True) -> keras.Model:
        """The untrained network.

        Args:
            precision: the dtype policy of its layers; None = the one that is set.
            random: draw the kernels, for training. Where they are assigned afterwards, zeros will do: JAX
                compiles the drawing of every shape, which takes ten times as long as all the rest.

        Raises:
            ValueError: the network's name is unknown.
        """
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(precision or before)
        try:
            return self._build("he_uniform" if random else _zeros)
        finally:
            keras.config.set_dtype_policy(before)

    def _build(self, initial: Any) -> keras.Model:  # noqa: ANN401
        if self.network == "varnet":
            return varnet.build_varnet(self.filters, self.cascades, initial)
        if self.network == "unet3d":
            return unet3d.build_unet3d(self.filters, initial=initial)
        if self.network == "fastdvdnet":
            return fastdvdnet.build_fastdvdnet(self.filters, initial)
        raise ValueError(f"network is {self.network!r}, but varnet, unet3d and fastdvdnet are known.")


def _zeros(shape: Sequence[int], dtype: str | None = None) -> Any:  # noqa: ANN401
    """Zeros without a compiler: an initialiser of Keras."""
    return keras.ops.convert_to_tensor(np.zeros(tuple(shape), dtype or "float32"))


PUBLISHED: dict[str, Architecture] = {
    "cartesian": Architecture("varnet", varnet.PUBLISHED_FILTERS, varnet.PUBLISHED_CASCADES),
    "radial": Architecture("unet3d", unet3d.PUBLISHED_FILTERS),
    "spiral": Architecture("fastdvdnet", fastdvdnet.PUBLISHED_FILTERS),
}


def architecture_for(
    sampling: str, filters: Sequence[int] | None = None, cascades: int | None = None
) -> Architecture:
    """The published architecture of a sampling, with other filter or cascade counts if given."""
    published = PUBLISHED[sampling]
    return Architecture(
        published.network,
        tuple(filters or published.filters),
        published.cascades if cascades is None else cascades,
    )
