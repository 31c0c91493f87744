"""Generators for real MR, learned from simulated people and scanners alone.

    python -m synthct_jax.main --config=configs/simulated.py:in_out_noncontrast \
        --workdir=RUN

Label maps of random people are drawn once; every sample acquires one of their slabs by
another random scanner and learns its CT. No scan of a patient is used. The models that
are shipped were made by these variants (docs/models.md). Variants name the MR channels
and the contrast medium of the CT: in_out_noncontrast (the default), in_noncontrast,
out_noncontrast, t2_noncontrast, in_out_portal_venous.
"""

from ml_collections import ConfigDict

from configs import default

VARIANTS = {
    "in_out_noncontrast": default.MR_INPUTS["in_out"],
    "in_noncontrast": default.MR_INPUTS["in"],
    "out_noncontrast": default.MR_INPUTS["out"],
    "t2_noncontrast": default.MR_INPUTS["t2"],
    "in_out_portal_venous": default.MR_INPUTS["in_out"],
}


def get_config(variant: str = "in_out_noncontrast") -> ConfigDict:
    """Return the configuration of a variant, locked."""
    config = default.with_input(variant, file="simulated.py", variants=VARIANTS)
    config.method = "supervised"
    config.data.source = "phantom"
    config.data.size = 192
    config.data.spacing_mm = 2.0
    config.data.rotate_degrees = 8.0
    config.data.shift_mm = 20.0
    contrast = "non_contrast" if "noncontrast" in variant else "portal_venous"
    default.add_phantom(config, contrast=contrast)
    config.phantom.scanner = "randomised"
    config.phantom.anatomy = "varied"
    config.phantom.anatomies = 200
    # Whole volumes: for the statistics of training MR, validation and test.
    config.phantom.train_mr = 4
    config.phantom.validation = 6
    config.phantom.test = 12

    config.model.width = 24
    config.model.blocks = 4
    config.model.downsamplings = 2
    config.model.antialias = True
    config.train.steps = 16_000
    config.train.global_batch = 2
    config.train.learning_rate = 5e-4
    config.train.decay_start = 0.3
    config.train.beta1 = 0.9
    config.train.ema_decay = 0.998
    config.train.evaluate_every = 2_000
    config.train.best_metric = "mae"
    config.lock()
    return config
