"""Checkpoints of strangers that state more than they hold, lead elsewhere, or never end."""

import gzip
import io
import json
import os
import pickle
import shutil
import tarfile
import tracemalloc
import zipfile

import numpy as np
import pytest
from binary_mutants import GOLDEN, varint, write_table
from tensorflow.core.protobuf import tensor_bundle_pb2

from magenta_lite.checkpoints import (
    checks,
    magenta_js,
    melody_rnn,
    pickles,
    tf1,
    tf_tables,
    torch_files,
)
from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.errors import UserError
from magenta_lite.families.building import count_weights

BUNDLE = GOLDEN / "music_vae" / "tiny-cat-mel_2bar_small"
PREFIX, SHARD = "init.ckpt", "init.ckpt.data-00000-of-00001"


def error_of(opened, path, megabytes=4):
    """Returns the one line that a user gets to read; reading needs little memory."""
    tracemalloc.start()
    try:
        with pytest.raises(UserError) as caught, opened(path) as variables:
            for name in variables:
                variables[name]
        assert tracemalloc.get_traced_memory()[1] < megabytes * 2**20
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert "\n" not in message and len(message) < 700
    return message


# magenta-js --------------------------------------------------------------------------------------


@pytest.fixture
def js(tmp_path):
    """A folder of magenta-js, and a file beside it."""
    folder = tmp_path / "js"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(16))
    (folder / "shard").write_bytes(bytes(16))
    return folder


def write_manifest(folder, paths=("shard",), **changes):
    entry = {"name": "w", "shape": [4], "dtype": "float32"} | changes
    tree = [{"paths": list(paths), "weights": [entry]}]
    (folder / magenta_js.MANIFEST).write_text(json.dumps(tree))


def test_a_shard_lies_in_its_folder(js, tmp_path):
    (js / "sub").mkdir()
    (js / "sub" / "shard").write_bytes(bytes(16))
    write_manifest(js, ["sub/../sub/shard"])
    with magenta_js.open_checkpoint(js) as variables:
        assert variables["w"].tolist() == [0] * 4
    (js / "link").symlink_to(tmp_path / "secret")
    (js / "folder").symlink_to(tmp_path)
    outside = (
        "../secret",
        str(tmp_path / "secret"),
        "link",
        "folder/secret",
        "/etc/passwd",
        "a\0b",
    )
    for path in (*outside, "~/../../etc/passwd/../../..", "a\nb", "a" * 1000):
        write_manifest(js, [path])
        assert "outside its folder" in error_of(magenta_js.open_checkpoint, js)


def test_a_shard_is_a_file_that_is_named_once(js):
    os.mkfifo(js / "pipe")
    for path, words in (
        ("pipe", "not a regular file"),
        (".", "not a regular file"),
        ("x", "missing"),
    ):
        write_manifest(js, [path])
        assert words in error_of(magenta_js.open_checkpoint, js)
    write_manifest(js, [["shard"]])
    assert "a group without paths" in error_of(magenta_js.open_checkpoint, js)
    write_manifest(js, ["shard"] * 1000, shape=[4000])
    assert "names a file twice" in error_of(magenta_js.open_checkpoint, js)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shape": [10**18]}, "should have 4,000,000,000,000,000,000 bytes"),
        ({"shape": [10**9] * 5}, "more than 4 EB"),
        ({"shape": [10**30]}, "name, shape and dtype"),
        ({"shape": [-4]}, "name, shape and dtype"),
        ({"shape": [4.0]}, "name, shape and dtype"),
        ({"shape": [True] * 4}, "name, shape and dtype"),
        ({"shape": "4"}, "name, shape and dtype"),
        ({"shape": [1] * 99}, "name, shape and dtype"),
        ({"dtype": "object"}, "has dtype object"),
        ({"dtype": ["float32"]}, "name, shape and dtype"),
        ({"dtype": "x\ny" * 999}, "has dtype x"),
        ({"quantization": {"dtype": "uint8", "scale": 1e999, "min": 0}}, "name, shape"),
        ({"quantization": [1]}, "name, shape and dtype"),
    ],
)
def test_a_variable_is_sized_before_it_is_read(changes, words, js):
    write_manifest(js, **changes)
    assert words in error_of(magenta_js.open_checkpoint, js)


@pytest.mark.parametrize("text", ["[" * 10**6, "1" * 5000, '{"a": ' * 5000, "\xff", "NaN", ""])
def test_a_manifest_that_is_none_is_told(text, js):
    (js / magenta_js.MANIFEST).write_text(text, "latin-1")
    assert magenta_js.MANIFEST in error_of(magenta_js.open_checkpoint, js)


# Tars of TensorFlow 1 ----------------------------------------------------------------------------


