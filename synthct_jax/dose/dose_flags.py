"""Flags of the mode that checks the dose on synthetic CT."""

from absl import flags

from synthct_jax.dose import plans
from synthct_jax.runtime.flag_help import describe, join_flags

SUBJECTS = flags.DEFINE_integer(
    "subjects",
    None,
    describe("subjects", dose="how many subjects, the first; by default all."),
    lower_bound=1,
)
RADIATION = flags.DEFINE_enum(
    "radiation",
    None,
    plans.RADIATIONS,
    describe(
        "radiation",
        dose="photons, five fields, or protons, two; by default both.",
    ),
)
GANTRY = flags.DEFINE_list(
    "gantry",
    [],
    describe(
        "gantry",
        dose="directions of the proton fields with --input, in degrees: 0 is anterior, "
        "90 the patient's left; by default 180,270.",
    ),
)


def radiations() -> tuple[str, ...]:
    """Return the radiations of --radiation."""
    return plans.RADIATIONS if RADIATION.value is None else (RADIATION.value,)


def check() -> None:
    """Raise ValueError for flags that no plan reads."""
    names = [n for n in ("truth", "mask", "organs", "gantry") if flags.FLAGS[n].present]
    if names and not flags.FLAGS["input"].present:
        raise ValueError(f"dose reads {join_flags(names)} with --input alone")
    if GANTRY.present and RADIATION.value == plans.PHOTONS:
        raise ValueError(
            "--gantry has directions of protons: --radiation=photons does not read it"
        )
