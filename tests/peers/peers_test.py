"""The PyTorch program computes the same step as ours, and comparisons run.

Needs the extra `peers`: make peers-test.
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

from synthct_jax.model import methods
from tests.peers import programs

torch = pytest.importorskip("torch", reason="needs the extra peers")
from tests.peers.torch_cyclegan import Settings, TorchCycleGan  # noqa: E402

SMALL = dict(size=32, width=8, blocks=BLOCKS, batch=2)


def torch_cyclegan(channels: int, *, identity: float = 0.5) -> TorchCycleGan:
    return TorchCycleGan(
        Settings(
            mr_channels=channels,
            width=8,
            blocks=BLOCKS,
            discriminator_width=8,
            identity=identity,
        )
    )


@pytest.mark.parametrize("file", ["cyclegan_1to1_identity.npz", "cyclegan_2to1.npz"])
def test_pytorch_reproduces_recorded_images_losses_and_gradients(file, real_data):
    path = real_data.parent / "golden" / file
    if not path.is_file():
        pytest.skip(f"recorded tensors are not at {path}")
    golden = np.load(path)
    channels = golden["real_A"].shape[2]
    pytorch = torch_cyclegan(channels, identity=0.5 * ("identity" in file))
    networks = {theirs: pytorch.generators[ours] for ours, theirs in GENERATORS.items()}
    for ours, theirs in DISCRIMINATORS.items():
        networks[theirs] = pytorch.discriminators[ours]
    for name, network in networks.items():
        # The reference has biases before instance norms, which cancel; we have none.
        network.load_state_dict(
            {
                parameter: torch.from_numpy(golden[f"init/{name}/{parameter}"])
                for parameter in network.state_dict()
            }
        )
    mr, ct = (torch.from_numpy(golden[f"real_{domain}"][0]) for domain in "AB")
    _, synthetic = pytorch.generator_loss(mr, ct)
    for ours, theirs in {"ct": "fake_B", "mr": "fake_A"}.items():
        image = synthetic[ours].detach().numpy()
        assert relative_error(image, golden[f"step0/{theirs}"]) <= 1e-4
    expected = dict(zip(golden["loss_names"], golden["losses"][0], strict=True))
    for ours, value in pytorch.step(mr, ct).items():
        assert value == pytest.approx(expected[LOSSES[ours]], rel=1e-5), ours
    for name, network in networks.items():
        for parameter, value in network.named_parameters():
            wanted = golden[f"grad0/{name}/{parameter}"]
            # Rounding decides the sign of some ReLU inputs, see golden_test.py.
            bound = 1e-4 if name.startswith("D") else 1e-2
            assert relative_error(value.grad.numpy(), wanted) <= bound, (
                name,
                parameter,
            )


def test_pytorch_has_our_parameter_counts_and_losses():
    """Uses two channels and an identity loss, which the reference does not support."""
    config = programs.make_config({**SMALL, "channels": 2})
    method = methods.from_config(config)
    state = method.init(jax.random.key(0), batch=2, size=32)
    pytorch = torch_cyclegan(2)
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
def test_programs_are_compared_round_by_round(kind, tmp_path):
    names = [name for name in programs.PROGRAMS[kind] if "compiled" not in name]
    output = tmp_path / "results.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.peers", kind),
            *("--size=32", "--width=4", "--blocks=1", "--rounds=2", "--slices=8"),
            *(f"--programs={';'.join(names)}", f"--output={output}"),
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(output.read_text())
    assert results["failed"] == [], done.stderr
    assert list(results["programs"]) == names
    for name, program in results["programs"].items():
        assert len(program["seconds"]) == 2 and min(program["seconds"]) > 0
        assert f"| {name} |" in done.stdout
