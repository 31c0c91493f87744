import errno
import json
import os
import pathlib

import nibabel
import numpy as np
import pytest
from tiny_scans import hashes, own_config, tiny_phantom, write_scan, write_subjects

from input_pipeline.dataset.dataset import Dataset
from input_pipeline.dataset.manifest import SPLITS, read_manifest
from input_pipeline.intensity import MR_ONE
from input_pipeline.preparation import prepare as prepare_module
from input_pipeline.preparation.contact_sheet import write_contact_sheet
from input_pipeline.preparation.jobs import (
    ScanJob,
    SliceFormat,
    StoredVolume,
    store_subject,
)
from input_pipeline.preparation.prepare import prepare
from input_pipeline.preparation.split import phantom_jobs, split_subjects
from input_pipeline.volume import UnusableScan
from synthct_jax.configs import chaos, folder

# --- a folder of one's own ------------------------------------------------------------


def read_subjects(data_dir, domain, split):
    """Names and stored slices."""
    volumes = Dataset.open(data_dir).subjects(domain, split)
    return [(volume.name, volume.stored) for volume in volumes]


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    root = tmp_path_factory.mktemp("own")
    write_subjects(root / "raw", mr=["a", "b", "both"], ct=["c", "both"])
    return prepare(own_config(), root / "raw", root / "data", workers=1), root / "data"


def test_data_set_has_exactly_its_files(own):
    _, data_dir = own
    assert sorted(os.listdir(data_dir)) == [
        "ct.png",
        "mr.png",
        "prepared.json",
        "slices",
        "subjects.csv",
    ]
    assert os.listdir(data_dir.parent).count("data") == 1
    assert not list(data_dir.parent.glob("*partial*"))
    for png in ("mr.png", "ct.png"):
        assert (data_dir / png).read_bytes().startswith(b"\x89PNG")


def test_full_disk_stops_at_once_and_names_the_data(tmp_path, monkeypatch):
    write_subjects(tmp_path / "raw", mr=["a", "b"], ct=["c"])
    writes = []

    def full(path, content):
        writes.append(path)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pathlib.Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left on device: '.*/data'$"):
        prepare(own_config(), tmp_path / "raw", tmp_path / "data", workers=1)
    assert len(writes) == 1
    assert os.listdir(tmp_path) == ["raw"]


def test_person_is_in_one_split_in_both_domains(own):
    prepared, _ = own
    split = {
        domain: {s.name: s.split for s in prepared.domains[domain].subjects}
        for domain in ("mr", "ct")
    }
    a, b, c, both = (f"subject_00{number}" for number in range(1, 5))
    assert set(split["mr"]) == {a, b, both} and set(split["ct"]) == {c, both}
    assert split["mr"][both] == split["ct"][both]
    assert sorted(split["mr"][name] for name in (a, b)) == ["test", "train"]
    assert any("ct: 2 subjects, none left for" in text for text in prepared.warnings)


def test_names_of_folders_are_in_a_file_of_their_own(own):
    _, data_dir = own
    rows = (data_dir / "subjects.csv").read_text().splitlines()
    assert rows == [
        "subject,folder",
        *(f"subject_00{i},{name}" for i, name in enumerate(["a", "b", "c", "both"], 1)),
    ]
    assert '"both"' not in (data_dir / "prepared.json").read_text()


def test_name_of_a_folder_that_is_not_utf8_keeps_its_bytes(tmp_path):
    write_subjects(tmp_path / "raw", mr=[os.fsdecode(b"D\xf6e")], ct=["c"])
    prepare(own_config(), tmp_path / "raw", tmp_path / "data", workers=1)
    assert b",D\xf6e" in (tmp_path / "data" / "subjects.csv").read_bytes()


