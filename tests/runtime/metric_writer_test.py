import json
import math

import matplotlib.image
import numpy as np
import pytest

from synthct_jax.runtime import metric_writer


def test_rows_are_json_and_survive_a_restart(tmp_path):
    writer = metric_writer.create(tmp_path)
    writer.write_scalars(1, {"loss": np.float32(0.5), "broken": math.nan})
    writer.write_texts(1, {"note": "hello"})
    writer.write_scalars(2, {"loss": 0.25})
    writer.close()
    writer = metric_writer.create(tmp_path, resumed_at=1)
    writer.write_scalars(2, {"loss": 0.125})
    writer.flush()
    writer.close()
    assert metric_writer.read_rows(tmp_path / "metrics.jsonl") == [
        {"step": 1, "loss": 0.5, "broken": None},
        {"step": 1, "note": "hello"},
        {"step": 2, "loss": 0.125},
    ]


def test_the_torn_last_line_of_a_killed_run_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2, "lo')
    assert metric_writer.read_rows(path) == [{"step": 1}]
    metric_writer.create(tmp_path, resumed_at=5).close()
    assert path.read_text() == '{"step": 1}\n'


def test_a_torn_line_elsewhere_is_named(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step"\n{"step": 2}\n')
    with pytest.raises(ValueError, match="metrics.jsonl: line 1"):
        metric_writer.read_rows(path)


def test_no_rows_where_there_is_no_file(tmp_path):
    assert metric_writer.read_rows(tmp_path / "metrics.jsonl") == []


def test_pictures_and_configuration(tmp_path):
    writer = metric_writer.create(tmp_path)
    image = np.zeros((4, 6, 3), np.uint8)
    image[1, 2] = 255
    writer.write_images(500, {"step": image})
    writer.write_hparams({"model": {"width": 4}})
    writer.close()
    read = matplotlib.image.imread(tmp_path / "samples" / "step_000500.png")
    np.testing.assert_array_equal(read[..., :3] * 255, image)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config == {"model": {"width": 4}}


def test_tensorboard_gets_the_same_when_it_is_installed(tmp_path):
    pytest.importorskip("tensorboardX")
    writer = metric_writer.create(tmp_path)
    writer.write_scalars(1, {"a_loss": 0.5})
    writer.write_images(1, {"a_picture": np.zeros((4, 6, 3), np.uint8)})
    writer.write_texts(1, {"a_text": "hello"})
    writer.close()
    (events,) = (tmp_path / "tensorboard").glob("events*")
    data = events.read_bytes()
    assert all(name in data for name in (b"a_loss", b"a_picture", b"a_text"))


def test_only_one_process_writes(tmp_path):
    writer = metric_writer.create(tmp_path / "run", primary=False)
    writer.write_scalars(1, {"loss": 0.5})
    writer.write_images(1, {"step": np.zeros((4, 6, 3), np.uint8)})
    writer.close()
    assert not (tmp_path / "run").exists()
