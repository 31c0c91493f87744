"""The report of an evaluation as a reader finds it."""

import dataclasses

import numpy as np
import pytest
from html_page import HtmlPage
from made_up_results import make, subjects

from synthct_jax.evaluation.report import evaluation_page
from synthct_jax.evaluation.results import NETWORK, REFERENCE_CT, Row
from synthct_jax.metrics import histogram, paired, spectrum

BASELINE = "water"


def report(mae, *, baseline=143.0, **changed):
    """Return the page of made-up results, beside a baseline of the same subjects."""
    band = "band:soft_tissue"
    voxels = tuple(
        Row(name, REFERENCE_CT, band, "voxels", 900.0) for name in subjects(mae)
    )
    results = make(subjects(mae), extra_rows=voxels, **changed)
    metric = "mae" if results.paired else "frechet_haar_v1"
    counts = np.ones(len(histogram.CENTRES_HU)).tolist()
    frequencies = spectrum.frequencies().tolist()
    errors = {
        "start_hu": paired.ERROR_RANGE_HU[0],
        "step_hu": paired.ERROR_STEP_HU,
        NETWORK: [1, 2, 1],
    }
    results = dataclasses.replace(
        results,
        rows=[*results.rows, Row("", BASELINE, "body", metric, baseline, n=len(mae))],
        histograms={"synthetic": counts, "real": counts},
        error_histogram=errors if results.paired else None,
        spectra={
            "frequencies": frequencies,
            "synthetic": frequencies,
            "real": frequencies,
        },
    )
    return HtmlPage(evaluation_page.render(results, slices=[], curves=[]))


def test_measures_that_matter_are_seen_at_once_and_the_others_are_folded():
    page = report([100.0, 110.0])
    for text in ("HU values in the body", "Overall appearance", "Size of the HU err"):
        assert text in page.visible and text not in page.folded
    for text in ("Wasserstein-1 of HU", "SSIM", "fat muscle border", "/runs/a"):
        assert text in page.folded and text not in page.visible


def test_distributions_come_first_then_accuracy_then_examples():
    text = report([100.0, 110.0]).visible
    order = ("Do the synthetic CT look like real CT?", "Accuracy", "Example slices")
    places = [text.index(heading) for heading in order]
    assert places == sorted(places)


def test_first_sentence_says_how_far_off_and_what_a_baseline_reaches():
    page = report([100.0, 114.0], baseline=214.0)
    assert "differs from the reference CT by 107 HU on average" in page.visible
    assert "differs by 214 HU, so the synthetic CT has 50 % of its error" in page.text
    assert "the synthetic CT is no better" in report([100.0, 114.0], baseline=90.0).text


def test_without_reference_ct_nothing_is_said_of_accuracy():
    page = report([100.0, 110.0], paired=False, baseline=9.0)
    assert "There is no reference CT" in page.visible
    assert "Accuracy against the reference CT" not in page.text
    # Agreement with the own MR is the only evidence about single patients.
    assert "Overlap of the body outlines" in page.visible


@pytest.mark.parametrize("worse, said", [(1.0, "outside"), (0.3, "within")])
def test_each_measure_says_on_which_side_of_the_range_of_real_ct_it_is(worse, said):
    page = report([100.0, 110.0], worse=worse)
    (row,) = [row for row in page.rows if row[0].startswith("HU values in the body")]
    assert row[3] == f"{said} the range of real CT"


def test_errors_by_region_have_signs_and_shares():
    page = report([100.0, 110.0])
    (row,) = [row for row in page.rows if row[0] == "muscle"]
    share, n, mae, _, me = row[1:6]
    assert (share, n, mae, me) == ("100.0 %", "2", "210", "−105")


def test_each_subject_has_a_row():
    page = report([100.0, 110.0])
    rows = {row[0]: row for row in page.rows if row[0].startswith("subject_")}
    assert rows["subject_1"][1] == "5"  # slices
    assert "110.0" in rows["subject_1"]