def test_slices_are_hu_and_mr_on_one_scale(own):
    prepared, data_dir = own
    for domain in ("mr", "ct"):
        assert (
            prepared.domains[domain].channels
            == {
                "mr": ("in_phase", "out_of_phase"),
                "ct": ("hu",),
            }[domain]
        )
        for name, images in read_subjects(data_dir, domain, "train"):
            # Slices without a body are gone.
            assert images.shape[:3] == (4, 48, 48) and images.dtype == np.int16, name
            middle = images[:, 20:28, 20:28]
            if domain == "ct":
                assert (middle == 60).all() and images[:, 0].max() == -1024
            else:
                assert (middle[..., 0] == MR_ONE).all()
                assert (middle[..., 1] == MR_ONE // 4).all()
                assert images[:, 0].max() == 0


def test_affine_places_prepared_slices_in_the_patient(own):
    prepared, data_dir = own
    (name, images), *_ = read_subjects(data_dir, "ct", "train")
    found = next(s for s in prepared.domains["ct"].subjects if s.name == name)
    affine = np.array(found.affine)
    np.testing.assert_allclose(
        np.linalg.norm(affine[:3, :3], axis=0), [5.0, 5.0, 6.0], atol=1e-9
    )
    inside = np.argwhere(images[..., 0] > -400)
    centre = affine @ [*inside.mean(axis=0)[::-1], 1]
    # The ellipse's centre is voxel (22, 26), its slices are 1 to 4.
    expected = [-100 + 22 * 4, -60 + 26 * 3, 30 + 2.5 * 6]
    np.testing.assert_allclose(centre[:3], expected, atol=1.0)


def test_ct_on_the_grid_of_its_mr_is_cut_like_it(tmp_path):
    raw, folders = tmp_path / "raw", ["one_grid", "two_grids"]
    write_subjects(raw, mr=folders, ct=folders)
    for name in folders:
        path = raw / "ct" / name / "ct.nii.gz"
        image = nibabel.load(path)
        hu = np.roll(image.get_fdata(dtype=np.float32), 2, axis=0)  # 8 mm aside
        hu[..., 0] = hu[..., 1]  # a slice more of the body
        affine = image.affine.copy()
        affine[2, 3] += 3 * (name == "two_grids")
        nibabel.save(nibabel.Nifti1Image(hu, affine), path)
    config = own_config(split=(1.0, 0.0, 0.0))
    prepared = prepare(config, raw, tmp_path / "data", workers=1)
    names = ["subject_001", "subject_002"]
    assert prepared.paired_names("train") == {names[0]}
    places = {
        domain: {
            name: np.argwhere(images[..., 0] > {"mr": 0, "ct": -400}[domain])
            for name, images in read_subjects(tmp_path / "data", domain, "train")
        }
        for domain in ("mr", "ct")
    }
    aside = [places["ct"][n].mean(axis=0) - places["mr"][n].mean(axis=0) for n in names]
    assert abs(aside[0][2]) == pytest.approx(8 / 5, abs=0.1)  # pixels of 5 mm
    assert aside[1][2] == pytest.approx(0, abs=0.1)  # each in the middle of its own


def test_statistics_describe_the_body(own):
    prepared, _ = own
    ct = prepared.domains["ct"].statistics["train"]
    assert ct["slices"] == sum(
        s.slices for s in prepared.domains["ct"].of_split("train")
    )
    assert ct["percentiles"][0]["50"] == 60
    assert 0.1 < ct["body_fraction"] < 0.4
    mr = prepared.domains["mr"].statistics["train"]
    assert [p["50"] for p in mr["percentiles"]] == [MR_ONE, MR_ONE // 4]
    assert mr["upper_quartiles"] == [[MR_ONE] * 2, [MR_ONE // 4] * 2]


def test_single_subjects_train_with_a_warning(tmp_path, caplog):
    write_subjects(tmp_path / "raw", mr=["a"], ct=["c"])
    config = own_config(mask_outside_body=False)
    prepared = prepare(config, tmp_path / "raw", tmp_path / "data", workers=1)
    # Without a mask, pixels outside the body are kept.
    ((_, images),) = read_subjects(tmp_path / "data", "ct", "train")
    assert (images == -1000).sum() > (images == 60).sum()
    for domain in ("mr", "ct"):
        assert [s.split for s in prepared.domains[domain].subjects] == ["train"]
        warning = f"{domain}: a single subject, all of it is training data"
        assert any(text.startswith(warning) for text in prepared.warnings)
        assert warning in caplog.text


def test_existing_data_are_never_overwritten(tmp_path):
    write_subjects(tmp_path / "raw", mr=["a"], ct=["c"])
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    prepare(own_config(), tmp_path / "raw", data_dir, workers=1)  # empty is free
    before = hashes(data_dir)
    with pytest.raises(FileExistsError, match="data holds .*prepared.json"):
        prepare(own_config(), tmp_path / "raw", data_dir, workers=1)
    assert hashes(data_dir) == before


def test_all_refusals_are_listed_and_nothing_is_left_behind(tmp_path):
    write_subjects(tmp_path / "raw", mr=["a", "b"], ct=["c", "d"])
    (tmp_path / "raw/mr/b/out_of_phase.nii.gz").unlink()
    write_scan(tmp_path / "raw/ct/d/ct.nii.gz", (-1000, -1000))
    messages = []
    for workers in (1, 2):
        with pytest.raises(UnusableScan) as caught:
            prepare(own_config(), tmp_path / "raw", tmp_path / "data", workers=workers)
        messages.append(str(caught.value))
        assert os.listdir(tmp_path) == ["raw"]
    assert messages[0] == messages[1]
    first, *refusals = messages[0].splitlines()
    assert first.startswith("2 of 4 scans cannot be used")
    assert "out_of_phase" in refusals[0] and "mr/b" in refusals[0]
    assert "ct/d" in refusals[1] and "no body" in refusals[1]


def test_failing_at_the_very_end_leaves_nothing_behind(tmp_path, monkeypatch):
    write_subjects(tmp_path / "raw", mr=["a"], ct=["c"])

    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(prepare_module, "write_contact_sheet", fail)
    with pytest.raises(OSError, match="disk full"):
        prepare(own_config(), tmp_path / "raw", tmp_path / "data", workers=1)
    assert os.listdir(tmp_path) == ["raw"]


def test_body_larger_than_the_slice_is_refused_with_a_size_that_holds_it(tmp_path):
    write_subjects(tmp_path / "raw", mr=["a"], ct=["c"])
    message = r"ct/c.* 13\d mm wide and 1\d\d mm deep"
    with pytest.raises(UnusableScan, match=message) as caught:
        prepare(own_config(size=20), tmp_path / "raw", tmp_path / "data", workers=1)
    size = int(str(caught.value).split("data.size=")[1].split()[0])
    prepare(own_config(size=size), tmp_path / "raw", tmp_path / "data", workers=1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"source": "nifti"}, "data.source is 'nifti', expected one of: chaos, folder"),
        ({"mr_channels": ("t1",)}, r"data.mr_channels is \('t1',\)"),
        ({"mr_channels": ()}, "data.mr_channels"),
        ({"split": (0.5, 0.1, 0.1)}, "data.split"),
        ({"size": 0}, "data.size is 0"),
        ({"mr_percentile": 0.0}, "data.mr_percentile"),
    ],
)
def test_invalid_fields_are_named(tmp_path, fields, message):
    write_subjects(tmp_path / "raw", mr=["a"], ct=["c"])
    with pytest.raises(ValueError, match=message):
        prepare(own_config(**fields), tmp_path / "raw", tmp_path / "data", workers=1)
    assert os.listdir(tmp_path) == ["raw"]


# --- splits ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, (1, 0, 0)), (2, (1, 0, 1)), (3, (1, 1, 1)), (10, (7, 1, 2)), (20, (14, 2, 4))],
)
def test_split_sizes(count, expected):
    names = [f"s{i}" for i in range(count)]
    split = split_subjects(names, (0.7, 0.1, 0.2), seed=0)
    assert set(split) == set(names)
    assert tuple(list(split.values()).count(s) for s in SPLITS) == expected
    assert split == split_subjects(reversed(names), (0.7, 0.1, 0.2), seed=0)


