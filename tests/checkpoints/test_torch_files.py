"""PyTorch's files: the numbers PyTorch wrote; lies, damage and malice told in one line."""

import os
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from magenta_lite.checkpoints.torch_files import MAGIC, VERSION, read_torch_file, state_dict
from magenta_lite.errors import UserError

GOLDEN = Path(__file__).parents[1] / "golden" / "torch_files"
SIX = np.arange(6, dtype="<f4").tobytes()


def error_of(path, read=read_torch_file):
    """Returns the one line that a user gets to read."""
    with pytest.raises(UserError) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 500
    return message


def assert_same(actual, expected):
    """Compares two trees: values, types, and of arrays the bits."""
    assert type(actual) is type(expected)
    if isinstance(expected, np.ndarray):
        assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape)
        assert actual.tobytes() == expected.tobytes()
    elif isinstance(expected, dict):
        assert list(actual) == list(expected)
        for key, value in expected.items():
            assert_same(actual[key], value)
    elif isinstance(expected, list | tuple):
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            assert_same(one, other)
    else:
        assert actual == expected


# What PyTorch wrote.


@pytest.mark.parametrize("name", ["all.pth", "all_legacy.pth"])
def test_every_dtype_and_layout_has_the_numbers_of_pytorch(name):
    tree = read_torch_file(GOLDEN / name)
    with np.load(GOLDEN / "all.npz") as expected:
        assert_same(tree["tensors"], dict(expected))
    assert tree["shape"] == (2, 3)
    assert tree["dtype"] == "float16"
    assert_same(tree["others"], [None, True, -1, 2**40, 0.1, "ä", (1, (2,)), {"a": []}])
    assert np.shares_memory(tree["tensors"]["tied"], tree["tensors"]["tied_again"])
    assert np.shares_memory(tree["tensors"]["tied"], tree["tensors"]["strided"])
    assert not tree["tensors"]["tied"].flags.writeable


@pytest.mark.parametrize("name", ["training.pth", "training_legacy.pth"])
def test_the_weights_of_a_training_are_found_without_their_prefix(name):
    tree = read_torch_file(GOLDEN / name)
    assert dict(tree["hps"]) == {"levels": 3, "lr": 0.0003}
    assert tree["step"] == 1234
    np.testing.assert_allclose(tree["opt"]["state"][0]["exp_avg"], np.full((5, 4), 0.1))
    with np.load(GOLDEN / "training.npz") as expected:
        assert_same(state_dict(tree), dict(expected))
    assert all(name.startswith("module.") for name in tree["model"])


def test_a_file_without_checksums_is_read():
    assert read_torch_file(GOLDEN / "no_checksums.pth")["w"].tolist() == [0, 1, 2]


def test_a_conjugated_tensor_is_refused_rather_than_read_wrongly():
    assert "'conj'" in error_of(GOLDEN / "conjugate.pth")


def test_a_whole_module_is_refused_by_the_name_of_its_class():
    message = error_of(GOLDEN / "module.pth")
    assert "asks for 'torch.nn.modules.linear.Linear'" in message
    assert "save model.state_dict()" in message


def test_a_tree_that_is_no_dictionary_is_told():
    assert "holds a list" in error_of(GOLDEN / "list.pth")


def test_weights_are_found_in_three_places():
    w, b = np.zeros(2), np.ones(3)
    for tree in (
        {"w": w, "module.b": b},
        {"model": {"w": w, "b": b}, "step": 1},
        {"epoch": 1, "state_dict": {"module.w": w, "module.b": b}},
    ):
        weights = state_dict(tree)
        assert weights.keys() == {"w", "b"}
        assert weights["w"] is w and weights["b"] is b
    # A weight may be called like the place of weights.
    assert state_dict({"model": w})["model"] is w


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({}, "its top has nothing"),
        ({"hps": {}, "step": 3}, "its top has 'hps', 'step'"),
        ({"model": {}}, "its top has 'model'"),
        ({"model": {"w": np.zeros(2), "epoch": 3}}, "'epoch' among the weights is a int"),
        ({"model": {1: np.zeros(2)}}, "among the weights"),
        ({"w": np.zeros(2), "module.w": np.zeros(2)}, "'w' is there with and without 'module.'"),
    ],
)
def test_what_are_no_weights_is_told(tree, message):
    assert message in error_of(tree, state_dict)


