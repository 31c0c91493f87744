import pytest

from input_pipeline.scans.layout import find_scans, list_scans, name_scans


def make(root, *folders):
    for folder in folders:
        (root / folder).mkdir(parents=True)


def test_equal_numbers_in_chaos_are_different_people(tmp_path):
    make(
        tmp_path,
        *(f"Train_Sets/MR/{n}/T1DUAL/DICOM_anon" for n in (1, 10, 2)),
        *(f"Train_Sets/CT/{n}/{f}" for n in (1, 3) for f in ("DICOM_anon", "Ground")),
        "Test_Sets/CT/4/DICOM_anon",
    )
    scans = find_scans(tmp_path, "chaos")
    assert [(s.name, s.domain) for s in scans] == [
        *((f"chaos_mr_{n}", "mr") for n in (1, 2, 10)),
        *((f"chaos_ct_{n}", "ct") for n in (1, 3, 4)),
    ]
    assert scans[0].path == tmp_path / "Train_Sets/MR/1"
    assert scans[3].path == tmp_path / "Train_Sets/CT/1/DICOM_anon"


def test_chaos_may_be_named_by_its_train_sets(tmp_path):
    make(tmp_path, "MR/1", "CT/1/DICOM_anon")
    assert len(find_scans(tmp_path, "chaos")) == 2


def test_mr_of_chaos_is_combined_with_ct_without_contrast_medium(tmp_path):
    make(
        tmp_path,
        "Train_Sets/MR/1/T1DUAL",
        "Train_Sets/CT/3/DICOM_anon",
        "Noncontrast_CT/anna/a/b",
        "Noncontrast_CT/1",
    )
    scans = find_scans(tmp_path, "chaos_noncontrast")
    assert [(s.name, s.domain) for s in scans] == [
        ("chaos_mr_1", "mr"),
        ("noncontrast_ct_001", "ct"),
        ("noncontrast_ct_002", "ct"),
    ]
    assert scans[2].path == tmp_path / "Noncontrast_CT/anna"
    # ... and MR and CT of the same number are nobody's.
    assert len({s.name for s in scans}) == 3


def test_own_folder_has_a_folder_for_each_subject(tmp_path):
    make(tmp_path, "mr/anna", "mr/.cache", "ct/anna", "ct/bert")
    (tmp_path / "mr" / "readme.txt").write_text("not a subject")
    scans = find_scans(tmp_path, "folder")
    assert [(s.name, s.domain) for s in scans] == [
        ("subject_001", "mr"),
        ("subject_001", "ct"),
        ("subject_002", "ct"),
    ]
    assert [s.folder for s in scans] == ["anna", "anna", "bert"]


@pytest.mark.parametrize(
    ("source", "folders", "message"),
    [
        ("folder", [], "raw/mr: no such folder, expected one folder for each subject"),
        ("folder", ["mr/a", "ct"], "raw/ct: no folders in it"),
        ("chaos", ["Train_Sets/MR/1"], "raw/Train_Sets/CT: no such folder"),
        (
            "chaos_noncontrast",
            ["Train_Sets/MR/1", "Train_Sets/CT/1"],
            "raw/Noncontrast_CT: no such folder, .* without contrast medium",
        ),
        ("chaos_noncontrast", ["Noncontrast_CT/a"], "raw/MR: no such folder"),
    ],
)
def test_missing_folder_or_file_is_named(tmp_path, source, folders, message):
    make(tmp_path, "raw", *(f"raw/{folder}" for folder in folders))
    with pytest.raises(FileNotFoundError, match=message):
        find_scans(tmp_path / "raw", source)
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        find_scans(tmp_path / "nowhere", source)


def test_scans_of_a_folder_are_folders_archives_and_volume_files(tmp_path):
    make(tmp_path, "two", ".hidden", "empty")
    for name in ("one.nii.gz", "three.ZIP", "notes.txt", "four.NII", ".five.nii"):
        (tmp_path / name).touch()
    scans = list_scans(tmp_path)
    assert scans == {
        "empty": tmp_path / "empty",
        "four": tmp_path / "four.NII",
        "one": tmp_path / "one.nii.gz",
        "three": tmp_path / "three.ZIP",
        "two": tmp_path / "two",
    }
    with pytest.raises(ValueError, match="empty: neither folders nor files that end"):
        list_scans(tmp_path / "empty")
    with pytest.raises(ValueError, match="two and .*two.nii have one name: rename one"):
        name_scans([tmp_path / "two", tmp_path / "two.nii"])