def test_split_follows_the_seed_and_may_have_no_held_out_part():
    names = [f"s{i}" for i in range(20)]
    splits = [split_subjects(names, (0.5, 0, 0.5), seed=s) for s in (0, 1)]
    assert splits[0] != splits[1]
    assert "validation" not in splits[0].values()
    assert set(split_subjects(names, (1, 0, 0), seed=0).values()) == {"train"}


# --- phantoms -------------------------------------------------------------------------


def test_phantoms_train_on_one_modality_and_are_tested_on_both(tmp_path):
    config = tiny_phantom()
    prepared = prepare(config, None, tmp_path / "data", workers=1)
    names = {
        domain: [[s.name for s in d.of_split(split)] for split in SPLITS]
        for domain, d in prepared.domains.items()
    }
    assert not set(names["mr"][0]) & set(names["ct"][0])
    assert names["labels"][0] == []
    assert names["mr"][1:] == names["ct"][1:] == names["labels"][1:]
    ((name, hu),) = read_subjects(tmp_path / "data", "ct", "test")
    ((label_name, labels),) = read_subjects(tmp_path / "data", "labels", "test")
    assert name == label_name and hu.shape == labels.shape == (3, 32, 32, 1)
    spleen = labels == prepared.label_names.index("spleen")
    fat = labels == prepared.label_names.index("subcutaneous_fat")
    if spleen.any():
        assert hu[spleen].mean() > 0
    assert hu[fat].mean() < 0


