"""The embedded default: random abdomens drawn by the project itself, small networks.

    python -m synthct_jax.main --config=configs/phantom.py --workdir=RUN

Variants name the MR channels: in, out, t2, in_out (the default), in_out_t2, with
contrast medium in the CT; the same with _noncontrast, without. anatomy_in_out,
anatomy_in and anatomy_out add what keeps the anatomy (default.keep_anatomy).
supervised_in and so on train on pairs, for comparison. pairs_1_in_out to
pairs_10_in_out add that many people with MR and CT on one grid to the unpaired scans.
lesions_both, lesions_mr, lesions_ct and lesions_none are in_out with lesions in the
training images of both kinds, of one, or of none, and in half of the others. Data are
drawn into --data_dir (RUN/data by default) at the first start. docs/results.md has
errors and times.
"""

from ml_collections import ConfigDict

from synthct_jax.configs import default

# The same network trained on pairs: an upper bound for each input.
SUPERVISED = {f"supervised_{name}": mr for name, mr in default.MR_INPUTS.items()}
ANATOMY = {
    f"anatomy_{name}": default.MR_INPUTS[name] for name in ("in_out", "in", "out")
}
# Unpaired scans and a few pairs: the number of people with both images.
PAIRS = {f"pairs_{count}_in_out": count for count in (1, 2, 5, 10)}
LESIONS = {f"lesions_{where}": where for where in ("both", "mr", "ct", "none")}
VARIANTS = default.MR_INPUTS | default.NONCONTRAST | SUPERVISED | ANATOMY
VARIANTS |= dict.fromkeys([*PAIRS, *LESIONS], default.MR_INPUTS["in_out"])


def get_config(variant: str = "in_out") -> ConfigDict:
    """Return the configuration of a variant, locked."""
    config = default.with_input(variant, file="phantom.py", variants=VARIANTS)
    if variant in SUPERVISED:
        config.method = "supervised"
    config.data.source = "phantom"
    config.data.size = 96
    config.data.spacing_mm = 4.0
    config.data.shift_mm = 12.0

    contrast = "non_contrast" if variant in default.NONCONTRAST else "portal_venous"
    default.add_phantom(config, contrast=contrast)
    if variant in LESIONS:
        config.phantom.train_lesions = LESIONS[variant]

    default.shrink(config)
    if variant in ANATOMY:
        default.keep_anatomy(config)
    if variant in PAIRS:
        config.phantom.pairs = PAIRS[variant]
        config.loss.paired = 100.0  # as in pix2pix (Isola et al. 2017); not tuned
    config.train.steps = 10_000
    config.train.ema_decay = 0.995
    config.train.log_every = 200
    config.train.save_every = 1_000
    config.train.evaluate_every = 1_000
    config.train.best_metric = "mae"
    config.lock()
    return config
