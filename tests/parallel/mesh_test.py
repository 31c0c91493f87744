"""The choice of a mesh, and refusals of sizes that do not divide."""

import pytest
from tiny_run import tiny_config

from synthct_jax.parallel import sharding
from synthct_jax.parallel.mesh import choose_mesh


def mesh(devices=8, processes=1, **fields):
    config = tiny_config()
    config.train.global_batch = 8
    config.update_from_flattened_dict(
        {name.replace("__", "."): value for name, value in fields.items()}
    )
    shape = dict(choose_mesh(config, _devices(devices, processes)).shape)
    seeds = shape.pop("seeds")
    return {"seeds": seeds} | shape if seeds > 1 else shape


class _Device:
    """A stand-in with the attributes of a device that a mesh reads."""

    platform = "cpu"

    def __init__(self, number, process):
        self.id, self.process_index = number, process


def _devices(count, processes):
    return [_Device(n, n * processes // count) for n in range(count)]


def test_all_devices_share_the_batch_by_default():
    assert mesh() == {"data": 8, "fsdp": 1, "space": 1}


def test_axis_of_minus_one_takes_the_remaining_devices():
    assert mesh(mesh__space=2) == {"data": 4, "fsdp": 1, "space": 2}
    assert mesh(mesh__data=2, mesh__fsdp=-1) == {"data": 2, "fsdp": 4, "space": 1}


def test_small_batch_uses_the_most_devices_that_divide_it(caplog):
    assert mesh(train__global_batch=6)["data"] == 6
    assert mesh(train__global_batch=1, mesh__space=2) == {
        "data": 1,
        "fsdp": 1,
        "space": 2,
    }
    assert "trained on 2 of 8 devices; a multiple of 4 would use all" in caplog.text


def test_explicit_mesh_does_not_warn(caplog):
    assert mesh(mesh__data=2) == {"data": 2, "fsdp": 1, "space": 1}
    assert not caplog.text


def test_trainings_come_before_images():
    assert mesh(mesh__seeds=4) == {"seeds": 4, "data": 2, "fsdp": 1, "space": 1}
    assert mesh(mesh__seeds=6)["seeds"] == 6
    assert mesh(mesh__seeds=6, processes=2)["seeds"] == 2
    assert mesh(mesh__seeds=3) == {"seeds": 3, "data": 2, "fsdp": 1, "space": 1}
    assert mesh(mesh__seeds=16, mesh__space=2)["seeds"] == 4
    with pytest.raises(ValueError, match="mesh.seeds is 0, expected at least 1"):
        mesh(mesh__seeds=0)


def test_several_processes_use_all_devices_or_refuse():
    assert mesh(processes=2)["data"] == 8
    with pytest.raises(ValueError, match="6, which does not divide over 8 shares"):
        mesh(processes=2, train__global_batch=6)
    with pytest.raises(ValueError, match="4 of 8 devices; several processes use all"):
        mesh(processes=2, mesh__data=4)


def test_microbatches_are_divided_too():
    assert mesh(train__accumulate=2)["data"] == 4
    with pytest.raises(
        ValueError, match="is 8 in 2 microbatches.*the next that does is 16"
    ):
        mesh(train__accumulate=2, mesh__data=8)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mesh__space": 3}, "mesh.space=3: 3 does not divide the 8 devices"),
        ({"mesh__data": 16}, "mesh.data=16.*: 16 are not among the 8 devices"),
        ({"mesh__fsdp": -1}, "mesh.data and mesh.fsdp are -1, expected one at most"),
        ({"mesh__space": 0}, "mesh.space is 0, expected -1 or at least 1"),
        ({"train__accumulate": 3}, "global_batch is 8 and train.accumulate 3"),
        ({"mesh__data": 3}, "is 8, which does not divide over 3 shares.*next.* is 9"),
        ({"mesh__space": 8, "data__size": 16}, "mesh.space is 8, with images of 16"),
    ],
)
def test_sizes_that_do_not_divide_are_refused_with_their_field(fields, message):
    with pytest.raises(ValueError, match=message):
        mesh(**fields)


@pytest.mark.parametrize(
    ("processes", "devices", "space", "shares"),
    [
        (2, 8, 1, [(0, 2), (1, 2)]),
        (2, 8, 8, [(0, 1), (0, 1)]),  # each has rows of all images
        (4, 8, 4, [(0, 2), (0, 2), (1, 2), (1, 2)]),
        # One and a half images each: those in the middle read all.
        (4, 12, 2, [(0, 3), (0, 1), (0, 1), (2, 3)]),
    ],
)
def test_process_reads_the_images_of_its_own_devices(
    processes, devices, space, shares, monkeypatch
):
    whole = sharding.make_mesh(_devices(devices, processes), space=space)
    for process, share in enumerate(shares):
        monkeypatch.setattr(sharding.jax, "process_index", lambda p=process: p)
        assert sharding.share_of_process(whole) == share


@pytest.mark.parametrize(
    ("processes", "seeds", "members", "shares"),
    [
        (2, 2, [range(3), range(3, 6)], [(0, 1), (0, 1)]),
        (2, 1, [range(6), range(6)], [(0, 2), (1, 2)]),
        (4, 2, [range(3), range(3), range(3, 6), range(3, 6)], [(0, 2), (1, 2)] * 2),
        (8, 2, [range(3)] * 4 + [range(3, 6)] * 4, [(i, 4) for i in range(4)] * 2),
    ],
)
def test_process_reads_for_the_members_on_its_own_devices(
    processes, seeds, members, shares, monkeypatch
):
    """Six members on eight devices, in one or two groups."""
    whole = sharding.make_mesh(_devices(8, processes), seeds=seeds)
    for process in range(processes):
        monkeypatch.setattr(sharding.jax, "process_index", lambda p=process: p)
        assert sharding.members_of_process(whole, 6) == members[process]
        assert sharding.share_of_process(whole) == shares[process]