def write_tar(path, members, open_file=open):
    """Writes members: pairs of changes of a `TarInfo`, and bytes."""
    with open_file(path, "wb") as file, tarfile.open(fileobj=file, mode="w") as archive:
        for name in (f"{PREFIX}.index", SHARD):
            archive.add(BUNDLE / name, arcname=name)
        for changes, content in members:
            info = tarfile.TarInfo("other")
            info.size = len(content)
            for key, value in changes.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(content))
    return path


def test_members_that_are_no_files_of_a_checkpoint_are_not_unpacked(tmp_path):
    secret = tmp_path / "secret"
    members = [
        ({"name": f"../../{tmp_path}/x.index"}, b""),
        ({"name": "x.index/../../secret"}, b""),
        ({"name": "y.index", "type": tarfile.SYMTYPE, "linkname": str(secret)}, b""),
        ({"name": "z.index", "type": tarfile.LNKTYPE, "linkname": "/etc/passwd"}, b""),
        ({"name": "pipe.index", "type": tarfile.FIFOTYPE}, b""),
    ]
    with tf1.open_checkpoint(write_tar(tmp_path / "a.tar", members)) as variables:
        assert "encoder/mu/kernel" in variables
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([({"name": "b.index"}, bytes(2**27))], "much more than its size"),
        ([({"name": "other"}, bytes(2**27))], "much more than its size"),
        ([({"pax_headers": {"comment": "x" * 2**27}}, b"")], "much more than its size"),
        ([({"name": "x" * 2**27}, b"")], "much more than its size"),
    ],
)
def test_a_tar_that_unpacks_to_much_more_is_not_unpacked(members, words, tmp_path):
    path = write_tar(tmp_path / "a.tar.gz", members, gzip.open)
    assert path.stat().st_size < 2**20
    assert words in error_of(tf1.open_checkpoint, path, megabytes=64)


def edited_tar(path, place, after):
    """Replaces bytes at a place of the header of the last member, and corrects its checksum."""
    data = bytearray(path.read_bytes())
    start = data.rindex(b"b.index")
    block = data[start : start + 512]
    block[place : place + len(after)] = after
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    data[start : start + 512] = block
    path.write_bytes(data)
    return path


def test_a_member_is_not_larger_than_its_tar(tmp_path):
    path = write_tar(tmp_path / "a.tar", [({"name": "b.index"}, bytes(100))])
    assert b"%011o" % 100 in path.read_bytes()
    edited_tar(path, 124, b"%011o" % (8**11 - 1))  # its size
    assert "damaged or cut off" in error_of(tf1.open_checkpoint, path)
    path = write_tar(tmp_path / "b.tar", [({"name": "b.index"}, bytes(100))])
    edited_tar(path, 156, tarfile.GNUTYPE_SPARSE)
    assert "has gaps" in error_of(tf1.open_checkpoint, path)


# Tables of TensorFlow ----------------------------------------------------------------------------


@pytest.fixture
def bundle(tmp_path):
    """The entries of an index by name, and a function that reads it after a change of an entry."""
    for name in (f"{PREFIX}.index", SHARD):
        shutil.copy(BUNDLE / name, tmp_path)
    index = tmp_path / f"{PREFIX}.index"
    pairs = dict(tf_tables.entries(index.read_bytes()))

    def change(key, **changes):
        entry_class = (
            tensor_bundle_pb2.BundleEntryProto if key else tensor_bundle_pb2.BundleHeaderProto
        )
        entry = entry_class.FromString(pairs[key])
        for field, value in changes.items():
            if field == "shape":
                del entry.shape.dim[:]
                for size in value:
                    entry.shape.dim.add(size=size)
            elif field == "slices":
                entry.slices.add()
            else:
                setattr(entry, field, value)
        pairs[key] = entry.SerializeToString()
        index.write_bytes(write_table(sorted(pairs.items())))
        return tmp_path / PREFIX

    return change


KERNEL = b"encoder/mu/kernel"


@pytest.mark.parametrize(
    ("key", "changes", "words"),
    [
        (KERNEL, {"shape": [2**40]}, "bytes instead of"),
        (KERNEL, {"shape": [2**40], "size": 2**42}, "behind the end"),
        (KERNEL, {"shape": [2**40, 2**40, 2**40]}, "larger than any file"),
        (KERNEL, {"shape": [0, 2**62, 2**62]}, "larger than any file"),
        (KERNEL, {"shape": [-1]}, "no shape"),
        (KERNEL, {"shape": [1] * 300}, "no shape"),
        (KERNEL, {"offset": 2**62}, "behind the end"),
        (KERNEL, {"offset": -4}, "behind the end"),
        (KERNEL, {"shard_id": 7}, "a file that is missing"),
        (KERNEL, {"shard_id": -1}, "a file that is missing"),
        (KERNEL, {"dtype": 7}, "DT_STRING, which weights do not have"),
        (KERNEL, {"dtype": 101}, "DT_FLOAT_REF"),
        (KERNEL, {"dtype": 999}, "999"),
        (b"", {"num_shards": 2**31 - 1}, "it is not the index of 1 files"),
        (KERNEL, {"slices": 1}, "stored in parts"),
        (b"", {"num_shards": 0}, "it is not the index of 1 files"),
    ],
)
def test_a_tensor_is_not_larger_than_its_file(bundle, key, changes, words):
    message = error_of(tf1.open_checkpoint, bundle(key, **changes))
    assert words in message and "damaged or cut off" in message