def test_phantom_seeds_differ_between_subjects_and_follow_the_configs():
    fields = tiny_phantom().phantom
    jobs = [phantom_jobs(fields, seed) for seed in (0, 0, 1)]
    assert jobs[0] == jobs[1] != jobs[2]
    assert len({job.seed for run in jobs[1:] for job in run}) == 10


def test_paired_training_subjects_are_those_of_the_unpaired_mr():
    fields = tiny_phantom().phantom
    alone, paired = phantom_jobs(fields, 0), phantom_jobs(fields, 0, paired=True)
    seeds = {job.name: job.seed for job in alone}
    assert all(seeds[job.name] == job.seed for job in paired)
    assert [job.domains for job in paired if job.split == "train"] == [
        ("mr", "ct")
    ] * fields.train_mr
    assert [j for j in paired if j.split != "train"] == [
        j for j in alone if j.split != "train"
    ]


def test_pairs_are_further_people_and_leave_the_others_as_they_are():
    fields = tiny_phantom().phantom
    alone = phantom_jobs(fields, 0)
    fields.pairs = 2
    more = phantom_jobs(fields, 0)
    assert more[: len(alone)] == alone
    pairs = more[len(alone) :]
    assert [(j.split, j.domains) for j in pairs] == [("train", ("mr", "ct"))] * 2
    assert len({job.name for job in more}) == len({job.seed for job in more}) == 7


@pytest.mark.parametrize("where", ["", "both", "mr", "ct", "none"])
def test_training_lesions_are_where_asked_and_in_half_of_the_others(where):
    fields = tiny_phantom(validation=2, test=4, train_lesions=where).phantom
    jobs = phantom_jobs(fields, 0)
    lesions = {
        domain: {
            j.lesions for j in jobs if (j.split, j.domains) == ("train", (domain,))
        }
        for domain in ("mr", "ct")
    }
    assert lesions == {d: {where in ("both", d)} for d in ("mr", "ct")}
    half = [job.lesions for job in jobs if job.split != "train"]
    assert half == [True, False] * 3 if where else not any(half)
    without = phantom_jobs(tiny_phantom(validation=2, test=4).phantom, 0)
    assert [job.seed for job in jobs] == [job.seed for job in without]


@pytest.mark.parametrize(
    ("fields", "paired", "message"),
    [
        ({"train_lesions": "MR"}, False, "train_lesions is 'MR', expected one of"),
        ({"train_lesions": "ct", "anatomy": "varied"}, False, "phantom.anatomy=varied"),
        ({"train_lesions": "mr"}, True, "phantom.pairs: a pair shows the same"),
        ({"train_lesions": "ct", "pairs": 1}, False, "a pair shows the same person"),
    ],
)
def test_lesions_that_make_no_sense_are_refused(fields, paired, message):
    with pytest.raises(ValueError, match=message):
        phantom_jobs(tiny_phantom(**fields).phantom, 0, paired=paired)


def test_only_unpaired_training_ct_are_higher():
    jobs = phantom_jobs(tiny_phantom(ct_offset_mm=30.0).phantom, 0)
    higher = {(job.split, job.domains) for job in jobs if job.level_mm == 30}
    assert higher == {("train", ("ct",))}
    with pytest.raises(ValueError, match="phantom.ct_offset_mm is 90.*-50 to 80"):
        prepare(tiny_phantom(ct_offset_mm=90.0), None, "nowhere")


def test_workers_do_not_change_a_byte(tmp_path):
    config = tiny_phantom(train_mr=1, train_ct=1, validation=0, test=1)
    for workers in (1, 2):
        prepare(config, None, tmp_path / str(workers), workers=workers)
    one, two = (hashes(tmp_path / str(workers)) for workers in (1, 2))
    assert one == two and len(one) > 8


