"""Each planted fault fires its detector at the first or second validation."""

import dataclasses

import numpy as np
import pytest
from tiny_run import tiny_config

from input_pipeline.dataset.dataset import Dataset
from input_pipeline.intensity import mr_to_unit
from input_pipeline.preparation.prepare import prepare
from synthct_jax.evaluation import detectors
from synthct_jax.evaluation.guard import FIRED, Guard
from synthct_jax.evaluation.subjects import read_subjects

HEALTHY_LOSSES = {"cycle_mr": 1.0, "discriminator_ct": 0.2, "discriminator_mr": 0.2}


def config_of(**train_fields):
    config = tiny_config(steps=10, guard_after=0.0, **train_fields)
    config.phantom.update(train_mr=4, train_ct=4, validation=2, slices=8)
    config.data.update(size=64, spacing_mm=6.0)
    return config


@dataclasses.dataclass
class Scans:
    """Prepared phantoms; MR and true CT of the slices that detectors look at."""

    dataset: Dataset
    mr: np.ndarray
    ct: np.ndarray
    body: np.ndarray


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    prepare(config_of(), None, folder)
    dataset = Dataset.open(folder)
    subjects = list(read_subjects(dataset, "validation"))
    return Scans(
        dataset,
        mr=mr_to_unit(np.concatenate([subject.mr for subject in subjects])),
        ct=np.concatenate([s.reference_ct for s in subjects]).astype(np.float32),
        body=np.concatenate([subject.outline for subject in subjects]),
    )


class Generators:
    """Stands for a Translator: gives a known CT, and a brightness for each HU."""

    def __init__(self, hu, to_mr):
        self._hu, self.translate_back = hu, lambda params, hu: to_mr(hu)

    def __call__(self, params, stored):
        return self._hu

    def network_input(self, stored):
        return mr_to_unit(stored)


def brightness(hu):
    """Return the MR of tissues by their HU: fat is bright, bone and air are dark."""
    share = np.interp(hu, [-1000, -200, -100, 50, 300, 1000], [0, 0, 0.7, 0.4, 0.4, 0])
    return np.repeat(2 * share[..., None] - 1, 2, axis=-1).astype(np.float32)


def names_of_faults(scans, hu, to_mr=brightness):
    generators = Generators(hu.astype(np.float32), to_mr)
    detect = detectors.ImageDetectors(generators, config_of(), scans.dataset)
    guard = Guard(config_of())
    guard.add(HEALTHY_LOSSES)
    metrics = guard.judge(5, detect({"to_ct": {}, "to_mr": {}}))
    assert metrics[FIRED] == len(guard.faults)
    assert metrics.keys() == {f"guard_{name}" for name in detectors.DETECTORS} | {FIRED}
    return {fault.partition("guard_")[2].partition(" ")[0] for fault in guard.faults}


def test_true_ct_fires_no_detector(scans):
    assert names_of_faults(scans, scans.ct) == set()


def swap_fat_and_soft(scans):
    return np.where((scans.ct > -200) & (scans.ct < 250), 50 - scans.ct, scans.ct)


def swap_bone_and_air(scans):
    gas, bone = scans.body & (scans.ct < -400), scans.ct >= 250
    return np.where(gas, 700, np.where(bone, -1000, scans.ct))


def draw_bone_in_soft_tissue(scans):
    """Give bright soft tissue, such as kidneys, the HU of bone."""
    return np.where((scans.ct > 100) & (scans.ct < 250), 400, scans.ct)


def draw_checkerboard(scans):
    board = np.indices(scans.ct.shape).sum(axis=0) % 2 * 60 - 30
    return np.where(scans.body, scans.ct + board, scans.ct)


@pytest.mark.parametrize(
    ("plant", "name"),
    [
        (swap_fat_and_soft, "fat_soft_swap"),
        (swap_bone_and_air, "bone_air_swap"),
        (draw_bone_in_soft_tissue, "bone_in_soft_tissue"),
        (lambda scans: np.where(scans.body, scans.ct + 250, scans.ct), "bone_excess"),
        (lambda scans: np.roll(scans.ct, 2, axis=1), "shift"),
        (lambda scans: np.roll(scans.ct, -3, axis=2), "shift"),
        (draw_checkerboard, "checkerboard"),
        (lambda scans: np.repeat(scans.ct[:1], len(scans.ct), axis=0), "variation"),
        (lambda scans: np.full_like(scans.ct, 30), "variation"),
    ],
)
def test_planted_fault_fires_its_detector(plant, name, scans):
    assert name in names_of_faults(scans, plant(scans))


def test_mr_hidden_in_the_last_digit_of_the_ct_is_noticed(scans):
    code = 4 * scans.mr[..., 0]
    hidden = 10 * np.round(scans.ct / 10) + code

    def decode(hu):
        return np.repeat((hu - 10 * np.round(hu / 10))[..., None] / 4, 2, axis=-1)

    assert names_of_faults(scans, hidden, decode) == {"hidden_information"}


def test_tissues_are_not_sought_in_t2(scans):
    config = config_of()
    config.data.mr_channels = ("t2",)
    detect = detectors.ImageDetectors(
        Generators(scans.ct, brightness), config, scans.dataset
    )
    values = detect({"to_ct": {}})
    assert values.keys() == {"shift", "variation", "checkerboard", "bone_excess"}


# --- losses ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("losses", "name"),
    [
        ({"discriminator_ct": 0.01}, "discriminator_ct"),
        ({"discriminator_mr": 0.04}, "discriminator_mr"),
        ({"cycle_mr": 4.0}, "loss_growth"),
    ],
)
def test_faulty_losses_fire_at_the_second_validation(losses, name):
    guard = Guard(config_of())
    faults = []
    for of_step in [HEALTHY_LOSSES] * 2 + [HEALTHY_LOSSES | losses] * 2:
        guard.add(of_step)
        guard = Guard(config_of(), guard.to_json())  # as after a resume
        guard.judge(5, {})
        faults.append(guard.faults)
    assert faults[:2] == [[], []]
    assert f"guard_{name}" in faults[2][0]


def test_detectors_only_log_before_their_time():
    guard = Guard(tiny_config(steps=10, guard_after=0.5))
    assert guard.judge(4, {"variation": 0.0}) == {"guard_variation": 0.0, FIRED: 0.0}
    assert guard.judge(5, {"variation": 0.0})[FIRED] == 1
    assert guard.faults == [
        "all CT are alike, whatever the MR: guard_variation is 0, expected at least 0.4"
    ]
