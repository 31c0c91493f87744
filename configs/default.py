"""Every hyper-parameter once, with the full-size values of the paper's method.

`configs/chaos.py`, `configs/folder.py` and `configs/phantom.py` start from here and
name their commands; this file is not run by itself. The values are those of the
reference CycleGAN (Zhu et al. 2017) but for the batch (8, not 1) and the identity loss
(0, not 0.5). They agree with arXiv 2407.10888 where that states one (9 residual blocks,
PatchGAN).
"""

from ml_collections import ConfigDict

# Variants of every experiment: MR channels of the network's input, as in the paper.
MR_INPUTS = {
    "in_out": ("in_phase", "out_of_phase"),
    "in": ("in_phase",),
    "out": ("out_of_phase",),
    "t2": ("t2",),
    "in_out_t2": ("in_phase", "out_of_phase", "t2"),
}
# The same, for CT without contrast medium.
NONCONTRAST = {f"{name}_noncontrast": mr for name, mr in MR_INPUTS.items()}
# Models by input and contrast medium of the CT. Each is trained by a variant of
# configs/simulated.py, and a training on real scans can start from each. Those of
# synthct_jax/models ship.
MODELS = {
    "in_out_noncontrast": ("in_out", "non_contrast"),
    "in_noncontrast": ("in", "non_contrast"),
    "out_noncontrast": ("out", "non_contrast"),
    "t2_noncontrast": ("t2", "non_contrast"),
    "in_out_portal_venous": ("in_out", "portal_venous"),
    "t2_portal_venous": ("t2", "portal_venous"),
}
ANCHORED = {f"anchored_{model}": MR_INPUTS[name] for model, (name, _) in MODELS.items()}


def with_input(variant: str, *, file: str, variants: dict = MR_INPUTS) -> ConfigDict:
    """Return the default with a variant's MR channels, unlocked for further changes.

    Raises:
        ValueError: `file` has no such variant.
    """
    if variant not in variants:
        raise ValueError(
            f"configs/{file} has no variant {variant!r}, expected one of: "
            f"{', '.join(variants)}"
        )
    config = get_config()
    config.unlock()
    config.data.mr_channels = variants[variant]
    return config


def shrink(config: ConfigDict) -> None:
    """Set a network and learning rates for two CPU cores, slices of about 100 pixels.

    Fat is bright on MR and dark on CT. A generator with a large receptive field can
    satisfy the discriminator for very long with fat and muscle swapped somewhere in the
    body. One that sees 100 mm cannot tell the places apart and must map the tissue.
    """
    config.model.width = 16
    config.model.blocks = 1
    config.model.downsamplings = 1
    config.model.discriminator_width = 32
    config.model.discriminator_layers = 2
    config.train.global_batch = 1
    config.train.learning_rate = 4e-4


def keep_anatomy(config: ConfigDict) -> None:
    """Set what keeps the anatomy of the phantom in unpaired training on T1 MR.

    On the two real scans that it was tried on it did not (docs/results.md).
    """
    config.model.antialias = True
    config.loss.tissue_ranges = 5.0
    config.loss.cycle_mr = 3.0  # no CT holds the gain, bias field and noise of an MR
    config.loss.noise_ct = 0.1
    config.loss.noise_mr = 0.1
    config.translate.views = 8


def add_phantom(config: ConfigDict, *, contrast: str) -> None:
    """Add the section of drawn subjects: volumes with a known CT, anatomies to acquire.

    MR and CT training subjects are different people, but for `pairs`, and unless the
    method is supervised. Validation and test subjects have both images and the tissue
    labels.
    """
    phantom = config.phantom = ConfigDict()
    phantom.train_mr = 24
    phantom.train_ct = 24
    phantom.pairs = 0  # further training subjects, with MR and CT on one grid
    phantom.validation = 4
    phantom.test = 6
    phantom.slices = 24
    phantom.slice_mm = 6.0
    phantom.contrast = contrast  # non_contrast, arterial, portal_venous, delayed
    # reference; three_tesla, other_vendor, volumetric; randomised: another one for
    # every volume, and for every sample of the anatomies.
    phantom.scanner = "reference"
    phantom.anatomy = "reference"  # or varied
    # Lesions of liver and kidneys in training images: both, mr, ct or none; then every
    # second person for validation and test has some. "": nobody has any.
    phantom.train_lesions = ""
    phantom.ct_offset_mm = 0.0  # height of unpaired training CT above the other volumes
    # People whose label maps are drawn once and acquired anew for every sample, as
    # pairs for method=supervised or loss.simulated; 0: none.
    phantom.anatomies = 0


