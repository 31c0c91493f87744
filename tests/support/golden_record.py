"""How the recorded tensors of the reference CycleGAN are named, shaped and compared."""

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


def nhwc(images: np.ndarray) -> np.ndarray:
    return np.moveaxis(images, -3, -1)


def relative_error(ours, theirs) -> float:
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))