def test_tensors_do_not_share_their_values(bundle, tmp_path):
    size = (tmp_path / SHARD).stat().st_size // 4
    bundle(KERNEL, shape=[size], offset=0, size=4 * size)
    assert "overlap" in error_of(tf1.open_checkpoint, tmp_path / PREFIX)


def test_a_tensor_is_described_once(bundle, tmp_path):
    pairs = list(tf_tables.entries((BUNDLE / f"{PREFIX}.index").read_bytes()))
    for changed in ([*pairs, pairs[-1]], [pairs[0], *pairs[:0:-1]], [pairs[0], *pairs]):
        (tmp_path / f"{PREFIX}.index").write_bytes(write_table(changed))
        assert "not in order" in error_of(tf1.open_checkpoint, tmp_path / PREFIX)


def footer(*numbers):
    return b"".join(map(varint, numbers)).ljust(40, b"\0") + tf_tables.MAGIC


TABLE = write_table([(b"key", b"value")])
NO_TABLES = {
    "nothing": b"",
    "a footer": footer(0, 0, 0, 0),
    "a block of 2**60 bytes": TABLE[:-48] + footer(0, 2**60, 0, 2**60),
    "a block behind the end": TABLE[:-48] + footer(0, 10, 2**63, 10),
    "a block that is its own index": TABLE[:-48] + footer(0, 10, 0, 21),
    "endless numbers": TABLE[:-48] + b"\xff" * 40 + tf_tables.MAGIC,
    "more restarts than bytes": TABLE[:21] + b"\xff" * 20 + TABLE[-48:],
}


@pytest.mark.parametrize("content", NO_TABLES.values(), ids=NO_TABLES)
def test_a_table_that_is_none_is_told(content, bundle, tmp_path):
    assert list(tf_tables.entries(TABLE)) == [(b"key", b"value")]
    (tmp_path / f"{PREFIX}.index").write_bytes(content)
    assert "damaged or cut off" in error_of(tf1.open_checkpoint, tmp_path / PREFIX)


def test_names_do_not_expand_without_end():
    # Each key shares all of the one before, of a megabyte.
    block = varint(0) + varint(2**20) + varint(0) + bytes(2**20)
    block += b"".join(
        varint(2**20) + varint(3) + varint(0) + i.to_bytes(3, "big") for i in range(1000)
    )
    block += b"\0\0\0\0\1\0\0\0"
    data = block + bytes(5)
    index = varint(0) + varint(1) + varint(len(varint(0) + varint(len(block)))) + b"x"
    index += varint(0) + varint(len(block)) + b"\0\0\0\0\1\0\0\0"
    table = data + index + bytes(5) + footer(0, len(block), len(data), len(index))
    with pytest.raises(tf_tables.TableError, match="names are too long"):
        for _ in tf_tables.entries(table):
            pass


@pytest.mark.parametrize(
    ("packed", "content"),
    [
        (b"\x03\x08abc", b"abc"),
        (b"\x0a\x04ab\x1e\x02\0", b"ab" * 5),  # a copy that overlaps with what it writes
        (b"\x06\x08abc\x0a\x03\0", b"abcabc"),
        (b"\x07\x08abc\x01\x03", b"abcabca"),  # the short form of a copy
        (b"\x46\xf0\x45" + b"x" * 70, b"x" * 70),
        (b"\x04\x08abc", None),  # too short
        (b"\x02\x08abc", None),  # too long
        (b"\x06\x08abc\x0a\x04\0", None),  # from before the beginning
        (b"\x06\x08abc\x0a\0\0", None),
        (varint(2**40) + b"\x08abc", None),
    ],
)
def test_compressed_blocks(packed, content):
    if content is None:
        with pytest.raises(tf_tables.TableError):
            tf_tables.unpacked(packed)
    else:
        assert tf_tables.unpacked(packed) == content


def test_the_list_of_checkpoints_does_not_lead_out_of_its_folder(bundle, tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside, outside):
        folder.mkdir()
        for name in (f"{PREFIX}.index", SHARD):
            shutil.copy(BUNDLE / name, folder)
    (outside / SHARD).write_bytes(b"")
    for place in (f"{outside}/{PREFIX}", f"../outside/{PREFIX}", "../outside/none", "/etc/passwd"):
        (inside / "checkpoint").write_text(f'model_checkpoint_path: "{place}"\n')
        with tf1.open_checkpoint(inside) as variables:
            assert variables["encoder/mu/kernel"].size