def simulate(config: ConfigDict, *, contrast: str) -> None:
    """Set the shipped models' pixels and network, and simulated pairs to teach them.

    Label maps of random people are acquired by another random scanner for every sample.
    """
    config.data.size = 192
    config.data.spacing_mm = 2.0
    config.data.rotate_degrees = 8.0
    config.data.scale_fraction = 0.08
    config.data.shift_mm = 20.0
    if config.data.mr_channels == MR_INPUTS["t2"]:
        config.data.mr_exponent = 0.5
    config.model.width = 24
    config.model.blocks = 4
    config.model.downsamplings = 2
    config.model.antialias = True
    config.model.skips = True
    config.translate.views = 4
    add_phantom(config, contrast=contrast)
    config.phantom.scanner = "randomised"
    config.phantom.anatomy = "varied"
    config.phantom.anatomies = 120
    # Whole volumes: for the statistics of training MR, validation and test.
    config.phantom.train_mr = 16
    config.phantom.validation = 6
    config.phantom.test = 12


def anchor(config: ConfigDict, model: str) -> None:
    """Set a CycleGAN that starts from a model and keeps seeing simulated pairs.

    The pairs hold on to what each tissue is; real scans teach what images look like. A
    tenth of their weight, at five times the learning rate and for five times as many
    steps, made gas of fat (docs/results.md).
    """
    _, contrast = MODELS[model]
    simulate(config, contrast=contrast)
    config.train.init_from = model
    config.loss.simulated = 100.0
    config.model.discriminator_width = 32
    config.model.discriminator_layers = 2
    config.train.global_batch = 1
    config.train.learning_rate = 2e-5
    config.train.steps = 800
    config.train.decay_start = 0.25
    config.train.ema_decay = 0.98
    config.train.save_every = 200


