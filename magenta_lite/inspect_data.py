"""Report which training examples a configuration gets from a folder, and what is left out and why.

python -m magenta_lite.inspect_data FOLDER              a table of the examples of each family
python -m magenta_lite.inspect_data FOLDER --config=cat-mel_2bar [--set converter.bars=4]
python -m magenta_lite.inspect_data --data=folk --config=cat-mel_2bar
python -m magenta_lite.inspect_data --data=groove_midi:groove.zip --config=groovae_2bar_humanize
python -m magenta_lite.inspect_data FOLDER_OF_SOUND --config=vqvae_mini

Reads and encodes all files without writing anything; --json=FILE writes all numbers to a file.
The exit code is 0 if there are examples to train on, and 2 if there are none.
"""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Any

from absl import flags

from magenta_lite import cli
from magenta_lite.errors import UserError

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Defines the flags of this command."""
    cli.define_config_flags()
    cli.define_data_flags()
    cli.define_path("json", None, "Write the numbers to this file, too.")


def main() -> int:
    """Prints a summary of the source, and returns the exit code."""
    from magenta_lite.data import building, naming, summaries
    from magenta_lite.data.splitting import few_held_out, small_validation
    from magenta_lite.families import FAMILIES

    if FLAGS.data and not FLAGS.config:
        if FLAGS.json or FLAGS.set:
            raise UserError("--json and --set are for one configuration; give its --config")
        return _overview(FLAGS.data)
    config = cli.chosen_config()
    encoded = FAMILIES[config.family].encoded_data
    if encoded is not None:
        raise UserError(
            f"The data of {config.name} are encoded by {encoded.run_about}; give the --config of "
            "that to see what it is trained on"
        )
    by_folder = naming.is_by_folder(config.data)
    sources, listing = naming.list_source(config.data.source, config.converter)
    windows = building.build(sources, listing, config.converter, by_folder)
    numbers = describe(windows, config.converter)
    print(f"{config.data.source} for {config.name}:")
    print(summaries.summary(windows.sizes, windows.report, _columns()))
    few = {
        split: few_held_out(split, (window.piece for window in windows.splits[split]))
        for split in ("validation", "test")
    }
    few["validation"] = few["validation"] or small_validation(windows.sizes, windows.report)
    for line in filter(None, few.values()):
        print(line)
    if numbers["lowest_pitch"] is not None:
        print(f"Pitches {numbers['lowest_pitch']} to {numbers['highest_pitch']} (60 is middle C)")
    for hint in summaries.hints(windows.report):
        print(textwrap.fill(hint, _columns(), subsequent_indent="    ", break_on_hyphens=False))
    if FLAGS.json:
        _write_json(Path(FLAGS.json), numbers)
    if not windows.sizes["train"]:
        print(f"Error: {config.data.source} gives nothing to train on", file=sys.stderr)
        return 2
    return 0


def _columns() -> int:
    return min(shutil.get_terminal_size().columns, 120)


def _overview(source: str) -> int:
    """Prints a table of what each family gets from a source, and returns the exit code."""
    from magenta_lite import catalogue
    from magenta_lite.config import get_config
    from magenta_lite.data import naming
    from magenta_lite.data.overview import overview, table
    from magenta_lite.families import FAMILIES

    configs = [get_config(name) for family in FAMILIES.values() for name in family.shown_configs]
    notes = [config for config in configs if config.converter.kind != "audio"]
    sound = [config for config in configs if config.converter.kind == "audio"]
    rows, refused = [], []
    for group in (notes, sound):
        try:
            sources, listing = naming.list_source(source, group[0].converter)
        except UserError as error:  # a folder has notes but no sound, or the reverse
            refused.append(error)
            continue
        if sources:
            what = "notes" if group is notes else "sound"
            others = listing.dropped.total()
            more = f", and {others:,} that are not read" if others else ""
            print(f"{source}: {len(sources):,} file{'s' * (len(sources) > 1)} of {what}{more}")
            found, files = overview(sources, group, catalogue.about)
            rows += found
            print(table(found, _columns()))
            if files.files.dropped:
                print(files.used(_columns()))
    if not rows and len(refused) == 2:
        raise refused[0]
    if not any(row.windows for row in rows):
        print(f"Error: {source} gives nothing to train on", file=sys.stderr)
        return 2
    print("In full: --config=NAME. A window is one example; of equal ones one is counted.")
    return 0


def describe(windows: Any, converter_config: Any) -> dict[str, Any]:
    """Returns the counts of `building.Windows` as JSON values."""
    from magenta_lite.data import building, summaries

    lowest, highest = summaries.pitch_range(windows, converter_config) or (None, None)
    return {
        "converter": building.converter_of(converter_config).to_json(),
        "splits": windows.sizes,
        "lowest_pitch": lowest,
        "highest_pitch": highest,
        "report": windows.report.to_json(),
    }


def _write_json(path: Path, numbers: dict[str, Any]) -> None:
    try:
        path.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"--json={path} cannot be written: {error.strerror}") from error


def with_data_flag(argv: list[str]) -> list[str]:
    """Returns `argv` with a positional FOLDER, first or last, replaced by --data=FOLDER."""
    for i in (1, len(argv) - 1):
        alone = i == 1 or "=" in argv[i - 1]  # not the value of a flag given as --flag value
        if 0 < i < len(argv) and alone and not argv[i].startswith("-"):
            return [*argv[:i], f"--data={argv[i]}", *argv[i + 1 :]]
    return argv


if __name__ == "__main__":
    define_flags()
    cli.run(main, with_data_flag(sys.argv))
