"""The data sets that are built: list them, remove some, or build several at once.

python -m magenta_lite.data list
python -m magenta_lite.data build FOLDER --config=cat-mel_2bar --config=hierdec-trio_16bar
python -m magenta_lite.data remove midi_dir/mel_2bar-0a1b2c3d4e5f

Training builds a data set of your folder, in the encoding of the configuration, and keeps it for
the next time. What is removed is built again when it is needed. `build` makes those of several
configurations before, and reads each file once.
"""

from __future__ import annotations

import dataclasses

from absl import flags

from magenta_lite import cli
from magenta_lite.errors import UserError

FLAGS = flags.FLAGS
VERBS = ("list", "remove", "build")


def main(words: list[str]) -> None:
    """Does what the words after the command say."""
    verb, *names = words or [""]
    if verb not in VERBS:
        verb = verb or "This"
        raise UserError(f"{verb} is not a command; give list, remove NAME, or build FOLDER")
    if verb == "list" and names:
        raise UserError(f"list takes no names; to remove {names[0]}: remove {names[0]}")
    if verb == "remove" and not names:
        raise UserError("remove needs the name of a data set, as `list` shows it")
    if verb == "build" and (len(names) != 1 or not FLAGS.config):
        raise UserError("build needs a folder, and --config=NAME once or several times")
    if verb == "list":
        _list()
    elif verb == "remove":
        _remove(names)
    else:
        _build(names[0])


def _list() -> None:
    from magenta_lite.data import stored

    found, folder = stored.list_stored(FLAGS.data_dir), stored.data_folder(FLAGS.data_dir)
    if not found:
        print(f"No data set is built in {folder} yet")
        return
    for data in found:
        sizes = ", ".join(f"{n:,} {split}" for split, n in data.sizes.items())
        print(data.name)
        print(f"    of {data.source or 'a source that is not written down'}")
        print(
            f"    {data.converter}: {sizes}"
            if data.converter
            else "    its building was not finished"
        )
        if data.codes:
            print(f"    with the codes of {data.codes} VQ-VAE{'s' * (data.codes > 1)}")
        if data.files:
            print(
                f"    with {_size(data.files)} of encoded files, from which its next build goes on"
            )
        print(f"    {_size(data.size)}, built {data.built:%Y-%m-%d}, used {data.used:%Y-%m-%d}")
    total = _size(sum(data.size + data.files for data in found))
    print(f"{total} in {folder}; to free some: python -m magenta_lite.data remove NAME")


def _remove(names: list[str]) -> None:
    from magenta_lite.data import stored

    for data in stored.remove(names, FLAGS.data_dir):
        source = f", of {data.source}" if data.source else ""
        print(f"Removed {data.name} ({_size(data.size)}{source})")


def _build(source: str) -> None:
    from magenta_lite.config import get_config
    from magenta_lite.datasets import build_together
    from magenta_lite.families import FAMILIES

    configs = [get_config(name) for name in FLAGS.config]
    for config in configs:
        if FAMILIES[config.family].encoded_data:
            raise UserError(
                f"{config.name} is trained on the codes of a VQ-VAE, which `train --vqvae` makes; "
                "leave it out"
            )
    data = dataclasses.replace(configs[0].data, source=source)
    converters = [config.converter for config in configs]
    for collection in build_together(data, converters, FLAGS.data_dir):
        sizes = ", ".join(f"{n:,} {split}" for split, n in collection.sizes.items())
        print(f"{collection.name}: {sizes}")


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


if __name__ == "__main__":
    cli.define_data_dir_flag()
    flags.DEFINE_multi_string("config", [], "A configuration to `build` for.")
    cli.run(main, takes_words=True)
