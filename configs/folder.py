"""A folder of your own scans, DICOM or NIfTI.

    python -m synthct_jax.main --config=configs/folder.py:in_out --mode=prepare \
        --raw_dir=RAW --data_dir=DATA
    python -m synthct_jax.main --config=configs/folder.py:in_out --data_dir=DATA \
        --workdir=RUN

RAW has one folder for each subject (all of it in input_pipeline/scans/layout.py):

    RAW/mr/SUBJECT/...   DICOM files, or in_phase.nii.gz, out_of_phase.nii.gz, t2.nii.gz
    RAW/ct/SUBJECT/...   DICOM files, or one NIfTI file in HU

Use CT with contrast medium in all subjects or in none: the network learns to add what
is in the CT. Look at DATA/mr.png and DATA/ct.png before training (docs/data.md).

Variants name the MR channels: in, out, t2, in_out (the default), in_out_t2. T2 may be
on a grid of its own. A body wider than data.size * data.spacing_mm (384 mm) is refused,
with the data.size that holds it. Values are those of configs/default.py, for
accelerators, with anti-aliasing; none was measured on data like yours.

anchored_in_out_noncontrast and so on, one for each model of configs/simulated.py, have
a size for two CPU cores: they start from that model and keep seeing simulated pairs of
its input and contrast medium. Take the one whose contrast medium is that of your CT.
docs/models.md says which models ship.
"""

from ml_collections import ConfigDict

from synthct_jax.configs import default

VARIANTS = default.MR_INPUTS | default.ANCHORED


def get_config(variant: str = "in_out") -> ConfigDict:
    """Return the configuration of a variant, locked."""
    config = default.with_input(variant, file="folder.py", variants=VARIANTS)
    config.data.source = "folder"
    config.model.antialias = True
    if variant in default.ANCHORED:
        default.anchor(config, variant.removeprefix("anchored_"))
    config.lock()
    return config
