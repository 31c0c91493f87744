"""The PyTorch program computes the same step as ours, and comparisons run.

Needs the extra `peers`: make peers-test.
"""

import subprocess
import sys

import jax
import numpy as np
import pytest
from golden_record import BLOCKS, nhwc
from paths import REPOSITORY

from synthct_jax.model import methods
from tests.peers import programs

torch = pytest.importorskip("torch", reason="needs the extra peers")
from tests.peers.torch_cyclegan import TorchCycleGan  # noqa: E402

SMALL = dict(size=32, width=8, blocks=BLOCKS, batch=2)


def test_pytorch_has_our_parameter_counts_and_losses():
    """Also with two channels and an identity loss, unlike the reference."""
    config = programs.make_config({**SMALL, "channels": 2})
    method = methods.from_config(config)
    state = method.init(jax.random.key(0), batch=2, size=32)
    pytorch = TorchCycleGan(2, width=8, blocks=BLOCKS)
    ours = (state.generators, state.discriminators)
    for theirs, mine in zip(
        (pytorch.generators, pytorch.discriminators), ours, strict=True
    ):
        for name, network in theirs.items():
            count = sum(parameter.numel() for parameter in network.parameters())
            assert count == sum(leaf.size for leaf in jax.tree.leaves(mine[name]))
            with torch.no_grad():
                _copy(network, mine[name])
    rng = np.random.default_rng(0)
    mr, ct = (rng.uniform(-1, 1, (2, c, 32, 32)).astype("f4") for c in (2, 1))
    batch = {"mr": nhwc(mr), "ct": nhwc(ct)}
    state, expected = jax.jit(method.train_step)(state, batch)
    losses = pytorch.step(torch.from_numpy(mr), torch.from_numpy(ct))
    assert losses.keys() == expected.keys()
    for name, value in losses.items():
        assert value == pytest.approx(float(expected[name]), rel=1e-5), name
    # Adam's first step is the learning rate times the sign of the gradient, which
    # rounding decides where the gradient is nearly zero.
    weight = pytorch.generators["to_ct"].model[1].weight
    gradient = np.abs(weight.grad.numpy())
    clear = gradient > 1e-3 * gradient.max()
    assert clear.mean() > 0.99
    stem = np.asarray(state.generators["to_ct"]["stem"]["kernel"])
    difference = np.abs(weight.detach().numpy() - stem.transpose(3, 2, 0, 1))
    assert difference[clear].max() <= 1e-6


def _copy(network, params) -> None:
    """Copy our weights into the PyTorch layers, which have the same order."""
    if "stem" in params:
        order = ["stem", "down_0", "down_1", *range(BLOCKS), "up_1", "up_0", "head"]
    else:
        order = [f"conv_{layer}" for layer in range(5)]
    layers = [
        layer
        for layer in network.modules()
        if isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d)
    ]
    for name in order:
        if isinstance(name, int):
            kernels = [params["blocks"][f"conv_{i}"]["kernel"][name] for i in (0, 1)]
        else:
            kernels = [params[name]["kernel"]]
        for kernel in kernels:
            layer = layers.pop(0)
            transposed = isinstance(layer, torch.nn.ConvTranspose2d)
            axes = (2, 3, 0, 1) if transposed else (3, 2, 0, 1)
            layer.weight.copy_(torch.tensor(np.asarray(kernel).transpose(axes)))
    assert not layers


@pytest.mark.parametrize("kind", programs.PROGRAMS)
def test_programs_are_compared_round_by_round(kind):
    names = [name for name in programs.PROGRAMS[kind] if "compiled" not in name]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.peers", kind, "--rounds=2", "--slices=8"),
            *("--size=32", "--width=4", "--blocks=1", f"--programs={';'.join(names)}"),
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()[2:]]
    assert [row[0] for row in rows] == names
    for name, median, *_ in rows:
        assert float(median) > 0, (name, done.stderr)
