"""Files of weights: read as they were written, and never executed."""

import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors_files import encode, encode_tensors

from synthct_jax.metrics.inception_weights import check, layout, read_tensors

TENSORS = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4) / 7,
    "bn.num_batches_tracked": np.array(5),
    "half": np.array([0.5, -1.25], np.float16),
    "double": np.array([[1 / 3]]),
}


@pytest.fixture
def files(tmp_path) -> dict[str, Path]:
    """The same tensors in both formats, as written."""
    paths = {kind: tmp_path / f"weights.{kind}" for kind in ("safetensors", "npz")}
    paths["safetensors"].write_bytes(encode_tensors(TENSORS))
    np.savez(paths["npz"], **TENSORS)
    return paths


@pytest.mark.parametrize("kind", ["safetensors", "npz"])
def test_tensors_are_read_as_they_were_written(kind, files):
    tensors = read_tensors(files[kind])
    assert tensors.keys() == TENSORS.keys()
    for name, array in TENSORS.items():
        assert tensors[name].dtype == array.dtype, name
        np.testing.assert_array_equal(tensors[name], array, strict=True)


# --- what is refused ------------------------------------------------------------------


@pytest.mark.parametrize(
    "content, message",
    [
        (b"just some text, no weights", "neither .safetensors nor .npz"),
        (b"", "neither .safetensors nor .npz"),
    ],
)
def test_other_formats_are_refused(content, message, tmp_path):
    path = tmp_path / "other.bin"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"other\.bin cannot be read: .*{message}"):
        read_tensors(path)


class MakesAFolder:
    """An object whose unpickling makes a folder."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.mkdir, (self.path,)


@pytest.mark.parametrize("is_archive", [True, False])
def test_a_file_of_torch_is_not_unpickled_and_the_message_says_how_to_convert_it(
    is_archive, tmp_path
):
    made = tmp_path / "made"
    pickled = pickle.dumps(MakesAFolder(made), protocol=2)
    path = tmp_path / "weights.pth"
    if is_archive:  # torch 1.6 and later
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickled)
            archive.writestr("archive/data/0", bytes(8))
    else:
        path.write_bytes(pickled)
    with pytest.raises(ValueError, match=r"weights\.pth .*torch.load.*numpy.savez"):
        read_tensors(path)
    assert not made.exists()


def test_arrays_of_objects_are_refused(tmp_path):
    path = tmp_path / "objects.npz"
    np.savez(path, a=np.array([{}], object))
    with pytest.raises(ValueError, match="objects.npz cannot be read: .*allow_pickle"):
        read_tensors(path)


@pytest.mark.parametrize("kind", ["safetensors", "npz"])
def test_a_truncated_file_is_refused_wherever_it_ends(kind, files):
    content = files[kind].read_bytes()
    for share in (0.02, 0.3, 0.6, 0.9, 0.999):
        files[kind].write_bytes(content[: int(share * len(content))])
        with pytest.raises(ValueError, match=f"{files[kind].name} cannot be read"):
            read_tensors(files[kind])


def test_a_changed_byte_of_an_archive_is_noticed(files):
    content = bytearray(files["npz"].read_bytes())
    content[bytes(content).index(np.float32(1 / 7).tobytes())] ^= 1
    files["npz"].write_bytes(content)
    with pytest.raises(ValueError, match="weights.npz cannot be read: Bad CRC-32"):
        read_tensors(files["npz"])


def entry(dtype="F32", shape=(2,), offsets=(0, 8)) -> dict:
    return {"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


def test_safetensors_are_read_as_specified(tmp_path):
    path = tmp_path / "a.safetensors"
    header = {"__metadata__": {"format": "pt"}} | entry()
    path.write_bytes(encode(header, struct.pack("<2f", 1.5, -2)))
    np.testing.assert_array_equal(
        read_tensors(path)["a"], np.float32([1.5, -2]), strict=True
    )


@pytest.mark.parametrize(
    "content, message",
    [
        (struct.pack("<Q", 900) + b"{}", "header has 900 bytes, but 2 are left"),
        (encode(entry(), bytes(7)), "a is at bytes 0 to 8 of 7"),
        (encode(entry(offsets=(-8, 0)), bytes(8)), "a is at bytes -8 to 0"),
        (encode(entry(shape=(3,)), bytes(8)), r"a \[3\] of float32 has 8 bytes"),
        (encode(entry(shape=(-1, -2)), bytes(8)), r"a \[-1, -2\] of float32"),
        (encode(entry(dtype="BF16"), bytes(8)), "a is of BF16, expected .*F32"),
        (encode(b"{nonsense"), "Expecting property name"),
    ],
)
def test_safetensors_that_contradict_themselves_are_refused(content, message, tmp_path):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=rf"bad\.safetensors cannot be read.*{message}"
    ):
        read_tensors(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent.npz is no file"):
        read_tensors(tmp_path / "absent.npz")


# --- layouts and tensors of the network -----------------------------------------------


@pytest.mark.parametrize(
    "classes, expected", [(1008, "fid"), (1000, "torchvision"), (10, None)]
)
def test_the_classifier_tells_the_layout(classes, expected):
    tensors = {"fc.weight": np.zeros((classes, 2048), np.float32)}
    if expected:
        assert layout(Path("a.npz"), tensors) == expected
    else:
        message = r"a\.npz: fc\.weight.* is \(10, 2048\), expected \(1008, 2048\)"
        with pytest.raises(ValueError, match=message):
            layout(Path("a.npz"), tensors)


def test_without_a_classifier_there_is_no_layout():
    with pytest.raises(ValueError, match=r"fc\.weight, .* is missing, expected"):
        layout(Path("a.npz"), {})


@pytest.mark.parametrize(
    "change, message",
    [
        ({"a.bn.running_var": None}, r"a\.bn\.running_var is missing, expected \(2,\)"),
        ({"a.bn.running_var": np.float32([1])}, r"is \(1,\), expected \(2,\)"),
        ({"a.bn.running_var": np.float32([1, np.nan])}, "other values than finite"),
        ({"a.bn.running_var": np.array([1, 2])}, r"\(int64\) has other values than"),
        ({"a.bn.running_var": np.float32([1, -0.5])}, "has -0.5, expected variances"),
        ({"b.weight": np.float32([1])}, r"b\.weight \(1,\) is not of an Inception"),
    ],
)
def test_tensors_that_do_not_fit_are_named(change, message):
    unused = {
        "fc.bias": np.float32([0]),
        "AuxLogits.conv0.conv.weight": np.float32([0]),
        "a.bn.num_batches_tracked": np.array(0),
    }
    good = {"a.bn.running_var": np.float32([1, 2]), **unused}
    expected = {"a.bn.running_var": (2,)}
    check(Path("w.npz"), good, expected)
    changed = {k: v for k, v in (good | change).items() if v is not None}
    with pytest.raises(ValueError, match=rf"w\.npz: .*{message}"):
        check(Path("w.npz"), changed, expected)
