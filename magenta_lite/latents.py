"""Encode music to latent vectors, plot them, and compute attribute vectors.

python -m magenta_lite.latents --run_dir=runs/cat-mel_2bar --input=FOLDER --output=out
python -m magenta_lite.latents --run_dir=runs/cat-mel_2bar --input=BUSY --input=CALM --output=out

Writes OUTPUT/latents.npz (`mu` (N, Z), `piece`, `group`) and OUTPUT/map.png, a projection onto the
first two principal components. With two inputs it also writes OUTPUT/attribute.npz, the mean of the
first minus the mean of the second, for
`generate --mode=attribute --attribute=OUTPUT/attribute.npz --amount=1`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from magenta_lite import cli
from magenta_lite.errors import UserError
from magenta_lite.files import replaced

if TYPE_CHECKING:
    from magenta_lite.training.run import Run

FLAGS = flags.FLAGS
WRITTEN = ("latents.npz", "map.png", "attribute.npz")

cli.define_run_flags()
cli.define_paths(
    "input", "A folder, archive or file of music, or a collection such as folk. Repeatable."
)
cli.define_path("output", "latents", "Output folder; it must not contain latents already.")


def main() -> None:
    cli.require("input")
    path = cli.run_path()
    folder = Path(FLAGS.output)
    there = [name for name in WRITTEN if (folder / name).exists()]
    if there:
        raise UserError(f"{folder / there[0]} exists already; choose another --output")
    cli.load_tensorflow()
    import numpy as np

    from magenta_lite.families.music_vae import latents
    from magenta_lite.outputs import write_picture
    from magenta_lite.plots import scatter

    run = cli.load_run()
    if run.config.family != "music_vae":
        raise UserError(f"{path} is a {run.config.family}: only MusicVAEs have latents")
    groups = [_examples(source, run) for source in FLAGS.input]
    means = [latents.encode_examples(run.model, events, chords) for events, chords, _ in groups]
    together = np.concatenate(means)
    pieces = [piece for _, _, names in groups for piece in names]
    group = np.repeat(np.arange(len(means)), [len(mu) for mu in means])

    cli.make_folder("output")
    with replaced(folder / "latents.npz") as partial:
        np.savez(partial, mu=together, piece=np.array(pieces), group=group)
    places, shares = latents.project(together)
    labels = [Path(source).name or source for source in FLAGS.input]
    title = f"{len(together):,} windows; the axes hold {shares.sum():.0%} of the variance"
    written = [folder / "latents.npz"]
    written.append(write_picture(folder / "map.png", scatter(places, group, labels, title)))
    if len(means) == 2:
        with replaced(folder / "attribute.npz") as partial:
            latents.save_attribute(partial, latents.attribute_vector(*means))
        written.append(folder / "attribute.npz")
    for path in written:
        print(path)


def _examples(source: str, run: Run):
    """Returns the events, chords (or None) and piece names of the windows of a source."""
    from magenta_lite.data.naming import list_source

    sources, report = list_source(source)
    # The user's music may have other drums than the training data of a groove model.
    converter = run.converter.for_inference(
        run.config.generate.inference_pitch_map, unmarked_drums=Path(source).is_file()
    )
    events, controls, names = [], [], []
    for entry in sources:
        pieces, read = entry.read()
        report.merge(read)
        for piece in pieces:
            result = converter.encode(piece.music)
            report.merge(result.report, piece.name)
            events += result.examples
            controls += result.controls or []
            names += [piece.name] * len(result.examples)
    if not events:
        raise UserError(f"{source} gives no window. What was read:\n{report.table()}")
    print(f"{source}:\n{report.table()}")
    return events, controls or None, names


if __name__ == "__main__":
    cli.run(main)
