"""CHAOS, the public abdominal MR and CT of the challenge (doi:10.5281/zenodo.3431873).

    python -m synthct_jax.main --config=configs/chaos.py:in_out --mode=prepare \
        --raw_dir=CHAOS --data_dir=DATA
    python -m synthct_jax.main --config=configs/chaos.py:in_out --data_dir=DATA \
        --workdir=RUN

CHAOS is the unpacked folder with Train_Sets (input_pipeline/scans/layout.py). Variants
name the MR channels: in, out, t2, in_out (the default), in_out_t2. Each is prepared
into a folder of its own: out-of-phase is scaled by in-phase where both are used, else
by itself.

All CT of CHAOS show contrast medium. in_noncontrast, out_noncontrast and so on learn
from CT without it, which CHAOS does not have (those of the paper, AUTOMI, are private).
Put yours beside Train_Sets, one folder a subject, DICOM or one NIfTI file:

    CHAOS/Noncontrast_CT/SUBJECT/...

The network and the schedule are those of the reference CycleGAN, for accelerators. This
full size has not been trained, so there is no result to quote. `small` (in and out of
phase) has a size for two CPU cores. So have anchored_in_out_portal_venous and others,
which start from the model of that name (docs/models.md) and keep seeing simulated
pairs. docs/results.md has what `small` and the one that is named here gave.

Variants with t2 need T2SPIR beside T1DUAL. It was scanned in another breath-hold; it is
resampled onto the grid of T1-DUAL, not registered to it. The T2 of another patient is
refused where headers or outlines show it.
"""

from ml_collections import ConfigDict

from synthct_jax.configs import default

SMALL = {"small": default.MR_INPUTS["in_out"]}
VARIANTS = default.MR_INPUTS | default.NONCONTRAST | SMALL | default.ANCHORED


def get_config(variant: str = "in_out") -> ConfigDict:
    """Return the configuration of a variant, locked."""
    config = default.with_input(variant, file="chaos.py", variants=VARIANTS)
    config.data.source = "chaos_noncontrast" if "noncontrast" in variant else "chaos"
    if variant == "small":  # pixels of half the resolution
        default.shrink(config)
        config.data.size = 128
        config.data.spacing_mm = 3.0
        config.train.steps = 2_000
        config.train.ema_decay = 0.99
        config.train.save_every = 200
    if variant in default.ANCHORED:
        default.anchor(config, variant.removeprefix("anchored_"))
    config.lock()
    return config
