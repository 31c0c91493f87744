import pytest

from synthct_jax.runtime.jsonl import read_rows


def test_torn_last_line_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2, "lo')
    assert read_rows(path) == [{"step": 1}]


def test_torn_line_before_the_last_is_named(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step"\n{"step": 2}\n')
    with pytest.raises(ValueError, match="metrics.jsonl: line 1"):
        read_rows(path)


def test_missing_file_has_no_rows(tmp_path):
    assert read_rows(tmp_path / "metrics.jsonl") == []
