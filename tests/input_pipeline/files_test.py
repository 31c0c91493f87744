import errno
import os
from pathlib import Path

import pytest

from input_pipeline import files


@pytest.fixture(autouse=True)
def umask():
    before = os.umask(0o027)
    yield
    os.umask(before)


def mode(path):
    return path.stat().st_mode & 0o777


def test_file_replaces_an_older_one_with_the_permissions_of_the_umask(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    files.write_file(path, "new é")
    assert path.read_text(encoding="utf-8") == "new é" and mode(path) == 0o640
    with files.atomic_file(path) as new:
        new.write_bytes(b"\0")
        assert new.suffix == ".json" and path.read_text(encoding="utf-8") == "new é"
    assert path.read_bytes() == b"\0" and os.listdir(tmp_path) == ["a.json"]


def test_failure_keeps_the_older_file(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), files.atomic_file(path) as new:
        new.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a"]


def test_unfinished_file_lies_in_scratch(tmp_path):
    (tmp_path / "scratch").mkdir()
    with files.atomic_file(tmp_path / "a", scratch=tmp_path / "scratch") as new:
        new.write_text("whole")
        assert os.listdir(tmp_path) == ["scratch"]
    assert (tmp_path / "a").read_text() == "whole"


@pytest.mark.parametrize("target", ["out", "in/a/new/place", "link", "link/out"])
def test_folder_appears_whole_with_the_permissions_of_the_umask(tmp_path, target):
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    target = tmp_path / target
    with files.new_folder(target) as folder:
        (folder / "a").write_text("a")
        assert not target.is_dir() or not os.listdir(target)
    assert os.listdir(target) == ["a"] and mode(target) == 0o750
    assert not list(tmp_path.rglob(".*"))


def test_folder_of_a_failure_does_not_appear(tmp_path):
    with pytest.raises(ZeroDivisionError), files.new_folder(tmp_path / "out") as folder:
        (folder / "a").write_text("half")
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []


def test_new_folder_replaces_nothing_that_appears_before_or_meanwhile(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="file is a file, expected"):
        files.new_folder(tmp_path / "file").__enter__()
    with pytest.raises(FileExistsError, match="out holds note, expected"):
        with files.new_folder(tmp_path / "out"):
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "note").write_text("mine")
    assert sorted(os.listdir(tmp_path)) == ["file", "out"]
    assert (tmp_path / "out" / "note").read_text() == "mine"


def test_error_of_the_system_names_the_output(tmp_path):
    for make in (files.new_folder, files.atomic_file):
        with (
            pytest.raises(OSError, match="No space.*: '.*/output'$"),
            make(tmp_path / "output"),
        ):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with (
            pytest.raises(FileNotFoundError, match=": '.*/output'$"),
            make(tmp_path / "output") as unfinished,
        ):
            (unfinished / "missing" / "file").write_text("")
        with (
            pytest.raises(OSError, match=": '.*/elsewhere'$"),
            make(tmp_path / "output"),
        ):
            (tmp_path / "elsewhere").read_text()
    assert not any(tmp_path.iterdir())


def test_folder_of_own_files_is_replaced_as_a_whole(tmp_path):
    target = tmp_path / "out"
    for content in ({"a": "1", "b": "1"}, {"a": "2"}):
        with files.replace_folder(target, ["a", "b"], writer="report") as folder:
            for name, text in content.items():
                (folder / name).write_text(text)
        assert {p.name: p.read_text() for p in target.iterdir()} == content
    with pytest.raises(ZeroDivisionError):
        with files.replace_folder(target, ["a", "b"], writer="report"):
            raise ZeroDivisionError
    assert (target / "a").read_text() == "2" and os.listdir(tmp_path) == ["out"]


def test_unfinished_folder_is_not_taken_for_a_finished_one(tmp_path):
    with files.replace_folder(tmp_path / "out", ["a"], writer="report") as folder:
        (folder / "a").write_text("unfinished")
        assert not list(tmp_path.glob("*/a"))


def test_interrupt_while_a_folder_is_replaced_keeps_the_old_one(tmp_path, monkeypatch):
    target = tmp_path / "out"
    target.mkdir()
    (target / "a").write_text("old")
    rename = Path.rename

    def interrupted(path, new):
        if new == target and path.parent.name.endswith(".partial") and renamed:
            renamed.clear()  # only once: the old folder may move back
            raise KeyboardInterrupt
        renamed.append(path)
        return rename(path, new)

    renamed = []
    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        with files.replace_folder(target, ["a"], writer="report") as folder:
            (folder / "a").write_text("new")
    assert (target / "a").read_text() == "old" and os.listdir(tmp_path) == ["out"]


def test_folder_with_other_files_is_not_replaced(tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    with pytest.raises(ValueError, match="out holds 'note', which no report"):
        with files.replace_folder(target, ["a"], writer="report") as folder:
            (folder / "a").write_text("new")
            (target / "note").write_text("mine")
    assert os.listdir(target) == ["note"] and os.listdir(tmp_path) == ["out"]
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="file is a file, expected a folder for the"):
        files.check_replaceable(tmp_path / "file", [], writer="report")