def get_config() -> ConfigDict:
    """Return the default configuration, locked."""
    config = ConfigDict()
    # cyclegan: unpaired. supervised: the generator alone, on pairs, for comparison.
    # distilled: the generator alone, on the MR and the CT of train.distil_from.
    config.method = "cyclegan"
    config.seed = 0  # draws weights, data order, augmentation, replay pools, phantoms

    data = config.data = ConfigDict()
    data.source = "chaos"  # see input_pipeline/scans/layout.py; phantom draws its own
    data.mr_channels = ("in_phase", "out_of_phase")  # the network's input, in order
    data.size = 256  # pixels; prepared slices are size x size
    data.spacing_mm = 1.5  # in-plane pixel spacing of prepared slices
    data.mask_outside_body = True  # air, couch and coil outside the body become air
    data.split = (0.7, 0.1, 0.2)  # subjects for train, validation, test
    # HU -> [-1, 1], piecewise linear through (HU, value). A plain window is two knots.
    # Here the 450 HU of soft tissue have half of the range.
    data.ct_knots = ((-1024.0, -1.0), (-200.0, -0.5), (250.0, 0.5), (1500.0, 1.0))
    data.mr_percentile = 99.5  # of the body, per volume: 0 -> -1, this -> +1
    # Of MR as a share of that percentile; below 1 spreads the dark tissue of T2.
    data.mr_exponent = 1.0
    data.crop = 0  # train on random squares of this size in pixels; 0: whole slices
    data.flip = True  # left-right flip, half of the samples
    data.rotate_degrees = 5.0  # largest rotation
    data.scale_fraction = 0.05  # largest zoom in or out
    data.shift_mm = 8.0  # largest translation along each axis
    data.channel_dropout = 0.0  # probability that to_ct gets an MR without one phase
    data.workers = 0  # grain worker processes; 0: in this process

    model = config.model = ConfigDict()
    model.width = 64  # feature maps of the generator's first layer
    model.blocks = 9  # residual blocks
    model.downsamplings = 2  # stride-2 layers before the blocks
    model.upsample = "transposed"  # transposed, or resize (nearest, then convolution)
    model.antialias = False  # blur before each stride and after each upsampling
    model.skips = False  # add what was before each stride to what its upsampling gives
    model.discriminator_width = 64
    model.discriminator_layers = 3  # stride-2 layers: 1, 2, 3 see 16, 34, 70 pixels
    model.dtype = "float32"  # or bfloat16, to compute; parameters, losses: float32
    model.remat = False  # recompute residual blocks for gradients: less memory

    # Devices, of all processes, along each axis of the mesh; -1: all others.
    mesh = config.mesh = ConfigDict()
    mesh.data = -1  # each has a share of the batch
    mesh.fsdp = 1  # as data, and each keeps a share of weights and optimiser states
    mesh.space = 1  # each has a share of the rows of every image
    # Members of an ensemble, trained in one program with seeds seed, seed + 1, ...
    # Devices are split over them first, and those of each have the axes above.
    mesh.seeds = 1

    loss = config.loss = ConfigDict()
    loss.adversarial = "lsgan"  # lsgan, or vanilla (binary cross-entropy)
    loss.cycle_mr = 10.0  # weight of |to_mr(to_ct(mr)) - mr|, mean over channels
    loss.cycle_ct = 10.0  # weight of |to_ct(to_mr(ct)) - ct|
    # Weight of the distance of to_ct(mr) from the HU of fat, soft tissue and gas, where
    # the intensity of T1-weighted MR shows one alone (losses.tissue_ranges); 0: none.
    loss.tissue_ranges = 0.0
    # Intensity above which MR shows fat, 0 to 1 of its scale; 0: a training finds it in
    # its MR, and notes it here.
    loss.fat_threshold = 0.0
    # Standard deviations, in [-1, 1], of noise on to_ct(mr) and to_mr(ct) before they
    # are translated back. noise_mr is also the relative standard deviation of a random
    # gain and bias field. With method=distilled it is of the MR that the network sees.
    loss.noise_ct = 0.0
    loss.noise_mr = 0.0
    # As a fraction of the cycle weights. With unequal channel counts the image of the
    # other domain is averaged to one channel and repeated: see losses.identity_input.
    loss.identity = 0.0
    # Anchored CycleGAN: weight of |to_ct(simulated_mr) - simulated_ct| on simulated
    # pairs, which phantom.anatomies makes, beside the unpaired images; 0: none.
    loss.simulated = 0.0
    # The same on the data's own pairs, training subjects with MR and CT on one grid.
    loss.paired = 0.0
    # Weight of the adversarial loss beside the error of method=supervised; 0: none.
    loss.supervised_adversarial = 0.0

    train = config.train = ConfigDict()
    train.steps = 200_000
    # Model file, or the name of a shipped model, whose weights to_ct starts from.
    train.init_from = ""  # "": random weights
    # For method=distilled, the teacher: folder of a run or an ensemble, or a model as
    # for init_from. Each CT is the mean of its networks and of so many views.
    train.distil_from = ""
    train.distil_views = 8  # see translate.views
    train.global_batch = 8  # images of each domain, over all devices
    train.accumulate = 1  # microbatches of a batch, in sequence: less memory, same step
    train.learning_rate = 2e-4
    train.discriminator_learning_rate_ratio = 1.0
    train.beta1 = 0.5
    train.beta2 = 0.999
    train.decay_start = 0.5  # constant until this fraction of steps, then linear to 0
    train.pool_size = 50  # replay pool of each domain (Shrivastava et al. 2017)
    train.ema_decay = 0.0  # moving average of the generators, used to translate; 0: off
    train.log_every = 50  # steps
    train.save_every = 1_000
    train.keep_latest = 3  # checkpoints, besides the best
    # A process without a step, validation or save for this long (after its first step)
    # prints where it hangs and ends; 0: never. Must exceed a validation or a save.
    train.watchdog_seconds = 1_800.0
    # The checkpoint with the lowest value of this validation metric is kept as well.
    train.evaluate_every = 0  # steps between validations; 0: never
    train.best_metric = "frechet_haar"  # lowest wins
    # Detectors of failed training that fire at a validation (docs/guards.md). log:
    # warn. stop: save, and end with status 3. roll_back: go on from the last checkpoint
    # at whose validation none fired, with another data order.
    train.guard = "log"
    train.guard_after = 0.2  # fraction of steps before which detectors only log
    train.roll_backs = 3  # of a run, then stop

    # Translation and evaluation average over so many views of each slice: 1; 2, also
    # its left-right flip; 4 or 8, both also shifted by half of the network's stride.
    # Flips suit a network that was trained with data.flip.
    config.translate = ConfigDict()
    config.translate.views = 1
    config.lock()
    return config
