"""Sensitivity of the quality features to planted faults, and their false alarms.

    PYTHONPATH=. python tests/support/quality_faults.py MODEL [SUBJECTS [CACHE]]

Simulated people that no limits and no model have seen are acquired by random scanners
and translated once. Faults of the input are planted in the MR and judged by the input's
features alone, as before a translation; faults of the output are planted in the HU.
CACHE is a folder that keeps the MR and HU of a model for another run.
"""

import collections
import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.ndimage

from input_pipeline.intensity import AIR_HU
from input_pipeline.phantom import draw_subject, shapes
from input_pipeline.phantom.subject import PhantomSubject
from input_pipeline.volume import MR_CHANNELS, Volume
from synthct_jax.inference.loaded_model import LoadedModel, load_model_file
from synthct_jax.inference.synthesis import to_network, translate_input
from synthct_jax.quality import judgement
from synthct_jax.quality.features import (
    OUTPUT,
    features_of,
    measure_input,
    measure_output,
)
from synthct_jax.quality.limits import read_limits

FIRST_SEED = 2**33
SPACING_MM = 2.0
SLICE_MM = 6.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Person:
    """A simulated person: all MR channels, HU of the network and its spread."""

    seed: int
    mr: np.ndarray
    hu: np.ndarray
    spread: np.ndarray
    body: np.ndarray

    @property
    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)


# --- faults of the input: MR with the channels in_phase and out_of_phase --------------


def _channels(*names: str) -> Callable[[Person], np.ndarray]:
    return lambda p: p.mr[..., [MR_CHANNELS.index(name) for name in names]]


_phases = _channels("in_phase", "out_of_phase")


def _bias(person: Person) -> np.ndarray:
    """Multiply by a field three times as strong as the strongest of the training."""
    plane = shapes.centres(person.mr.shape[1], SPACING_MM)
    axes = (np.zeros(1, np.float32), plane, plane)
    field = shapes.smooth_noise(person.rng, axes, 120.0)[0]
    return _phases(person) * np.exp(3 * 0.22 * field)[..., None]


def _noise(person: Person) -> np.ndarray:
    mr, rng = _phases(person), person.rng
    deviation = 0.15 * np.percentile(mr, 99.5)
    real, imaginary = rng.normal(0, deviation, (2, *mr.shape))
    return np.hypot(mr + real, imaginary)


def _inverted(person: Person) -> np.ndarray:
    mr = _phases(person)
    top = np.percentile(mr, 99.5)
    return np.where(person.body[..., None], np.clip(top - mr, 0, None), mr)


def _without_slices(person: Person) -> np.ndarray:
    return np.delete(_phases(person), np.s_[9:14], axis=0)


def _repeated_slice(person: Person) -> np.ndarray:
    mr = _phases(person).copy()
    mr[11] = mr[10]
    return mr


