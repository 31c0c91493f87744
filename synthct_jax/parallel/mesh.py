"""The choice of a mesh for a configuration; each refusal names the field."""

import math
from collections.abc import Sequence

import jax
from absl import logging
from jax.sharding import Mesh
from ml_collections import ConfigDict

from input_pipeline.dataset.augment import image_size
from synthct_jax.parallel import sharding


def choose_mesh(
    config: ConfigDict, devices: Sequence[jax.Device] | None = None
) -> Mesh:
    """Return the device mesh that `config.mesh` describes.

    Devices are first split evenly into as many groups as possible, which train the
    members of `mesh.seeds` in parallel; the number of groups divides that of members.
    The other axes divide the devices of a group. One of them may be -1 and takes all
    that are left; `mesh.data`, in a single process, as many as divide a microbatch.
    Several processes must use all devices.

    Args:
        devices: those to use; by default all.

    Raises:
        ValueError: the axes do not fit the devices, the batch or the image size.
    """
    devices = jax.devices() if devices is None else devices
    sizes = {axis: int(config.mesh[axis]) for axis in sharding.BATCH_AXES}
    open_axes = [axis for axis, size in sizes.items() if size == -1]
    for axis, size in sizes.items():
        if size < 1 and size != -1:
            raise ValueError(f"mesh.{axis} is {size}, expected -1 or at least 1")
    if len(open_axes) > 1:
        raise ValueError(
            f"mesh.{open_axes[0]} and mesh.{open_axes[1]} are -1, expected one at most"
        )
    several = len({device.process_index for device in devices}) > 1
    fixed = math.prod(size for size in sizes.values() if size != -1)
    shown = ", ".join(f"mesh.{axis}={size}" for axis, size in sizes.items())
    if len(devices) % fixed if open_axes else len(devices) < fixed:
        raise ValueError(
            f"{shown}: {fixed} {'does not divide' if open_axes else 'are not among'} "
            f"the {len(devices)} devices"
        )
    seeds = _groups(config.mesh.seeds, len(devices), fixed, several=several)
    count = len(devices) // seeds  # of each group
    if several and not open_axes and fixed < count:
        raise ValueError(
            f"{shown}: {fixed} of {count} devices; several processes use all"
        )
    batch, microbatches = config.train.global_batch, config.train.accumulate
    if batch % microbatches:
        raise ValueError(
            f"train.global_batch is {batch} and train.accumulate {microbatches}, "
            "expected the first to be a multiple of the second"
        )
    for axis in open_axes:
        sizes[axis] = count // fixed
    if "data" in open_axes and not several:
        sizes["data"] = max(
            n
            for n in range(1, sizes["data"] + 1)
            if n == 1 or not batch // microbatches % (n * sizes["fsdp"])
        )
    images, used = sizes["data"] * sizes["fsdp"], math.prod(sizes.values())
    multiple = microbatches * images
    if batch % multiple:
        microbatched = microbatches > 1
        split = f" in {microbatches} microbatches" if microbatched else ""
        raise ValueError(
            f"train.global_batch is {batch}{split}, which does not divide over "
            f"{images} shares of a batch ({shown}): the next that does is "
            f"{(batch // multiple + 1) * multiple}"
        )
    if used < count and open_axes:
        logging.warning(
            "train.global_batch is %d: it is trained on %d of %d devices; a multiple "
            "of %d would use all",
            *(batch, used, count, microbatches * count // sizes["space"]),
        )
    _check_rows(config, sizes["space"])
    logging.info(
        "Mesh of %d of %d device%s: %s. Of %d images a step %d at a time on each%s",
        *(seeds * used, len(devices), "s" if len(devices) > 1 else ""),
        ", ".join(f"{axis} {size}" for axis, size in sizes.items()),
        *(batch, batch // microbatches // images),
        f", {microbatches} times" if microbatches > 1 else "",
    )
    if config.mesh.seeds > 1:
        logging.info(
            "%d members, %d of them in parallel with %d of these devices each",
            *(config.mesh.seeds, seeds, used),
        )
    return sharding.make_mesh(
        devices[: seeds * used],
        seeds=seeds,
        fsdp=sizes["fsdp"],
        space=sizes["space"],
    )


def _groups(members: int, devices: int, least: int, *, several: bool) -> int:
    """Return the number of groups of devices for members, of `least` or more each.

    Several processes use all devices; a single one may leave some.
    """
    if members < 1:
        raise ValueError(f"mesh.seeds is {members}, expected at least 1")
    return max(
        n
        for n in range(1, members + 1)
        if n == 1
        or (members % n == 0 and n * least <= devices)
        and not (several and devices % (n * least))
    )


def _check_rows(config: ConfigDict, space: int) -> None:
    """Raise ValueError if rows do not divide, or a border were a whole share."""
    size = image_size(config.data)
    halvings = max(config.model.downsamplings, config.model.discriminator_layers)
    rows, odd = divmod(size, space * 2**halvings)
    if space > 1 and (odd or rows < 2):
        raise ValueError(
            f"mesh.space is {space}, with images of {size} rows that the networks "
            f"halve {halvings} times: expected a multiple of {space * 2**halvings}, "
            "with two or more rows on each device in the end"
        )
