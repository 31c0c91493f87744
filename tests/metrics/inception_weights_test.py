"""Files of weights: read as they were written, and never executed."""

import base64
import io
import json
import pickle
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from inception_constants import FILE, little_files

from synthct_jax.metrics import inception_weights
from synthct_jax.metrics.inception_weights import check, convert, layout, read_tensors

# torch wrote one as it does since 1.6, the other as it did before.
FORMATS = ("archive", "stream")


def torch_file(kind: str) -> bytes:
    packed = json.loads(FILE.read_text())["files"][kind]
    return zlib.decompress(base64.b64decode(packed))


def rewritten(content: bytes, replace: dict[str, bytes]) -> bytes:
    """The archive with other members, of the same checksums as ever."""
    new = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(new, "w") as to:
        for name in old.namelist():
            to.writestr(name, replace.get(name.split("/", 1)[1], old.read(name)))
    return new.getvalue()


def member(content: bytes, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (found,) = (one for one in archive.namelist() if one.endswith(f"/{name}"))
        return archive.read(found)


def assert_same(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        np.testing.assert_array_equal(found[name], array, strict=True)


@pytest.mark.parametrize("kind", FORMATS)
def test_files_that_torch_wrote_are_read_without_torch(kind, tmp_path):
    path = tmp_path / "little.pth"
    path.write_bytes(torch_file(kind))
    assert_same(read_tensors(path), little_files())


# --- what a pickle may not ask for ----------------------------------------------------

TOUCH = b"(V%s\ntR."  # a call with one text, in pickle's own language


def pickles(touched: Path) -> dict[str, bytes]:
    """Programs that would make a file, by what they are refused for."""
    call = TOUCH % str(touched).encode()
    short = lambda text: b"\x8c" + bytes([len(text)]) + text  # noqa: E731
    return {
        "os.mkdir": b"cos\nmkdir\n" + call,
        "builtins.eval": b"cbuiltins\neval\n" + call,
        "builtins.open": b"\x80\x04" + short(b"builtins") + short(b"open") + b"\x93.",
        "pathlib.Path": b"(V" + str(touched).encode() + b"\nipathlib\nPath\n.",
        "numpy._core.multiarray._reconstruct": pickle.dumps(np.ones(3)),
        "torch._utils._rebuild_tensor_v3": b"ctorch._utils\n_rebuild_tensor_v3\n.",
        "torch.BFloat16Storage": b"ctorch\nBFloat16Storage\n.",
        "torch.load": b"ctorch\nload\n" + call,
        "collections.OrderedDict.fromkeys": (
            b"\x80\x04" + short(b"collections") + short(b"OrderedDict.fromkeys")
        )
        + b"\x93.",
    }


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("asked", pickles(Path("x")))
def test_a_pickle_that_asks_for_more_is_refused_by_name(kind, asked, tmp_path):
    touched = tmp_path / "touched"
    evil = pickles(touched)[asked]
    if kind == "archive":
        content = rewritten(torch_file("archive"), {"data.pkl": evil})
    else:
        content = evil if evil.startswith(b"\x80") else b"\x80\x02" + evil
    path = tmp_path / "evil.pth"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"evil\.pth .*asks for {asked}, .*refused"):
        read_tensors(path)
    assert not touched.exists()


def test_the_pickle_of_a_stream_is_refused_wherever_it_stands(tmp_path):
    content = torch_file("stream")
    fourth = io.BytesIO(content)
    for _ in range(3):
        pickle.load(fourth)  # magic, protocol and system: plain values
    path = tmp_path / "evil.pth"
    evil = b"\x80\x02cos\nmkdir\n" + TOUCH % str(tmp_path / "touched").encode()
    path.write_bytes(content[: fourth.tell()] + evil)
    with pytest.raises(ValueError, match="asks for os.mkdir"):
        read_tensors(path)
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize(
    "content, message",
    [
        (b"\x80\x02K\x05.", "not of torch: it begins with 5"),
        (b"\x80\x02]K\x05a.", "not of torch"),
        (b"just some text, no weights", "none of .pth, .safetensors and .npz"),
        (b"", "none of .pth, .safetensors and .npz"),
    ],
)
def test_other_files_are_refused(content, message, tmp_path):
    path = tmp_path / "other.pth"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"other\.pth cannot be read: .*{message}"):
        read_tensors(path)


@pytest.mark.parametrize(
    "pickled, message",
    [
        (b"]K\x05a.", "a list, expected a dictionary of tensors"),
        (b"}V\x61\nK\x05s.", "'a' is a int, expected a tensor"),
        (b"}V\x61\nctorch._utils\n_rebuild_tensor\n(K\x01K\x00))tRs.", "a _Tensor"),
        (b"Vmodule\nQ.", "persistent identifier 'module' is no storage"),
    ],
)
def test_a_pickle_of_anything_else_is_refused(pickled, message, tmp_path):
    path = tmp_path / "other.pth"
    path.write_bytes(rewritten(torch_file("archive"), {"data.pkl": pickled}))
    with pytest.raises(ValueError, match=rf"other\.pth cannot be read: .*{message}"):
        read_tensors(path)


