"""Errors where translations disagree, in the region of structures.dcm, and elsewhere.

    PYTHONPATH=. python tests/support/spread_regions.py MODEL [SUBJECTS]

The simulated people are those of quality_faults.py.
"""

import sys

import numpy as np
from quality_faults import (
    FIRST_SEED,
    SLICE_MM,
    SPACING_MM,
    draw_example,
    translate_phases,
)

from synthct_jax.inference.loaded_model import load_model_file
from synthct_jax.quality.regions import find_body, find_regions

LARGE_HU = 100  # an error


def main(model_name: str, subjects: int = 10) -> None:
    model = load_model_file(model_name)
    rows = []
    for seed in range(FIRST_SEED, FIRST_SEED + subjects):
        subject = draw_example(seed)
        hu, spread, body = translate_phases(model, subject.mr)
        spacing_mm = (SLICE_MM, SPACING_MM, SPACING_MM)
        regions = find_regions(find_body(hu, body), spread, spacing_mm)
        body, marked = (region.mask for region in regions)
        error = np.abs(hu - subject.ct_hu)
        inside, elsewhere = error[marked], error[body & ~marked]
        large = (inside > LARGE_HU).sum() / (error[body] > LARGE_HU).sum()
        share = 100 * marked.sum() / body.sum()
        rows.append((share, inside.mean(), elsewhere.mean(), 100 * large))
        print(f"{len(rows)} of {subjects}", file=sys.stderr, flush=True)
    print(f"| in {subjects} simulated people | mean | least | most |")
    print("|---|---:|---:|---:|")
    names = (
        "share of the body that is marked, %",
        "mean absolute error there, HU",
        "mean absolute error elsewhere, HU",
        f"share of the errors above {LARGE_HU} HU that is marked, %",
    )
    for name, values in zip(names, zip(*rows, strict=True), strict=True):
        mean, least, most = np.mean(values), min(values), max(values)
        print(f"| {name} | {mean:.1f} | {least:.1f} | {most:.1f} |")


if __name__ == "__main__":
    model_name, *rest = sys.argv[1:]
    main(model_name, *map(int, rest))
