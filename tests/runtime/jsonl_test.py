import pytest

from synthct_jax.runtime.jsonl import read_rows


def test_rows_are_read_but_for_a_torn_last_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert read_rows(path) == []
    path.write_text('{"step": 1}\n{"step": 2, "lo')
    assert read_rows(path) == [{"step": 1}]
    path.write_text('{"step"\n{"step": 2}\n')
    with pytest.raises(ValueError, match="metrics.jsonl: line 1"):
        read_rows(path)
