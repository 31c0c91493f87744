"""A kit gives no image away by anything but the image."""

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest
from ct_pairs import write_ct, write_pairs
from fake_dicom import write_mr

from input_pipeline.files import write_file
from input_pipeline.intensity import AIR_HU
from input_pipeline.volume import UnusableScan
from synthct_jax.evaluation.ct_files import read_ct
from synthct_jax.reader_study import kit as kit_module
from synthct_jax.reader_study import stacks
from synthct_jax.reader_study.answers import read_key
from synthct_jax.reader_study.kit import make_kit
from synthct_jax.reader_study.proportions import share
from synthct_jax.reader_study.settings import PAIR, SINGLE, SYNTHETIC

READERS, PEOPLE = 12, 8


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Folders of real and synthetic CT."""
    return write_pairs(tmp_path_factory.mktemp("scans"), PEOPLE)


@pytest.fixture(scope="module")
def kit(scans, tmp_path_factory):
    """Pages of a single-image study by reader, and its key."""
    folder = tmp_path_factory.mktemp("study")
    pages = make(scans, folder, readers=READERS, repeats=0.2)
    by_reader = {int(re.findall(r"\d+", page.stem)[0]): page for page in pages}
    return by_reader, read_key(folder / "key.json")


def make(scans, folder: Path, **options) -> list[Path]:
    real, synthetic = scans
    options = {"readers": 1, "design": SINGLE, "slices": 3, "seed": 0, **options}
    return make_kit(
        [real],
        [synthetic],
        output=folder / "kit",
        key=folder / "key.json",
        **options,
    )


def read_page(page: Path) -> tuple[dict, list[str]]:
    """The study of a page, and the text of each of its images."""
    text = page.read_text(encoding="utf-8")
    (study,) = re.findall(r'id="study">(.*?)</script>', text, re.DOTALL)
    images = re.findall(r'<script type="text/plain" id="image-\d+">(.*?)</sc', text)
    return json.loads(study), images


def pixels(image: str, study: dict) -> np.ndarray:
    values = np.frombuffer(base64.b64decode(image), "<i2")
    return values.reshape(study["slices"], study["size"], study["size"])


def file_facts(page: Path) -> list[list[float]]:
    """What a curious reader finds out about each trial without looking at it."""
    study, images = read_page(page)
    facts = []
    for place, trial in enumerate(study["trials"]):
        (index,) = trial["images"]
        hu = pixels(images[index], study)
        facts.append(
            [
                place,
                index,
                len(images[index]),
                len(base64.b64decode(images[index])),
                *hu.shape,
                *hu[:, 0, 0],
                hu.min(),
                page.stat().st_size,
                page.stat().st_mtime,
                *map(ord, trial["name"]),
            ]
        )
    return facts


def held_out_hits(facts: np.ndarray, synthetic: np.ndarray, train: np.ndarray) -> int:
    """Right guesses of a linear classifier on what it was not trained on."""
    centred = facts - facts[train].mean(axis=0)
    scale = centred[train].std(axis=0)
    features = centred / np.where(scale > 0, scale, 1)
    weights = np.linalg.solve(
        features[train].T @ features[train] + np.eye(features.shape[1]),
        features[train].T @ (synthetic[train] - synthetic[train].mean()),
    )
    guess = features[~train] @ weights > 0
    return int((guess == synthetic[~train]).sum())


def test_file_facts_do_not_tell_real_from_synthetic(kit):
    pages, key = kit
    facts, synthetic, reader = [], [], []
    for number, page in pages.items():
        facts += file_facts(page)
        synthetic += [trial.truth == SYNTHETIC for trial in key.trials[number]]
        reader += [number] * len(key.trials[number])
    train = np.array(reader) <= READERS // 2
    hits = held_out_hits(np.array(facts, float), np.array(synthetic), train)
    interval = share(hits, int((~train).sum()), level=0.99)
    assert interval.low <= 0.5 <= interval.high


def test_the_same_classifier_tells_the_scans_themselves_apart(scans):
    facts, synthetic = [], []
    for kind, folder in enumerate(scans):
        for path in sorted(Path(folder).iterdir()):
            hu = read_ct(str(path)).voxels
            facts.append(
                [path.stat().st_size, *hu.shape, hu[0, 0, 0, 0], hu.min(), hu.max()]
            )
            synthetic.append(kind == 1)
    train = np.arange(len(facts)) % 2 == 0
    hits = held_out_hits(np.array(facts, float), np.array(synthetic), train)
    assert hits == (~train).sum()


def test_page_may_load_and_send_nothing(kit):
    text = kit[0][1].read_text(encoding="utf-8")
    (policy,) = re.findall(r'Content-Security-Policy" content="(.*?)"', text)
    assert policy.startswith("default-src 'none';") and "http" not in policy
    assert policy.endswith("form-action 'none'; base-uri 'none'")


def test_page_names_no_scan_and_no_kind_of_a_case(kit):
    pages, key = kit
    text = pages[1].read_text(encoding="utf-8")
    study, _ = read_page(pages[1])
    assert set(study) == {
        "kit", "reader", "design", "answers", "size", "slices", "windows", "trials",
    }  # fmt: skip
    assert all(set(trial) == {"name", "images"} for trial in study["trials"])
    for name, path in key.cases.items():
        assert name not in text and Path(path).name not in text
    assert "http:" not in text and "https:" not in text


def test_table_metal_and_pixels_of_a_scan_are_gone(kit):
    study, images = read_page(kit[0][1])
    assert len(images) == 2 * PEOPLE
    for image in images:
        hu = pixels(image, study)
        assert hu.max() <= stacks.HIGHEST_HU and hu.min() == AIR_HU
        # The body is at most 130 mm high, the table begins 77 mm below its middle.
        middle = study["size"] // 2
        assert (hu[:, middle + 72 // 4 :] == AIR_HU).all()
        assert (hu[:, middle, middle] > 0).all()


def test_all_slices_have_the_noise_of_the_noisiest(tmp_path):
    """Slices of 4 mm mix slices of 3 mm in changing shares, which must not be seen."""
    scans = write_pairs(tmp_path / "scans", 4, finer=2)
    (page,) = make(scans, tmp_path, repeats=0, slices=5)
    study, images = read_page(page)
    (trials,) = read_key(tmp_path / "key.json").trials.values()
    levels = {True: [], False: []}
    for trial, shown in zip(trials, study["trials"], strict=True):
        hu = pixels(images[shown["images"][0]], study).astype(float)
        levels[trial.truth == SYNTHETIC].append(stacks.noise(hu))
    before = [
        stacks.noise(read_ct(str(min(Path(folder).iterdir()))).voxels[..., 0]).mean()
        for folder in scans
    ]
    assert before[0] > 10 * before[1]
    assert np.mean(levels[True]) == pytest.approx(np.mean(levels[False]), rel=0.05)
    assert np.mean(levels[True]) > 3
    for of_kind in levels.values():
        assert (np.std(of_kind, axis=1) < 0.05 * np.mean(of_kind)).all()


def test_pages_of_a_pair_show_both_cases_side_by_side(scans, tmp_path):
    (page,) = make(scans, tmp_path, design=PAIR, cases=3, repeats=0)
    study, images = read_page(page)
    assert len(study["trials"]) == 3 and len(images) == 6
    shown = [index for trial in study["trials"] for index in trial["images"]]
    assert sorted(shown) == list(range(6))
    assert len(read_key(tmp_path / "key.json").trials[1]) == 3


def test_same_arguments_give_the_same_files_and_another_seed_others(scans, tmp_path):
    contents = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        (page,) = make(scans, tmp_path / name, seed=seed, cases=4)
        contents.append((page.read_text(), (tmp_path / name / "key.json").read_text()))
    assert contents[0] == contents[1]
    assert contents[0][0] != contents[2][0]
    kits = {json.loads(key)["kit"] for _, key in contents}
    assert len(kits) == 2


def test_order_cannot_be_computed_where_no_seed_is_given(scans, tmp_path):
    seeds, orders = [], []
    for name in ("a", "b"):
        make(scans, tmp_path / name, seed=None)
        path = tmp_path / name / "key.json"
        seeds.append(json.loads(path.read_text())["seed"])
        orders.append([t.cases for t in read_key(path).trials[1]])
    assert seeds[0] != seeds[1]
    assert orders[0] != orders[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"readers": 0}, "--readers=0, expected 1 or more"),
        ({"seed": -1}, "--seed=-1, expected 0 or more"),
        ({"margin": 0.5}, "--margin=0.5, expected above 0 and below 0.5"),
        ({"slices": 0}, "--slices=0, expected 1 or more"),
        ({"repeats": 0.6}, "--repeats=0.6, expected 0 to 0.5"),
        ({"cases": 5}, "--cases=5, expected an even number from 4 to 16"),
        ({"cases": 18}, "--cases=18, expected an even number from 4 to 16"),
    ],
)
def test_numbers_outside_their_domain_are_named(scans, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        make(scans, tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_key_is_not_written_where_readers_find_it_nor_over_another(scans, tmp_path):
    places = {"output": tmp_path / "kit", "key": tmp_path / "kit" / "key.json"}
    options = {"readers": 1, "design": SINGLE}
    with pytest.raises(ValueError, match="lies in --output"):
        make_kit([scans[0]], [scans[1]], **places, **options)
    places["key"] = tmp_path / "key.json"
    places["key"].write_text("{}")
    with pytest.raises(FileExistsError, match="nothing is overwritten"):
        make_kit([scans[0]], [scans[1]], **places, **options)


def test_failure_leaves_no_key_without_its_kit(scans, tmp_path, monkeypatch):
    def write_and_occupy(path, content):
        write_file(path, content)
        write_ct(tmp_path / "kit" / "other.nii.gz", synthetic=True, seed=0)

    monkeypatch.setattr(kit_module, "write_file", write_and_occupy)
    with pytest.raises(FileExistsError, match="other.nii.gz"):
        make(scans, tmp_path, cases=4)
    assert [path.name for path in tmp_path.iterdir()] == ["kit"]


def test_scan_with_too_few_slices_is_named(scans, tmp_path):
    with pytest.raises(
        UnusableScan, match="8[01] mm of body, expected 120 mm .*--slices"
    ):
        make(scans, tmp_path, slices=30)


@pytest.mark.parametrize(
    "names", [["in_phase", "out_of_phase"], ["a/t2"], ["patient_MR"], ["mri.1/image"]]
)
def test_mr_by_its_name_is_no_real_ct(scans, tmp_path, names):
    for name in names:
        path = tmp_path / "real" / f"{name}.nii.gz"
        write_ct(path, synthetic=False, seed=0)
    with pytest.raises(
        UnusableScan, match="^--real: .*an MR by its name, .*expected CT"
    ):
        make((str(tmp_path / "real"), scans[1]), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["real"]


def test_mr_by_its_headers_is_no_real_ct(scans, tmp_path):
    for subject in "ab":
        write_mr(tmp_path / "real" / subject)
    with pytest.raises(UnusableScan, match=r"real/[ab]: modality is MR .*expected CT"):
        make((str(tmp_path / "real"), scans[1]), tmp_path)


@pytest.mark.parametrize("name", ["ct_on_mr.nii.gz", "t2n/hu.nii.gz", "mrs_7.nii.gz"])
def test_ct_may_have_any_other_name(scans, tmp_path, name):
    write_ct(tmp_path / "real" / name, synthetic=False, seed=0)
    write_ct(tmp_path / "real" / "b.nii.gz", synthetic=False, seed=1)
    assert make((str(tmp_path / "real"), scans[1]), tmp_path)


def test_one_output_or_file_is_one_scan(tmp_path):
    output = tmp_path / "out"
    write_ct(output / "synthetic_ct.nii.gz", synthetic=True, seed=0)
    write_ct(output / "uncertainty.nii.gz", synthetic=True, seed=0)
    (output / "dicom").mkdir()
    write_ct(tmp_path / "real.nii.gz", synthetic=False, seed=0)
    scans = str(tmp_path / "real.nii.gz"), str(output)
    with pytest.raises(ValueError, match="1 real and 1 synthetic scans"):
        make(scans, tmp_path / "study")
