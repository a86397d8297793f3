"""The network of each sampling by name, with its published size and a configurable one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras

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

    def build(self, precision: str | None = None) -> keras.Model:
        """The untrained network.

        Args:
            precision: the dtype policy of its layers; None = the one that is set.

        Raises:
            ValueError: the network's name is unknown.
        """
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(precision or before)
        try:
            return self._build()
        finally:
            keras.config.set_dtype_policy(before)

    def _build(self) -> keras.Model:
        if self.network == "varnet":
            return varnet.build_varnet(self.filters, self.cascades)
        if self.network == "unet3d":
            return unet3d.build_unet3d(self.filters)
        if self.network == "fastdvdnet":
            return fastdvdnet.build_fastdvdnet(self.filters)
        raise ValueError(f"network is {self.network!r}, but varnet, unet3d and fastdvdnet are known.")


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