def test_contact_sheet_opens_only_the_volumes_it_shows(tmp_path, monkeypatch):
    """An open volume is an open file, and of those there are never ten thousand."""
    np.save(tmp_path / "one.npy", np.zeros((1, 4, 4, 1), np.int16))
    volumes = [
        StoredVolume(
            domain="ct",
            name=f"s{number}",
            split="train",
            path=tmp_path / "one.npy",
            counts_path=None,
            slices=1,
            affine=np.eye(4),
        )
        for number in range(40)
    ]
    opened = []
    load = np.load
    monkeypatch.setattr(
        np, "load", lambda *args, **kwargs: opened.append(args) or load(*args, **kwargs)
    )
    path = tmp_path / "sheet.png"
    write_contact_sheet(path, volumes, modality="CT", channels=("hu",))
    assert len(opened) == 12 and path.stat().st_size > 1000


# --- prepared.json --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "format is 99, expected 2"),
        ({"format": 2, "size": 49}, "its digest is"),
        ({"size": "48"}, "size is '48', expected int"),
        ({"surprise": 1}, "unknown field 'surprise'"),
        ({"warnings": None}, "prepared.json"),
        ({"size": None}, "size"),
    ],
)
def test_invalid_manifest_is_refused(own, tmp_path, change, message):
    _, data_dir = own
    fields = json.loads((data_dir / "prepared.json").read_text())
    older = {name: value for name, value in fields.items() if name != "digest"}
    fields = (fields if change.get("format") == 2 else older | {"format": 1}) | change
    (tmp_path / "prepared.json").write_text(json.dumps(fields))
    with pytest.raises(ValueError, match=message):
        read_manifest(tmp_path)


def test_folder_without_a_manifest_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="--mode=prepare"):
        read_manifest(tmp_path)


# --- real scans -----------------------------------------------------------------------


def test_chaos_prepares(real_data, tmp_path):
    config = chaos.get_config()
    config.data.update(size=96, spacing_mm=4.0)
    prepared = prepare(config, real_data / "chaos", tmp_path / "data", workers=1)
    assert len(prepared.warnings) == 2
    ((name, mr),) = read_subjects(tmp_path / "data", "mr", "train")
    assert name == "chaos_mr_1" and mr.shape == (35, 96, 96, 2)
    ((name, ct),) = read_subjects(tmp_path / "data", "ct", "train")
    assert name == "chaos_ct_3" and ct.shape == (78, 96, 96, 1)
    # Liver with contrast medium, right of the patient, is left in the picture.
    liver = ct[45, 40:55, 25:35, 0]
    assert 120 < np.median(liver) < 160
    # Couch and air are gone, and the fat is where fat is.
    assert (ct[:, :8] == -1024).all() and (ct[:, -8:] == -1024).all()
    scale = prepared.domains["mr"].subjects[0].scale
    assert scale[0] == scale[1] > 100


def test_own_folder_of_real_nifti_and_dicom_prepares(real_data, tmp_path):
    raw = tmp_path / "raw"
    for name, target in {
        "mr/one/scan.nii.gz": "chaos_t2spir_nifti/image_1.nii.gz",
        "mr/two/t2.nii.gz": "chaos_t2spir_nifti/image_2.nii.gz",
        "ct/three": "chaos/Train_Sets/CT/3/DICOM_anon",
        "ct/four/ct.nii.gz": "totalsegmentator_examples/example_ct_sm.nii.gz",
    }.items():
        (raw / name).parent.mkdir(parents=True)
        (raw / name).symlink_to(real_data / target)
    config = folder.get_config("t2")
    config.data.update(size=96, spacing_mm=4.0)
    prepared = prepare(config, raw, tmp_path / "data", workers=1)
    names = {subject.name for subject in prepared.domains["mr"].subjects}
    assert names == {"subject_001", "subject_002"}
    assert {s.slices for s in prepared.domains["ct"].subjects} == {78, 30}


def test_unusable_scan_is_returned_as_its_reason(tmp_path):
    job = ScanJob(name="x", split="train", domain="ct", path=str(tmp_path / "no"))
    slice_format = SliceFormat(
        size=8,
        spacing_mm=1.0,
        mr_channels=("t2",),
        mask_outside_body=True,
        mr_percentile=99.0,
    )
    assert "no such file" in store_subject(job, slice_format, tmp_path)
