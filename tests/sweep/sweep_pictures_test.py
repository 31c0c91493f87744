"""The slices that a sweep shows, the same for all variants."""

import dataclasses
import io

import matplotlib.image
import numpy as np
import pytest

from input_pipeline.dataset.dataset import Dataset
from input_pipeline.intensity import mr_to_unit
from input_pipeline.preparation import prepare
from synthct_jax.configs import phantom
from synthct_jax.evaluation.ct_methods import Model
from synthct_jax.evaluation.subjects import read_subjects
from synthct_jax.sweep import pictures
from synthct_jax.sweep.pictures import Place, View


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep") / "data"
    config = phantom.get_config()
    config.phantom.update(train_mr=1, train_ct=1, validation=0, test=3, slices=8)
    config.phantom.slice_mm = 18.0
    config.data.update(size=32, spacing_mm=12.0)
    prepare.prepare(config, None, folder, workers=1)
    return folder


def water(mr):
    return np.zeros(mr.shape[:3], np.float32)


WATER = Model(
    translate=water,
    network_input=lambda mr: mr_to_unit(mr[..., :1]),
    channels=("in_phase",),
)


def test_slices_are_those_of_the_least_the_median_and_the_largest_error(data):
    dataset = Dataset.open(data)
    places = pictures.choose_places(water, dataset)
    errors = {
        (case.name, index): np.abs(ct[case.labels[index] > 0]).mean()
        for case in read_subjects(dataset, "test")
        for index, ct in enumerate(case.reference_ct)
    }
    reasons = [place.reason for place in places]
    assert reasons == ["best slice", "median slice", "worst slice"]
    (view,) = pictures.read_views(WATER, dataset, places[2:])
    name, index = max(errors, key=errors.get)
    assert places[2].subject == name
    worst = next(c for c in read_subjects(dataset, "test") if c.name == name)
    np.testing.assert_array_equal(view.reference_ct, worst.reference_ct[index])
    assert list(view.mr) == ["in_phase"] and view.synthetic_ct.shape == (32, 32)


def test_other_grid_shows_the_slice_at_the_same_height(data):
    dataset = Dataset.open(data)
    name = dataset.manifest.domains["mr"].of_split("test")[0].name
    heights = [
        pictures._height(dataset.manifest.domains["mr"], name, i) for i in range(8)
    ]
    assert np.diff(heights) == pytest.approx(18)
    place = Place(subject=name, height_mm=heights[5] + 7, reason="")
    (view,) = pictures.read_views(WATER, dataset, [place])
    case = next(read_subjects(dataset, "test"))
    np.testing.assert_array_equal(view.reference_ct, case.reference_ct[5])


def test_without_a_reference_ct_the_middle_slices_are_shown(data, monkeypatch):
    def unknown(*arguments):
        for case in read_subjects(*arguments):
            yield dataclasses.replace(case, reference_ct=None, labels=None)

    monkeypatch.setattr(pictures, "read_subjects", unknown)
    dataset = Dataset.open(data)
    places = pictures.choose_places(water, dataset)
    names = [
        subject.name for subject in dataset.manifest.domains["mr"].of_split("test")
    ]
    assert [place.subject for place in places] == [names[0], names[-1]]
    views = pictures.read_views(WATER, dataset, places)
    image = picture(places, {"in": views})
    assert views[0].reference_ct is None
    # A band has a row of its own for errors where there are any.
    assert image.shape[0] < image.shape[1] * 1.5


def picture(places, views):
    return matplotlib.image.imread(io.BytesIO(pictures.figure(places, views)))


def test_every_variant_and_channel_has_a_column_whatever_its_grid():
    place = [Place(subject="p", height_mm=0.0, reason="")]

    def view(channel, side):
        flat = np.zeros((side, side), np.float32)
        return [View(mr={channel: flat}, synthetic_ct=flat, reference_ct=flat)]

    single = picture(place, {"in": view("in_phase", 8)})
    variants = {"in": view("in_phase", 8), "out": view("out_of_phase", 8)}
    three = picture(place, variants | {"t2": view("t2", 12)})
    column = single.shape[1] / 3  # MR, synthetic, true
    assert three.shape[1] == pytest.approx(7 * column, rel=0.02)
    assert three.shape[0] == single.shape[0]