# Files made by hand, some of which lie.


def encode(value):
    """Returns the opcodes that put a value on the stack of a pickle."""
    return value if isinstance(value, bytes) else pickle.dumps(value, 2)[2:-1]


def name_of(module, name):
    return f"c{module}\n{name}\n".encode()


def call(function, *arguments):
    return function + b"(" + b"".join(map(encode, arguments)) + b"tR"


def tensor(kind="FloatStorage", key="0", length=6, offset=0, shape=(2, 3), strides=(3, 1), view=()):
    parts = ("storage", name_of("torch", kind), key, "cpu", length, *view)
    storage = b"(" + b"".join(map(encode, parts)) + b"tQ"
    rebuild = name_of("torch._utils", "_rebuild_tensor_v2")
    return call(rebuild, storage, offset, shape, strides, False, None)


def tree_of(value):
    return b"\x80\x02}" + encode("w") + value + b"s."


def write_zip(path, tree, storages, order=b"little"):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("made/data.pkl", tree)
        archive.writestr("made/byteorder", order)
        for key, data in storages.items():
            archive.writestr(f"made/data/{key}", data)
    return path


def write_legacy(path, tree, storages, itemsize=4):
    parts = [pickle.dumps(value, 2) for value in (MAGIC, VERSION, {"little_endian": True})]
    parts += [tree, pickle.dumps(list(storages), 2)]
    for data in storages.values():
        parts.append(struct.pack("<q", len(data) // itemsize) + data)
    path.write_bytes(b"".join(parts))
    return path


@pytest.fixture(params=[write_zip, write_legacy])
def write(request, tmp_path):
    return lambda tree, storages: request.param(tmp_path / "made.pth", tree, storages)


def test_the_files_of_these_tests_are_read(write):
    tree = read_torch_file(write(tree_of(tensor()), {"0": SIX}))
    assert tree["w"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_big_endian_numbers_are_turned(tmp_path):
    data = np.arange(6, dtype=">f4").tobytes()
    tree = read_torch_file(write_zip(tmp_path / "a.pth", tree_of(tensor()), {"0": data}, b"big"))
    assert_same(tree["w"], np.arange(6, dtype=np.float32).reshape(2, 3))
    path = write_zip(tmp_path / "b.pth", tree_of(tensor()), {"0": data}, b"pdp")
    assert "its byte order is b'pdp'" in error_of(path)


LIES = {
    "longer than its values": ({"length": 7}, "storage '0'"),
    "shorter than its values": ({"length": 5}, "storage '0'"),
    "larger than any file": ({"length": 2**50}, "storage '0'"),
    "larger than any number": ({"length": 2**80}, "not a storage"),
    "of negative length": ({"length": -6}, "not a storage"),
    "of another dtype": ({"kind": "DoubleStorage"}, "storage '0'"),
    "of a class that is data, not a storage": ({"kind": "float32"}, "not a storage"),
    "missing": ({"key": "../x"}, "damaged"),
    "a view of another, as long ago": ({"view": (("1", 0, 3),)}, "not a storage"),
    "offset": ({"offset": 1}, "needs 7 values of a storage of 6"),
    "offset beyond": ({"offset": 2**70}, "of a storage of 6"),
    "negative offset": ({"offset": -1}, "not a list of numbers"),
    "shape": ({"shape": (3, 3)}, "shape [3, 3] needs 9 values"),
    "huge shape": ({"shape": (2**40, 2**40)}, "of a storage of 6"),
    "huge shape of one value": ({"shape": (2**40, 2**40), "strides": (0, 0)}, "damaged"),
    "huge empty shape": ({"shape": (0, 2**40, 2**40), "strides": (1, 1, 1)}, "damaged"),
    "negative shape": ({"shape": (-2, 3)}, "not a list of numbers"),
    "shape of fractions": ({"shape": (2.0, 3)}, "not a list of numbers"),
    "strides": ({"strides": (4, 1)}, "needs 7 values"),
    "negative strides": ({"strides": (3, -1)}, "not a list of numbers"),
    "too few strides": ({"strides": (3,)}, "damaged"),
    "too many axes": ({"shape": (1,) * 100, "strides": (1,) * 100}, "damaged"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_about_a_storage_is_told_and_costs_no_memory(write, lie):
    changes, message = LIES[lie]
    path = write(tree_of(tensor(**changes)), {"0": SIX})
    tracemalloc.start()
    try:
        assert message in error_of(path)
        assert tracemalloc.get_traced_memory()[1] < 2**21
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "tree",
    [
        b"\x80\x02}r\x00\x00\x00\x01.",  # remember it as object 16,777,216
        b"\x80\x02}p16777216\n.",
        b"\x80\x02X\xff\xff\xff\x7fabc.",  # text of two gigabytes
        b"\x80\x02Nt.",
        b"\x80\x02h\x07.",
        b"\x80\x02" + encode("0") + b"Q.",
        tree_of(call(name_of("torch", "Size"), tensor())),
        tree_of(call(name_of("torch", "FloatStorage"), 3)),
        tree_of(call(name_of("torch._utils", "_rebuild_tensor_v2"), None, 0, (2,), (1,), 0, 0)),
        tree_of(call(name_of("torch._utils", "_rebuild_tensor_v2"), "abc", 0, (2,), (1,), 0, 0)),
    ],
)
def test_a_nonsensical_tree_is_told_and_costs_no_memory(write, tree):
    path = write(tree, {"0": SIX})
    tracemalloc.start()
    try:
        assert "damaged or cut off" in error_of(path)
        assert tracemalloc.get_traced_memory()[1] < 2**21
    finally:
        tracemalloc.stop()


class Attack:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_a_pickle_that_runs_something_is_refused_and_does_not_run(write, tmp_path, protocol):
    attack = pickle.dumps({"w": Attack(tmp_path / "was_run")}, protocol)
    path = write(attack, {})
    plain = tmp_path / "plain.pkl"
    plain.write_bytes(pickle.dumps(Attack(tmp_path / "was_run"), 2))
    for message in (error_of(path), error_of(plain)):
        assert f"asks for '{os.mkdir.__module__}.mkdir'" in message
    assert not (tmp_path / "was_run").exists()
    pickle.loads(attack)
    assert (tmp_path / "was_run").exists()  # so the attack is one


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "eval"),
        ("torch", "load"),
        ("torch.hub", "FloatStorage"),
        ("collections", "OrderedDict.fromkeys"),
        ("collections.OrderedDict", "fromkeys"),
        ("numpy", "float32"),
    ],
)
def test_no_other_name_is_known(write, module, name):
    message = error_of(write(tree_of(call(name_of(module, name), "1")), {"0": SIX}))
    assert f"asks for '{module}.{name}'" in message


# Damage.


@pytest.mark.parametrize("name", ["all.pth", "all_legacy.pth"])
def test_a_file_that_is_cut_off_anywhere_is_told(tmp_path, name):
    path = tmp_path / "cut.pth"
    path.write_bytes((GOLDEN / name).read_bytes())
    size = path.stat().st_size
    for length in [*range(size - 1, size - 200, -1), *range(size - 200, -1, -3)]:
        os.truncate(path, length)
        message = error_of(path)
        assert "damaged or cut off" in message or length < 4


def test_a_flipped_bit_in_a_zip_is_told_or_does_no_harm(tmp_path):
    data = (GOLDEN / "all.pth").read_bytes()
    expected = read_torch_file(GOLDEN / "all.pth")
    path = tmp_path / "flipped.pth"
    rng, told = np.random.default_rng(0), 0
    for place in rng.choice(len(data), 500, replace=False):
        flipped = bytearray(data)
        flipped[place] ^= 1 << rng.integers(8)
        path.write_bytes(flipped)
        try:
            tree = read_torch_file(path)
        except UserError as error:
            told += 1
            assert str(path) in str(error) and "\n" not in str(error)
        else:
            assert_same(tree, expected)
    assert told > 150  # the rest is padding, and facts that nobody reads


@pytest.mark.filterwarnings("ignore:invalid escape sequence")  # in the opcode of old strings
def test_any_damage_of_the_old_format_gives_a_tree_or_a_message(tmp_path):
    data = (GOLDEN / "all_legacy.pth").read_bytes()
    path = tmp_path / "damaged.pth"
    rng, told = np.random.default_rng(0), 0
    for _ in range(1000):
        damaged = np.frombuffer(data, np.uint8).copy()
        places = rng.integers(len(data), size=rng.integers(1, 4))
        damaged[places] = rng.integers(256, size=len(places))
        path.write_bytes(damaged)
        try:
            read_torch_file(path)
        except UserError as error:
            told += 1
            assert str(path) in str(error) and "\n" not in str(error)
    assert told > 300


def test_a_compressed_storage_is_told(tmp_path):
    path = tmp_path / "deflated.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("made/data.pkl", tree_of(tensor()))
        archive.writestr("made/data/0", SIX)
    assert "is compressed or encrypted" in error_of(path)


def test_a_large_file_is_not_read_into_memory(tmp_path):
    length = 2**30  # 4 GiB of zeros, which no disk has to hold, and a last value
    path = write_legacy(
        tmp_path / "large.pth",
        tree_of(tensor(length=length, shape=(2**15, 2**15), strides=(2**15, 1))),
        {"0": b""},
    )
    with path.open("r+b") as file:
        file.seek(-8, os.SEEK_END)
        file.write(struct.pack("<q", length))
        file.seek(4 * (length - 1), os.SEEK_CUR)
        file.write(struct.pack("<f", 7.0))
    tracemalloc.start()
    try:
        weights = state_dict(read_torch_file(path))
        assert weights["w"][-1, -2:].tolist() == [0, 7]
        assert tracemalloc.get_traced_memory()[1] < 2**28  # the pickles' window is 64 MiB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("content", "looks_like"),
    [
        (b"", "an empty file"),
        (b"loss 0.3\n", "text"),
        (b"  <!DOCTYPE html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"\x1f\x8b\x08", "a gzip file"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"\x40\0\0\0\0\0\0\0" + b'{"w":{}}', "a safetensors file"),
        (b"a" + bytes(256) + b"ustar\x0000" + bytes(248), "a tar file"),
        (bytes(8), "something that begins with 00 00"),
        (pickle.dumps({"w": 1}, 2), "a Python pickle of something else"),
    ],
)
def test_what_is_no_pytorch_file_is_told_by_its_looks(tmp_path, content, looks_like):
    path = tmp_path / "other.pth.tar"
    path.write_bytes(content)
    message = error_of(path)
    assert str(path) in message
    assert f"is not a PyTorch file: it looks like {looks_like}" in message


def test_other_zips_are_told_by_what_is_in_them(tmp_path):
    path = tmp_path / "arrays.npz"
    np.savez(path, w=np.ones(2))
    assert "a ZIP with no data.pkl; it has 'w.npy'" in error_of(path)


def test_what_is_not_there_is_told(tmp_path):
    assert "No such file" in error_of(tmp_path / "none.pth")
    assert "Is a directory" in error_of(tmp_path)