def _cut(person: Person) -> np.ndarray:
    columns = np.flatnonzero(person.body.any(axis=(0, 1)))
    return _phases(person)[:, :, columns[len(columns) // 4] :]


def _small(person: Person) -> np.ndarray:
    return scipy.ndimage.zoom(_phases(person), (1, 0.5, 0.5, 1), order=1)


def _moved_phase(person: Person) -> np.ndarray:
    mr = _phases(person).copy()
    mr[..., 1] = np.roll(mr[..., 1], round(16 / SPACING_MM), axis=1)
    return mr


INPUT_FAULTS = {
    "phases exchanged": _channels("out_of_phase", "in_phase"),
    "T2 as in phase": _channels("t2", "out_of_phase"),
    "T2 as out of phase": _channels("in_phase", "t2"),
    "contrast inverted": _inverted,
    "bias field three times the strongest": _bias,
    "noise, 15 % of the scale": _noise,
    "five slices missing in the middle": _without_slices,
    "one slice twice": _repeated_slice,
    "field of view without a quarter of the body": _cut,
    "half the size, as a head": _small,
    "out of phase moved by 16 mm": _moved_phase,
}


# --- faults of the output: HU on the network's pixels ---------------------------------


def _within_body(person: Person, hu: np.ndarray) -> np.ndarray:
    return np.where(person.body, hu, AIR_HU)


def _shifted(person: Person) -> np.ndarray:
    return _within_body(person, np.roll(person.hu, round(4 / SPACING_MM), axis=2))


def _without_bone(person: Person) -> np.ndarray:
    return np.where(person.hu >= 200, 40, person.hu)


def _exchanged(person: Person) -> np.ndarray:
    """Mirror the HU of fat and soft tissue."""
    is_soft = (person.hu > -200) & (person.hu < 250)
    return np.where(is_soft, -60 - person.hu, person.hu)


def _without_gas(person: Person) -> np.ndarray:
    return np.where(person.body & (person.hu < -400), 40, person.hu)


def _sphere(person: Person, radius_mm: float) -> np.ndarray:
    """Return a sphere at a random place, all of it in the body."""
    spacing_mm = (SLICE_MM, SPACING_MM, SPACING_MM)
    depth_mm = scipy.ndimage.distance_transform_edt(person.body, sampling=spacing_mm)
    places = np.argwhere(depth_mm > radius_mm)
    centre = places[person.rng.integers(len(places))]
    offsets = np.indices(person.hu.shape) - centre[:, None, None, None]
    steps = np.reshape(spacing_mm, (3, 1, 1, 1))
    return ((offsets * steps) ** 2).sum(axis=0) <= radius_mm**2


def _invented_organ(person: Person) -> np.ndarray:
    return np.where(_sphere(person, 30.0), 60, person.hu)


def _invented_gas(person: Person) -> np.ndarray:
    return np.where(_sphere(person, 15.0), -1000, person.hu)


def _too_dense(person: Person) -> np.ndarray:
    return _within_body(person, person.hu + 30)


def _flicker(person: Person) -> np.ndarray:
    hu = person.hu.copy()
    hu[12] += 80
    return _within_body(person, hu)


def _mirrored(person: Person) -> np.ndarray:
    return _within_body(person, person.hu[:, :, ::-1])


OUTPUT_FAULTS = {
    "moved by 4 mm": _shifted,
    "bone lost": _without_bone,
    "fat and muscle exchanged": _exchanged,
    "gas filled with soft tissue": _without_gas,
    "organ of 60 mm invented": _invented_organ,
    "gas of 30 mm invented": _invented_gas,
    "all HU 30 too high": _too_dense,
    "one slice 80 HU too high": _flicker,
    "left and right exchanged": _mirrored,
}


# --- judging --------------------------------------------------------------------------


def draw_example(seed: int) -> PhantomSubject:
    """Draw a simulated person, acquired by a random scanner."""
    return draw_subject(
        seed,
        size=192,
        spacing_mm=SPACING_MM,
        slices=24,
        slice_mm=SLICE_MM,
        scanner="randomised",
        anatomy="varied",
    )


def translate_phases(
    model: LoadedModel, mr: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return HU, their spread over views, and the mask of the body."""
    network_input = to_network(model, volume_of(_phases_of(mr)))
    batches = zip(*translate_input(model, network_input), strict=True)
    hu, spread = map(np.concatenate, batches)
    return hu, spread, network_input.body


def draw_person(model: LoadedModel, seed: int, cache: Path | None) -> Person:
    path = cache and cache / f"{seed}.npz"
    if path and path.exists():
        return Person(seed=seed, **np.load(path))
    subject = draw_example(seed)
    hu, spread, body = translate_phases(model, subject.mr)
    person = Person(seed=seed, mr=subject.mr, hu=hu, spread=spread, body=body)
    if path:
        np.savez_compressed(
            path, **{k: v for k, v in vars(person).items() if k != "seed"}
        )
    return person


def _phases_of(mr: np.ndarray) -> np.ndarray:
    return mr[..., :2]


def volume_of(voxels: np.ndarray) -> Volume:
    return Volume(
        voxels=np.asarray(voxels, np.float32),
        affine=np.diag([-SPACING_MM, -SPACING_MM, SLICE_MM, 1]),
        modality="MR",
        channels=("in_phase", "out_of_phase"),
    )


def judge_input(model: LoadedModel, voxels: np.ndarray) -> list[judgement.Finding]:
    """Judge an MR, and its CT as well unless the MR is refused."""
    channels = model.data["mr_channels"]
    network_input = to_network(model, volume_of(voxels))
    values = measure_input(network_input.mr, channels)
    table = features_of(channels)
    limits = read_limits(model.quality, table)
    findings = judgement.judge(values, table, limits)
    if judgement.outcome_of(findings) == judgement.REFUSE:
        return findings
    images = zip(*translate_input(model, network_input), strict=True)
    hu, spread = (np.concatenate(image) for image in images)
    on_grid = network_input.to_grid(hu, AIR_HU), network_input.to_grid(spread, 0)
    values |= measure_output(network_input.mr, *on_grid)
    return judgement.judge(values, table, limits)


def judge_output(
    model: LoadedModel, person: Person, hu: np.ndarray
) -> list[judgement.Finding]:
    network_input = to_network(model, volume_of(_phases(person)))
    on_grid = network_input.to_grid(hu.astype(np.float32), AIR_HU)
    values = measure_output(
        network_input.mr, on_grid, network_input.to_grid(person.spread, 0)
    )
    table = features_of(model.data["mr_channels"])
    return judgement.judge(values, table, read_limits(model.quality, table))


def main(model_name: str, subjects: int = 12, cache: str | None = None) -> None:
    model = load_model_file(model_name)
    folder = cache and Path(cache)
    outcomes = collections.defaultdict(list)
    for seed in range(FIRST_SEED, FIRST_SEED + subjects):
        person = draw_person(model, seed, folder)
        outcomes["input", "none"].append(judge_input(model, _phases(person)))
        outcomes[OUTPUT, "none"].append(judge_output(model, person, person.hu))
        for name, plant in INPUT_FAULTS.items():
            outcomes["input", name].append(judge_input(model, plant(person)))
        for name, plant in OUTPUT_FAULTS.items():
            findings = judge_output(model, person, plant(person))
            outcomes[OUTPUT, name].append(findings)
        print(f"{seed - FIRST_SEED + 1} of {subjects}", file=sys.stderr, flush=True)
    print(f"| stage | fault | noticed of {subjects} | refused | by, most often |")
    print("|---|---|---|---|---|")
    for (stage, name), judged in outcomes.items():
        results = [judgement.outcome_of(findings) for findings in judged]
        noticed = sum(r in (judgement.WARN, judgement.REFUSE) for r in results)
        by = collections.Counter(
            finding.name
            for findings in judged
            for finding in findings
            if finding.verdict in (judgement.WARN, judgement.REFUSE)
        )
        named = ", ".join(f"`{name}` {count}" for name, count in by.most_common(3))
        refused = results.count(judgement.REFUSE) if stage == "input" else "–"
        print(f"| {stage} | {name} | {noticed} | {refused} | {named or '–'} |")


if __name__ == "__main__":
    model_name, *rest = sys.argv[1:]
    main(model_name, *map(int, rest[:1]), *rest[1:])
