"""The PyTorch twin does the work that ours is measured against, no less and no more.

Runs where the extra `peers` is installed: make peers-test.
"""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from golden_record import (
    BLOCKS,
    DISCRIMINATORS,
    GENERATORS,
    LOSSES,
    nhwc,
    relative_error,
)
from paths import REPOSITORY

from synthct_jax.model import method
from synthct_jax.performance.benchmark.peers import programs

torch = pytest.importorskip("torch", reason="needs the extra peers")
from synthct_jax.performance.benchmark.peers.torch_twin import Shape, Twin  # noqa: E402

SMALL = dict(size=32, width=8, blocks=BLOCKS, batch=2)


def twin_of(channels: int, *, identity: float = 0.5) -> Twin:
    return Twin(
        Shape(
            mr_channels=channels,
            width=8,
            blocks=BLOCKS,
            discriminator_width=8,
            identity=identity,
        )
    )


@pytest.mark.parametrize("file", ["cyclegan_1to1_identity.npz", "cyclegan_2to1.npz"])
def test_the_twin_reproduces_recorded_images_losses_and_gradients(file, real_data):
    path = real_data.parent / "golden" / file
    if not path.is_file():
        pytest.skip(f"recorded tensors are not at {path}")
    golden = np.load(path)
    twin = twin_of(golden["real_A"].shape[2], identity=0.5 * ("identity" in file))
    networks = {
        **{theirs: twin.generators[ours] for ours, theirs in GENERATORS.items()},
        **{
            theirs: twin.discriminators[ours] for ours, theirs in DISCRIMINATORS.items()
        },
    }
    for name, network in networks.items():
        # Their biases in front of instance norms, which change nothing, have no place.
        network.load_state_dict(
            {
                parameter: torch.from_numpy(golden[f"init/{name}/{parameter}"])
                for parameter in network.state_dict()
            }
        )
    mr, ct = (torch.from_numpy(golden[f"real_{domain}"][0]) for domain in "AB")
    _, synthetic = twin.generator_loss(mr, ct)
    for ours, theirs in {"ct": "fake_B", "mr": "fake_A"}.items():
        found = synthetic[ours].detach().numpy()
        assert relative_error(found, golden[f"step0/{theirs}"]) <= 1e-4
    expected = dict(zip(golden["loss_names"], golden["losses"][0], strict=True))
    for ours, value in twin.step(mr, ct).items():
        assert value == pytest.approx(expected[LOSSES[ours]], rel=1e-5), ours
    for name, network in networks.items():
        for parameter, value in network.named_parameters():
            wanted = golden[f"grad0/{name}/{parameter}"]
            # A ReLU's input that is zero to rounding moves a generator's:
            # golden_test.py.
            bound = 1e-4 if name.startswith("D") else 1e-2
            assert relative_error(value.grad.numpy(), wanted) <= bound, (
                name,
                parameter,
            )


def test_the_twin_has_our_parameters_and_our_losses():
    """With two channels and an identity loss, which the reference refuses."""
    config = programs.make_config({**SMALL, "channels": 2})
    gan = method.from_config(config)
    state = gan.init(jax.random.key(0), batch=2, size=32)
    twin = twin_of(2)
    ours = (state.generators, state.discriminators)
    for theirs, mine in zip((twin.generators, twin.discriminators), ours, strict=True):
        for name, network in theirs.items():
            count = sum(parameter.numel() for parameter in network.parameters())
            assert count == sum(leaf.size for leaf in jax.tree.leaves(mine[name]))
            with torch.no_grad():
                _copy(network, mine[name])
    rng = np.random.default_rng(0)
    mr, ct = (rng.uniform(-1, 1, (2, c, 32, 32)).astype("f4") for c in (2, 1))
    batch = {"mr": nhwc(mr), "ct": nhwc(ct)}
    state, expected = jax.jit(gan.train_step)(state, batch)
    found = twin.step(torch.from_numpy(mr), torch.from_numpy(ct))
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert value == pytest.approx(float(expected[name]), rel=1e-5), name
    # Adam's first step is the sign of the gradient times the rate.
    stem = state.generators["to_ct"]["stem"]["kernel"]
    theirs = twin.generators["to_ct"].model[1].weight.detach().numpy()
    assert np.abs(theirs.transpose(2, 3, 1, 0) - stem).max() <= 1e-6


def _copy(network, params) -> None:
    """Our weights into the twin's layers, which follow each other as ours do."""
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
def test_programs_are_compared_round_by_round(kind, tmp_path):
    names = [name for name in programs.PROGRAMS[kind] if "compiled" not in name]
    output = tmp_path / "found.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "synthct_jax.performance.benchmark.peers", kind),
            *("--size=32", "--width=4", "--blocks=1", "--rounds=2", "--slices=8"),
            *(f"--programs={';'.join(names)}", f"--output={output}"),
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(output.read_text())
    assert found["failed"] == [], done.stderr
    assert list(found["programs"]) == names
    for name, one in found["programs"].items():
        assert len(one["seconds"]) == 2 and min(one["seconds"]) > 0
        assert f"| {name} |" in done.stdout