def test_files_of_a_checkpoint_are_counted_before_they_are_listed(bundle, tmp_path):
    (tmp_path / SHARD).rename(tmp_path / SHARD.replace("00001", "99999"))
    assert f"{PREFIX}.data-00001-of-99999 is missing" in error_of(
        tf1.open_checkpoint, tmp_path / PREFIX, megabytes=32
    )


# Files of PyTorch --------------------------------------------------------------------------------


def write_pickle(path, tree):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", b"\x80\x02" + tree + b".")
        archive.writestr("x/data/0", bytes(24))
    return path


PAIRS = pickle.dumps([[str(i), 0] for i in range(1000)], 2)[2:-1]
ORDERED = b"ccollections\nOrderedDict\n"
STORAGE = b"(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\x000X\3\0\0\0cpuK\6tQ"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n("
ONE_VALUE = b"K\0" + b"\x8a\6" + (2**40).to_bytes(6, "little") + b"\x85K\0\x85NNtR"
ENDLESS = {
    "a key of nested tuples": (b"})" + b"\x85" * 10_000 + b"Ns", "a key is a tuple"),
    "a key that doubles 60 times": (b"})" + b"2\x86" * 60 + b"Ns", "a key is a tuple"),
    "a key that is a dictionary": (b"}}Ns", "a key is a dict"),
    "pairs that are copied again and again": (
        b"]" + PAIRS + b"q\2" + ORDERED + b"q\1" + b"h\1h\2\x85R" * 100,
        "more than 50,000 parts",
    ),
    "attributes that are copied": (b"}q\1}b", "an object that is not a dictionary"),
    "empty dictionaries": (b"}" * 50_001, "more than 50,000 parts"),
    "a set": (b"\x8f", "EMPTY_SET is not data"),
    "a value that is repeated 2**40 times": (
        b"}X\1\0\0\0w" + REBUILD + STORAGE + ONE_VALUE + b"s",
        "more than 4 times the bytes of the file",
    ),
}


@pytest.mark.parametrize(("tree", "words"), ENDLESS.values(), ids=ENDLESS)
def test_a_tree_without_end_is_told(tree, words, tmp_path, monkeypatch):
    monkeypatch.setattr(pickles, "MAX_OPCODES", 50_000)
    path = write_pickle(tmp_path / "x.pth", tree)
    assert words in error_of(torch_files.open_checkpoint, path, megabytes=32)


def test_a_zip_that_is_compressed_is_not_unpacked(tmp_path):
    path = tmp_path / "x.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", b"\x80\x02}.")
        archive.writestr("x/data/0", bytes(2**26))
    assert "overlap, or are compressed" in error_of(torch_files.open_checkpoint, path)


# Models ------------------------------------------------------------------------------------------


class Arrays(melody_rnn.Variables):
    """Variables of given shapes, without memory for their values."""

    def __init__(self, shapes):
        self._arrays = {
            name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()
        }
        super().__init__(self, "made.ckpt")

    def get_variable_to_shape_map(self):
        return {name: array.shape for name, array in self._arrays.items()}

    def get_tensor(self, name):
        return self._arrays[name]


def test_a_model_is_not_built_that_is_larger_than_its_checkpoint():
    config = get_config("basic_rnn", original=True)
    converter = build_converter(config.converter)
    events = config.model.event_encoding(converter)
    # A kernel with 4U columns is that of a layer with 4U * U recurrent weights.
    units, cell = 2_000_000, "rnn/multi_rnn_cell/cell_{}/basic_lstm_cell/{}"
    first = 10
    shapes = {
        cell.format(0, "kernel"): (events.input_size + first, 4 * first),
        cell.format(1, "kernel"): (1, 4 * units),
        "fully_connected/kernel": (1, events.num_classes),
    }
    variables = Arrays(shapes)
    fitted = melody_rnn.fitted_config(config, converter, variables)
    assert fitted.model.units == (first, units)
    weights = count_weights(fitted, converter)
    with pytest.raises(UserError, match="a model of 16,0") as error:
        checks.check_size(weights, variables)
    assert "\n" not in str(error.value)


def test_arrays_of_other_dimensions_are_told():
    config = get_config("basic_rnn", original=True)
    converter = build_converter(config.converter)
    variables = Arrays({"basic_lstm_cell/kernel": (3,), "fully_connected/kernel": ()})
    with pytest.raises(UserError, match="does not fit") as error, checks.fitting("x.ckpt"):
        melody_rnn.fitted_config(config, converter, variables)
    assert "\n" not in str(error.value)
