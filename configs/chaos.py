"""CHAOS, the public abdominal MR and CT of the challenge (doi:10.5281/zenodo.3431873).

    python -m synthct_jax.main --config=configs/chaos.py:in_out --mode=prepare \
        --raw_dir=CHAOS --data_dir=DATA
    python -m synthct_jax.main --config=configs/chaos.py:in_out --data_dir=DATA \
        --workdir=RUN

CHAOS is the unpacked folder with Train_Sets (see input_pipeline/layout.py). Variants
are what the network sees of the MR: in, out, t2, in_out, in_out_t2. Each has data of
its own, since out-of-phase alone is scaled by itself, but beside in-phase by in-phase.

The network and schedule are the reference CycleGAN's and meant for accelerators; this
full size has not been trained here, so there is no result to quote. A trial that two
CPU cores carry takes these on both command lines:

    --config.data.size=128 --config.data.spacing_mm=3.0 --config.model.width=16
    --config.model.blocks=4 --config.model.discriminator_width=32
    --config.train.steps=400 --config.train.global_batch=2
    --config.train.save_every=100

Variants with t2 need T2SPIR beside T1DUAL. It was scanned in another breath-hold and is
brought onto the grid of T1-DUAL, not registered to it.
"""

from ml_collections import ConfigDict

from configs import default

VARIANTS = {
    "in_out": ("in_phase", "out_of_phase"),
    "in": ("in_phase",),
    "out": ("out_of_phase",),
    "t2": ("t2",),
    "in_out_t2": ("in_phase", "out_of_phase", "t2"),
}


def get_config(variant: str = "in_out") -> ConfigDict:
    if variant not in VARIANTS:
        raise ValueError(
            f"configs/chaos.py has no variant {variant!r}, expected one of: "
            f"{', '.join(VARIANTS)}"
        )
    config = default.get_config()
    config.unlock()
    config.data.source = "chaos"
    config.data.mr_channels = VARIANTS[variant]
    config.lock()
    return config
