"""Generators for real MR, learned from simulated people and scanners alone.

    python -m synthct_jax.main --config=configs/simulated.py:in_out_noncontrast \
        --workdir=RUN

Label maps of random people are drawn once; every sample acquires one of their slabs by
another random scanner and learns its CT. No scan of a patient is used. The generators
can be exported as model files (docs/models.md). Variants name the MR channels and the
contrast medium of the CT: in_out_noncontrast (the default), in_noncontrast,
out_noncontrast, t2_noncontrast, in_out_portal_venous, t2_portal_venous. Only
in_out_noncontrast starts from random weights. The others start from it, or from the
one of the same input (--config.train.init_from=FILE where that does not ship). All of
these but t2_noncontrast, whose contrast in_out_noncontrast never saw, are shorter.
"""

from ml_collections import ConfigDict

from synthct_jax.configs import default

VARIANTS = {
    model: default.MR_INPUTS[name] for model, (name, _) in default.MODELS.items()
}

# Models that others start from than in_out_noncontrast; "": random weights.
STARTS = {"in_out_noncontrast": "", "t2_portal_venous": "t2_noncontrast"}

STEPS = {"in_out_noncontrast": 10_000, "t2_noncontrast": 24_000}


def get_config(variant: str = "in_out_noncontrast") -> ConfigDict:
    """Return the configuration of a variant, locked."""
    config = default.with_input(variant, file="simulated.py", variants=VARIANTS)
    config.method = "supervised"
    config.data.source = "phantom"
    name, contrast = default.MODELS[variant]
    default.simulate(config, contrast=contrast)
    config.train.steps = STEPS.get(variant, 6_000)
    config.train.init_from = STARTS.get(variant, "in_out_noncontrast")
    config.train.global_batch = 2
    config.train.learning_rate = 5e-4
    config.train.decay_start = 0.3
    config.train.beta1 = 0.9
    config.train.ema_decay = 0.998
    config.train.evaluate_every = 2_000
    config.train.best_metric = "mae"
    config.lock()
    return config
