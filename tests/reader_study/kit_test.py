"""A kit gives no image away by anything but the image."""

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest
from ct_pairs import write_ct, write_pairs

from input_pipeline.volume import UnusableScan
from synthct_jax.evaluation.ct_files import read_ct
from synthct_jax.reader_study import stacks
from synthct_jax.reader_study.answers import read_key
from synthct_jax.reader_study.kit import list_scans, make_kit
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
    options = {"readers": 1, "design": SINGLE, "slices": 3, **options}
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
    assert "http" not in text


def test_table_metal_and_pixels_of_a_scan_are_gone(kit):
    study, images = read_page(kit[0][1])
    assert len(images) == 2 * PEOPLE
    for image in images:
        hu = pixels(image, study)
        assert hu.max() <= stacks.HIGHEST_HU and hu.min() == stacks.AIR_HU
        # The body is at most 130 mm high, the table begins 77 mm below its middle.
        middle = study["size"] // 2
        assert (hu[:, middle + 72 // 4 :] == stacks.AIR_HU).all()
        assert (hu[:, middle, middle] > 0).all()


def test_all_stacks_have_the_noise_of_the_noisiest(kit, scans):
    pages, key = kit
    study, images = read_page(pages[1])
    levels = {True: [], False: []}
    for trial, shown in zip(key.trials[1], study["trials"], strict=True):
        hu = pixels(images[shown["images"][0]], study).astype(float)
        levels[trial.truth == SYNTHETIC].append(stacks.noise(hu))
    before = [
        stacks.noise(read_ct(str(min(Path(folder).iterdir()))).voxels[..., 0])
        for folder in scans
    ]
    assert before[0] > 10 * before[1]
    assert np.mean(levels[True]) == pytest.approx(np.mean(levels[False]), rel=0.1)
    assert np.mean(levels[True]) > 3


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"readers": 0}, "--readers=0, expected 1 or more"),
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


def test_scan_with_too_few_slices_is_named(scans, tmp_path):
    with pytest.raises(UnusableScan, match="80 mm of body, expected 120 mm .*--slices"):
        make(scans, tmp_path, slices=30)


def test_scans_are_those_of_a_folder_or_those_named(tmp_path):
    write_ct(tmp_path / "one.nii.gz", synthetic=True, seed=0)
    (tmp_path / "two").mkdir()
    (tmp_path / "three.ZIP").touch()
    (tmp_path / "notes.txt").touch()
    assert list(list_scans([str(tmp_path)])) == ["one", "three", "two"]
    named = list_scans([str(tmp_path / "one.nii.gz"), str(tmp_path / "two")])
    assert list(named) == ["one", "two"]
    with pytest.raises(ValueError, match="have one name"):
        list_scans([str(tmp_path / "two"), str(tmp_path / "two.nii")])
    with pytest.raises(ValueError, match="neither folders nor files"):
        list_scans([str(tmp_path / "two")])
