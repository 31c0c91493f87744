"""Translation of a volume: slices for the network, and HU on the MR's own pixels."""

from collections.abc import Iterator

import numpy as np

from input_pipeline.intensity import AIR_HU
from input_pipeline.network_input import NetworkInput, cut_slices
from input_pipeline.volume import Volume
from synthct_jax.inference.loaded_model import LoadedModel


def to_network(model: LoadedModel, axial: Volume) -> NetworkInput:
    """Cut a scan into the slices that a generator gets; errors as in `cut_slices`."""
    return cut_slices(axial, model.data, multiple=model.method.size_multiple)


def translate_input(
    model: LoadedModel, network_input: NetworkInput
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield HU and their spread over views on the MR's own pixels.

    They come in batches of slices, (n, rows, columns) float32: accelerators compute the
    next batch while the caller uses this one.

    Raises:
        FloatingPointError: at a batch that is not finite.
    """
    stop = 0
    for batch, batch_spread in model.translator.stream(
        model.params, network_input.mr.stored
    ):
        hu = network_input.from_grid(batch, AIR_HU)
        spread = np.zeros_like(hu)
        if model.has_spread:
            spread = network_input.from_grid(batch_spread, 0)
        start, stop = stop, stop + len(hu)
        if not np.isfinite(hu).all():
            raise FloatingPointError(
                f"{model.source}: the network's HU of slices {start} to "
                f"{stop - 1} hold NaN or infinite values"
            )
        if model.data["mask_outside_body"]:  # the network has not seen it
            outside = ~network_input.body[start:stop]
            hu[outside], spread[outside] = AIR_HU, 0
        yield hu, spread


def synthesise(
    model: LoadedModel, axial: Volume
) -> tuple[Iterator[tuple[np.ndarray, np.ndarray]], np.ndarray]:
    """Return batches of HU and their spread, and the mask of the body.

    The mask is (slices, rows, columns) bool; all else is as for `to_network` and
    `translate_input`.

    Raises:
        ValueError: the generator needs a channel that the scan does not have.
    """
    model = model.with_channels(axial.channels)
    network_input = to_network(model, axial)
    return translate_input(model, network_input), network_input.body
