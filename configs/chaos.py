"""CHAOS, the public abdominal MR and CT of the challenge (doi:10.5281/zenodo.3431873).

    python -m synthct_jax.main --config=configs/chaos.py:in_out --mode=prepare \
        --raw_dir=CHAOS --data_dir=DATA
    python -m synthct_jax.main --config=configs/chaos.py:in_out --data_dir=DATA \
        --workdir=RUN

CHAOS is the unpacked folder with Train_Sets (see input_pipeline/scans/layout.py).
Variants are what the network sees of the MR: in, out, t2, in_out, in_out_t2. Each has
data of its own, since out-of-phase alone is scaled by itself, but beside in-phase by
in-phase.

All CT of CHAOS are with contrast medium. in_noncontrast, out_noncontrast and so on
learn from CT without instead, which CHAOS does not have (the paper's, AUTOMI, are
private): put yours, one folder a subject, DICOM or a NIfTI file, beside Train_Sets:

    CHAOS/Noncontrast_CT/SUBJECT/...

The network and schedule are the reference CycleGAN's and meant for accelerators; this
full size has not been trained here, so there is no result to quote. The variant `small`
is in_out at a size that two CPU cores carry (measured in README.md).

Variants with t2 need T2SPIR beside T1DUAL. It was scanned in another breath-hold and is
brought onto the grid of T1-DUAL, not registered to it; another patient's is refused
where headers or outlines tell.
"""

from ml_collections import ConfigDict

from configs import default

NONCONTRAST = {f"{name}_noncontrast": mr for name, mr in default.MR_INPUTS.items()}
VARIANTS = default.MR_INPUTS | NONCONTRAST | {"small": default.MR_INPUTS["in_out"]}


def get_config(variant: str = "in_out") -> ConfigDict:
    config = default.with_input(variant, file="chaos.py", variants=VARIANTS)
    config.data.source = "chaos_noncontrast" if variant in NONCONTRAST else "chaos"
    if variant == "small":  # pixels of half the resolution
        default.shrink(config)
        config.data.size = 128
        config.data.spacing_mm = 3.0
        config.train.steps = 2_000
        config.train.ema_decay = 0.99
        config.train.save_every = 200
    config.lock()
    return config
