"""Outputs of torch-fidelity's Inception v3 for weights that are drawn from a seed.

inception_constants.json was written by `python tests/support/inception_constants.py`,
in an environment of its own with torch 2.13.0 and torch-fidelity 0.4.0. The tests need
neither: they draw the same weights and images from here.
"""

import json
import zlib
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_suffix(".json")
STEM = (
    *("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3"),
    *("Conv2d_3b_1x1", "Conv2d_4a_3x3"),
)
MIXED = tuple(f"Mixed_{k}" for k in "5b 5c 5d 6a 6b 6c 6d 6e 7a 7b 7c".split())


def tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Draw a weight by torch's name and shape, so that activations stay about 1."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith(("bn.weight", "running_var")):
        return rng.uniform(0.8, 1.2, shape).astype(np.float32)
    scale = np.sqrt(2 / np.prod(shape[1:])) if len(shape) == 4 else 0.1
    return (scale * rng.standard_normal(shape)).astype(np.float32)


def hu_slices() -> np.ndarray:
    """Draw HU (2, 48, 64) int16, beyond the window at both ends."""
    return np.random.default_rng(7).integers(-1100, 1700, (2, 48, 64)).astype(np.int16)


def small_image() -> np.ndarray:
    """Draw an image (1, 107, 107, 3) float32, the smallest that ends in 2 x 2."""
    return np.random.default_rng(8).uniform(-1, 1, (1, 107, 107, 3)).astype(np.float32)


def pattern() -> np.ndarray:
    """Return grey levels (1, 40, 512): one axis grows and one shrinks to 299."""
    return (np.arange(40)[:, None] * 37 + np.arange(512) * 11)[np.newaxis] % 256


def probes(block: np.ndarray) -> list[float]:
    """Return two corners, the middle, mean and RMS of a block (rows, columns, n)."""
    rows, columns, channels = block.shape
    middle = block[rows // 2, columns // 2, channels // 2]
    wide = block.astype(np.float64)
    picked = block[0, 0, 0], middle, block[-1, 0, -1]
    return [*map(float, picked), wide.mean(), np.sqrt(np.square(wide).mean())]


def main() -> None:
    import torch
    import torch.nn.functional as F
    import torch_fidelity.feature_extractor_inceptionv3 as fidelity
    import torch_fidelity.interpolate_compat_tensorflow as tensorflow

    # It would download its weights.
    fidelity.load_state_dict_from_url = lambda *_, **__: {}
    extractor = fidelity.FeatureExtractorInceptionV3
    extractor.load_state_dict = lambda *_, **__: None
    model = extractor("inception", ["2048"])
    drawn = {
        name: torch.tensor(tensor(name, tuple(value.shape)))
        for name, value in model.state_dict().items()
        if value.is_floating_point()
    }
    torch.nn.Module.load_state_dict(model, drawn, strict=False)
    model.eval()
    shapes, blocks = {}, {}

    def note(name):
        def hook(_, __, output):
            shapes[name] = [*output.shape[2:], output.shape[1]]

        return hook

    hooks = [
        module.register_forward_hook(note(name))
        for name, module in model.named_modules()
        if name in MIXED or isinstance(module, fidelity.BasicConv2d)
    ]
    grey = np.rint((np.clip(hu_slices(), -1000, 1550) + 1000) / 10).astype(np.uint8)
    with torch.no_grad():
        features = model(torch.tensor(grey)[:, None].repeat(1, 3, 1, 1))[0].numpy()
        for hook in hooks:
            hook.remove()
        x = torch.tensor(small_image()).permute(0, 3, 1, 2)
        for name in (*STEM, *MIXED):
            x = getattr(model, name)(x)
            blocks[name] = probes(x[0].permute(1, 2, 0).numpy())
            if name in ("Conv2d_2b_3x3", "Conv2d_4a_3x3"):
                x = F.max_pool2d(x, 3, 2)
        resized = tensorflow.interpolate_bilinear_2d_like_tensorflow1x(
            torch.tensor(pattern()[:, None], dtype=torch.float32),
            size=(299, 299),
            align_corners=False,
        )

    constants = {
        "shapes": shapes,
        "blocks": blocks,
        "features": features[:, ::128].tolist(),
        "means": features.mean(1, dtype=np.float64).tolist(),
        "images": ((resized - 128) / 128)[0, 0, ::60, ::50].tolist(),
    }
    FILE.write_text(json.dumps(constants) + "\n")


if __name__ == "__main__":
    main()
