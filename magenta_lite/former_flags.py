"""Translates command lines with flags of the original code to the commands of this package.

The original commands are Magenta's melody_rnn, drums_rnn, improv_rnn, performance_rnn
(create_dataset, train, generate), music_vae (train, generate), convert_dir_to_note_sequences;
Tensor2Tensor's trainer and decoder, for Music Transformer; and Jukebox's train and sample.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from magenta_lite.config import config_names, get_config
from magenta_lite.shell import command

CHECKPOINTS = ("bundle_file", "checkpoint_file", "checkpoint_path", "restore_prior")
DATA = ("input", "input_dir", "examples_path", "audio_files_dir")

# Flags with the same meaning, by command.
RENAMED = {
    "generate": {
        "primer_midi": "input",
        "input_midi_1": "input",
        "input_midi_2": "input",
        "audio_file": "input",
        "prompt_length_in_seconds": "prompt_seconds",
        "sample_length_in_seconds": "total_seconds",
        "total_sample_length_in_seconds": "total_seconds",
        "n_samples": "num_outputs",
        "decode_length": "num_tokens",
        "name": "output_dir",
    },
    "train": {"output_dir": "run_dir", **dict.fromkeys(DATA, "data")},
    "inspect_data": dict.fromkeys(DATA, "data"),
    "import_checkpoint": {"output_dir": "run_dir", **dict.fromkeys(CHECKPOINTS, "checkpoint")},
    "export": {"output_dir": "output", "export_dir": "output"},
}
# Flags that are now settings of the configuration.
SETTINGS = {
    "num_training_steps": "train.steps",
    "train_steps": "train.steps",
    "num_steps": "train.steps",
    "num_checkpoints": "train.keep_checkpoints",
    "checkpoints_to_keep": "train.keep_checkpoints",
    "keep_checkpoint_max": "train.keep_checkpoints",
    "num_eval_examples": "train.validation_examples",
    "eval_num_batches": "train.validation_examples",
    "bs": "train.batch_size",
    "lr": "train.learning_rate",
}
# Flags without a replacement, by the note about them.
GONE_BY_NOTE = {
    "": ("log", "decode_interactive", "mode", "schedule", "train", "test", "aug_blend"),
    "the run directory records it": ("hparams", "hparams_set", "problem", "model", "sr"),
    "it is automatic": (
        *("max_batch_size", "tmp_dir", "t2t_usr_dir", "hop_fraction", "cache_dataset"),
        *("nworkers", "aug_shift"),
    ),
    "models of performances are not conditioned on it": (
        *("notes_per_second", "pitch_class_histogram", "disable_conditioning"),
    ),
    "--strategy selects the devices": (
        *("master", "task", "num_ps_tasks", "num_sync_workers", "worker_gpu"),
    ),
    "train evaluates at every checkpoint, and evaluate afterwards": (
        *("eval", "eval_steps", "eval_dir_suffix"),
    ),
    "--set train.checkpoint_every=500 sets the interval": (
        *("summary_frequency", "keep_checkpoint_every_n_hours"),
    ),
    "train builds the data set from the folder": ("output_file", "output_dir"),
    "a run directory needs no bundle": ("save_generator_bundle", "bundle_description"),
    "--temperature, --top_k and --top_p control sampling": ("decode_hparams",),
    "--input=FILE --mode=continue continues a file": ("decode_from_file",),
    "--upsamplers selects the levels": ("levels",),
    "the same command resumes unfinished outputs": ("codes_file",),
    "train holds out pieces automatically": ("eval_ratio",),
    "folders are always read recursively": ("recursive",),
    "--output_dir sets the folder of the outputs": ("output_filename",),
    "labels.csv beside the sound files is read automatically": ("labels",),
    "--set train.steps=2000 sets the length of training": ("epochs",),
    "--set converter.crop sets the length": ("sample_length",),
    "import_checkpoint reads it, and --vqvae=RUN names it": ("restore_vqvae",),
}
GONE = {name: note for note, names in GONE_BY_NOTE.items() for name in names}
SWITCHES = ("recursive", "eval", "cache_dataset", "save_generator_bundle", "decode_interactive")
MODES = {"primed": "continue", "ancestral": "sample"}
ENCODINGS = {"onehot": "basic_rnn", "lookback": "lookback_rnn", "key": "attention_rnn"}
HPS = {"vqvae": "jukebox_vqvae", "small_vqvae": "vqvae_small", "small_prior": "jukebox_prior_small"}

# Names in --hparams by family, and the corresponding settings of the configuration.
OPTIMISER = {"batch_size": "train.batch_size", "learning_rate": "train.learning_rate"}
HPARAMS = {
    "melody_rnn": OPTIMISER
    | {
        "rnn_layer_sizes": "model.units",
        "dropout_keep_prob": "model.dropout",
        "attn_length": "model.attention_length",
        "clip_norm": "train.clip_norm",
    },
    "music_vae": OPTIMISER
    | {
        "z_size": "model.latent_size",
        "enc_rnn_size": "model.encoder_units",
        "dec_rnn_size": "model.decoder_units",
        "dropout_keep_prob": "model.dropout",
        "decay_rate": "train.learning_rate_decay",
        "min_learning_rate": "train.min_learning_rate",
        "grad_clip": "train.clip_norm",
        "max_beta": "objective.max_beta",
        "beta_rate": "objective.beta_rate",
        "free_bits": "objective.free_bits",
        "sampling_schedule": "objective.sampling_schedule",
        "sampling_rate": "objective.sampling_rate",
    },
    "music_transformer": {
        "hidden_size": "model.hidden_size",
        "num_hidden_layers": "model.layers",
        "num_heads": "model.heads",
        "filter_size": "model.filter_size",
        "attention_key_channels": "model.key_size",
        "max_relative_position": "model.max_relative_position",
        "layer_prepostprocess_dropout": "model.dropout",
        "label_smoothing": "objective.label_smoothing",
        "learning_rate_warmup_steps": "train.warmup_steps",
    },
}


def rewritten(verb: str, arguments: list[str], known: Callable[[str], bool]) -> str:
    """Returns one line with the translation of a command that has flags of the original code.

    It is empty if a flag belongs neither to the command nor to the original code.

    Args:
        verb: The command, e.g. `train`.
        arguments: Its arguments.
        known: Returns whether the command has a flag of this name.
    """
    given = list(_flags(arguments))
    old = {name: value for name, value in given if not known(name)}
    config, flags, notes = _config_of(dict(given)), [], []
    checkpoints = (
        [] if verb == "import_checkpoint" else [name for name in old if name in CHECKPOINTS]
    )
    for name, value in given:
        if known(name):
            value = MODES.get(value, value) if name == "mode" and value else value
            flags.append(f"--{name}" if value is None else f"--{name}={value}")
        elif name not in checkpoints:
            written = _written(verb, config, name, value, notes)
            if written is None:
                return ""
            flags += written
    if verb == "generate":
        flags = _generating(config, flags)
    commands = [command(verb, *flags)]
    if checkpoints:
        run_dir = dict(given).get("run_dir") or f"runs/{config}"
        checkpoint = f"--checkpoint={old[checkpoints[0]] or 'FILE'}"
        importing = command(
            "import_checkpoint", f"--config={config}", checkpoint, f"--run_dir={run_dir}"
        )
        commands.insert(0, importing)
    remarks = f" ({'; '.join(dict.fromkeys(notes))})" if notes else ""
    return (
        f"{', '.join(f'--{name}' for name in old)} of the original "
        f"{'is' if len(old) == 1 else 'are'} replaced here: {' && '.join(commands)}{remarks}"
    )


def _config_of(given: Mapping[str, str | None]) -> str:
    """Returns the configuration named by a flag or by the file of a checkpoint, else `CONFIG`."""
    named = {name: value or "" for name, value in given.items()}
    files = [Path(named[name]).name.partition(".")[0] for name in CHECKPOINTS if name in named]
    names = (
        named.get("config"),
        named.get("hparams_set"),
        ENCODINGS.get(named.get("melody_encoder_decoder", "")),
        HPS.get(named.get("hps", "")),
        f"jukebox_prior_{named.get('model')}",
        *files,
    )
    return next((name for name in names if name in config_names()), "CONFIG")


def _flags(arguments: list[str]) -> Iterator[tuple[str, str | None]]:
    """Yields name and value of each flag, written as --name=value or --name value."""
    rest = list(arguments)
    while rest:
        name, equals, value = rest.pop(0).lstrip("-").partition("=")
        if equals:
            yield name, value
        elif name.startswith("no") and name[2:] in SWITCHES:
            yield name[2:], None
        elif name in SWITCHES or not rest or rest[0].startswith("-"):
            yield name, None
        else:
            yield name, rest.pop(0)


def _written(
    verb: str, config: str, name: str, value: str | None, notes: list[str]
) -> list[str] | None:
    """Returns the replacement of a flag; None if it is not a flag of the original code."""
    if name in RENAMED.get(verb, {}):
        return [f"--{RENAMED[verb][name]}={value}"]
    if name == "config":
        return []  # names the run directory; see `_generating`
    if verb == "train" and name in SETTINGS:
        return ["--set", f"{SETTINGS[name]}={value}"]
    if verb == "train" and name == "hparams":
        return _hparams(config, value or "", notes)
    if verb == "train" and name == "sequence_example_file":
        notes.append("--data is the folder of its MIDI files or NoteSequences")
        return ["--data=FOLDER"]
    if verb == "train" and name == "tfds_name":
        is_groove = (value or "").startswith("groove")
        return ["--data=groove_midi" if is_groove else f"--data=tfds:{value}"]
    if verb == "train" and name == "problem":
        return ["--data=maestro_midi" if "maestro" in (value or "") else "--data=FOLDER"]
    if verb == "train" and name == "name":
        return [f"--run_dir=runs/{value}"]
    if verb == "train" and name in ("hps", "hparams_set", "melody_encoder_decoder"):
        return [f"--config={config}"]
    if name in GONE:
        if GONE[name]:
            notes.append(f"without --{name}: {GONE[name]}")
        return []
    return None


def _generating(config: str, flags: list[str]) -> list[str]:
    """Returns the flags of `generate` with a run directory, and with a mode if there is input."""
    if not any(flag.startswith("--run_dir") for flag in flags):
        flags = [f"--run_dir=runs/{config}", *flags]
    reads = any(flag.startswith("--input") for flag in flags)
    if reads and not any(flag.startswith("--mode") for flag in flags):
        flags = [*flags, "--mode=continue"]
    return flags


def _hparams(config: str, text: str, notes: list[str]) -> list[str]:
    """Returns the --set flags of `a=1,b=[2,3]`."""
    family = "" if config == "CONFIG" else get_config(config).family
    known = HPARAMS.get(family) or {k: v for of in HPARAMS.values() for k, v in of.items()}
    flags = []
    for name, value in re.findall(r"(\w+)['\"]?\s*[=:]\s*(\[[^\]]*\]|[^,}\s]+)", text):
        if name == "max_seq_len" and family in ("", "music_vae") and value.isdigit():
            flags += ["--set", f"converter.bars={int(value) // 16}"]
        elif name not in known:
            notes.append(f"without {name}: the configuration has no such value")
        elif name.endswith("keep_prob") and re.fullmatch(r"[\d.]*\d", value):
            flags += ["--set", f"{known[name]}={1 - float(value):.6g}"]
        else:
            flags += ["--set", f"{known[name]}={value.replace(' ', '')}"]
    return flags
