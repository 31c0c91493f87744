"""Recorded tensors of the reference CycleGAN: names, weights and comparison."""

import numpy as np

# Ours <- the reference's, for the losses of one step (A is MR, B is CT).
LOSSES = {
    "discriminator_ct": "D_A",
    "adversarial_ct": "G_A",
    "cycle_mr": "cycle_A",
    "identity_ct": "idt_A",
    "discriminator_mr": "D_B",
    "adversarial_mr": "G_B",
    "cycle_ct": "cycle_B",
    "identity_mr": "idt_B",
}
GENERATORS = {"to_ct": "G_A", "to_mr": "G_B"}
DISCRIMINATORS = {"ct": "D_A", "mr": "D_B"}
BLOCKS = 9


def kernel(golden, name: str, *, transposed: bool = False) -> np.ndarray:
    """Return a kernel in HWIO, from OIHW (or IOHW of a transposed convolution)."""
    weight = golden[f"{name}.weight"]
    return weight.transpose(2, 3, 0, 1) if transposed else weight.transpose(2, 3, 1, 0)


def generator_params(golden, prefix: str) -> dict:
    """Return weights under `prefix` as our generator's, dead biases left out."""

    def conv(index, **kwargs):
        return {"kernel": kernel(golden, f"{prefix}/model.{index}", **kwargs)}

    def block(part):
        names = [f"{prefix}/model.{10 + b}.conv_block.{part}" for b in range(BLOCKS)]
        return {"kernel": np.stack([kernel(golden, name) for name in names])}

    head = conv(26) | {"bias": golden[f"{prefix}/model.26.bias"]}
    return {
        "stem": conv(1),
        "down_0": conv(4),
        "down_1": conv(7),
        "blocks": {"conv_0": block(1), "conv_1": block(5)},
        "up_1": conv(19, transposed=True),
        "up_0": conv(22, transposed=True),
        "head": head,
    }


def discriminator_params(golden, prefix: str) -> dict:
    """Return weights under `prefix` as our discriminator's."""
    params = {}
    for layer, index in enumerate((0, 2, 5, 8, 11)):
        params[f"conv_{layer}"] = {"kernel": kernel(golden, f"{prefix}/model.{index}")}
        if index in (0, 11):
            bias = golden[f"{prefix}/model.{index}.bias"]
            params[f"conv_{layer}"]["bias"] = bias
    return params


def recorded_params(golden, prefix: str) -> tuple[dict, dict]:
    """Return what is recorded under `prefix` of generators and discriminators."""
    return (
        {k: generator_params(golden, f"{prefix}/{v}") for k, v in GENERATORS.items()},
        {
            k: discriminator_params(golden, f"{prefix}/{v}")
            for k, v in DISCRIMINATORS.items()
        },
    )


def nhwc(images: np.ndarray) -> np.ndarray:
    return np.moveaxis(images, -3, -1)


def relative_error(ours, theirs) -> float:
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))