def test_a_tensor_beyond_its_storage_is_refused(tmp_path):
    content = torch_file("archive")
    pickled = member(content, "data.pkl")
    three = b"K\x03\x85"  # the shape (3,)
    assert pickled.count(three) == 1
    path = tmp_path / "beyond.pth"
    wrong = pickled.replace(three, b"K\x04\x85")
    path.write_bytes(rewritten(content, {"data.pkl": wrong}))
    with pytest.raises(ValueError, match=r"parameter \(4,\).* its storage has 3"):
        read_tensors(path)


def test_another_order_of_bytes_is_refused(tmp_path):
    path = tmp_path / "big.pth"
    path.write_bytes(rewritten(torch_file("archive"), {"byteorder": b"big"}))
    with pytest.raises(ValueError, match="byteorder is b'big', expected b'little'"):
        read_tensors(path)


def test_arrays_of_objects_are_refused(tmp_path):
    path = tmp_path / "objects.npz"
    np.savez(path, a=np.array([{}], object))
    with pytest.raises(ValueError, match="objects.npz cannot be read: .*allow_pickle"):
        read_tensors(path)


# --- damage ---------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path) -> dict[str, Path]:
    found = {}
    for kind in FORMATS:
        found[kind] = tmp_path / f"{kind}.pth"
        found[kind].write_bytes(torch_file(kind))
    for suffix in ("safetensors", "npz"):
        found[suffix] = tmp_path / f"little.{suffix}"
        convert(found["archive"], found[suffix])
    return found


@pytest.mark.parametrize("kind", [*FORMATS, "safetensors", "npz"])
def test_a_truncated_file_is_refused_wherever_it_ends(kind, files):
    content = files[kind].read_bytes()
    for share in (0.02, 0.3, 0.6, 0.9, 0.999):
        files[kind].write_bytes(content[: int(share * len(content))])
        with pytest.raises(ValueError, match=f"{files[kind].name} cannot be read"):
            read_tensors(files[kind])


def test_a_changed_byte_of_an_archive_is_noticed(tmp_path):
    content = bytearray(torch_file("archive"))
    at = bytes(content).index(np.float32(1 / 7).tobytes())
    content[at] ^= 1
    path = tmp_path / "changed.pth"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="changed.pth cannot be read: Bad CRC-32"):
        read_tensors(path)


def safetensors(header: dict | bytes, values: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + values


def entry(dtype="F32", shape=(2,), offsets=(0, 8)) -> dict:
    return {"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


def test_safetensors_are_read_as_specified(tmp_path):
    path = tmp_path / "a.safetensors"
    header = {"__metadata__": {"format": "pt"}} | entry()
    path.write_bytes(safetensors(header, struct.pack("<2f", 1.5, -2)))
    assert_same(read_tensors(path), {"a": np.float32([1.5, -2])})


@pytest.mark.parametrize(
    "content, message",
    [
        (struct.pack("<Q", 900) + b"{}", "header has 900 bytes, but 2 are left"),
        (safetensors(entry(), bytes(7)), "a is at bytes 0 to 8 of 7"),
        (safetensors(entry(offsets=(-8, 0)), bytes(8)), "a is at bytes -8 to 0"),
        (safetensors(entry(shape=(3,)), bytes(8)), r"a \[3\] of float32 has 8 bytes"),
        (safetensors(entry(shape=(-1, -2)), bytes(8)), r"a \[-1, -2\] of float32"),
        (safetensors(entry(dtype="BF16"), bytes(8)), "a is of BF16, expected .*F32"),
        (safetensors(b"{nonsense"), "Expecting property name"),
    ],
)
def test_safetensors_that_contradict_themselves_are_refused(content, message, tmp_path):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=rf"bad\.safetensors cannot be read.*{message}"
    ):
        read_tensors(path)


def test_a_published_name_is_held_to_its_digest(tmp_path):
    path = tmp_path / "pt_inception-2015-12-05-6726825d.pth"
    path.write_bytes(torch_file("archive"))
    found = inception_weights.sha256(path)
    with pytest.raises(ValueError, match=f"SHA-256 is {found}, expected 6726825d"):
        read_tensors(path)


def test_no_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent.pth is no file"):
        read_tensors(tmp_path / "absent.pth")


# --- conversion and contents ----------------------------------------------------------


def test_conversion_keeps_every_value_and_gives_the_same_bytes(files, tmp_path):
    assert_same(read_tensors(files["safetensors"]), little_files())
    assert_same(read_tensors(files["npz"]), little_files())
    again = tmp_path / "again.safetensors"
    convert(files["npz"], again)
    assert again.read_bytes() == files["safetensors"].read_bytes()


def test_the_command_converts_and_says_what_it_cannot(files, tmp_path, capsys):
    target = tmp_path / "out.safetensors"
    inception_weights.main([str(files["stream"]), str(target)])
    assert inception_weights.sha256(target) in capsys.readouterr().out
    before = sorted(tmp_path.iterdir())
    for arguments, message in (
        ([str(files["stream"]), str(tmp_path / "out.pth")], "expected a name in"),
        ([str(tmp_path / "absent"), str(tmp_path / "new.npz")], "absent is no file"),
    ):
        with pytest.raises(SystemExit, match="2"):
            inception_weights.main(arguments)
        assert message in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


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
