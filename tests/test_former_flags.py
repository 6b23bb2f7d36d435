"""Commands with flags of the original: what they are told to be here."""

from __future__ import annotations

import functools
import json
import re
import shlex
import subprocess
import sys

import pytest

from magenta_lite.config import get_config, override
from magenta_lite.former_flags import CHECKPOINTS, GONE, RENAMED, SETTINGS, rewritten

VERBS = ("generate", "train", "inspect_data", "import_checkpoint", "export", "evaluate")
FLAGS_OF = """
import importlib, json, sys
from absl import flags
module = importlib.import_module(f"magenta_lite.{sys.argv[1]}")
getattr(module, "define_flags", lambda: None)()
print(json.dumps(list(flags.FLAGS)))
"""


@functools.cache
def flags_of(verb: str) -> list[str]:
    """Returns the names of a command's flags."""
    done = subprocess.run(
        [sys.executable, "-c", FLAGS_OF, verb], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def new(verb: str, arguments: str) -> str:
    """Returns the line for a command as it was typed, without its first words."""
    line = rewritten(verb, shlex.split(arguments), flags_of(verb).__contains__)
    assert "\n" not in line
    return line.partition("replaced here: ")[2]


@pytest.mark.parametrize(
    ("verb", "old", "now"),
    [
        (
            "generate",
            "--run_dir=r --primer_midi=a.mid --num_outputs=3",
            "generate --run_dir=r --input=a.mid --num_outputs=3 --mode=continue",
        ),
        (
            "generate",
            "--config=attention_rnn --bundle_file=my/attention_rnn.mag --primer_melody='[60]'",
            "import_checkpoint --config=attention_rnn --checkpoint=my/attention_rnn.mag "
            "--run_dir=runs/attention_rnn && python -m magenta_lite.generate "
            "--run_dir=runs/attention_rnn --primer_melody='[60]'",
        ),
        (
            "generate",
            "--checkpoint_file cat-mel_2bar_big.tar --mode=interpolate --input_midi_1 a.mid "
            "--input_midi_2=b.mid",
            "import_checkpoint --config=cat-mel_2bar_big --checkpoint=cat-mel_2bar_big.tar "
            "--run_dir=runs/cat-mel_2bar_big && python -m magenta_lite.generate "
            "--run_dir=runs/cat-mel_2bar_big --mode=interpolate --input=a.mid --input=b.mid",
        ),
        (
            "generate",
            "--model=1b_lyrics --name=out --n_samples=2 --sample_length_in_seconds=20 "
            "--mode=primed --audio_file=a.wav --prompt_length_in_seconds=12",
            "generate --run_dir=runs/jukebox_prior_1b_lyrics --output_dir=out --num_outputs=2 "
            "--total_seconds=20 --mode=continue --input=a.wav --prompt_seconds=12 "
            "(without --model: the run directory records it)",
        ),
        (
            "train",
            "--config=attention_rnn --num_training_steps=500 "
            "--hparams='batch_size=64,rnn_layer_sizes=[64,64],dropout_keep_prob=0.8'",
            "train --config=attention_rnn --set train.steps=500 --set train.batch_size=64 "
            "--set model.units='[64,64]' --set model.dropout=0.2",
        ),
        (
            "train",
            "--config=cat-mel_2bar_small --num_steps=9 --examples_path=a.tfrecord "
            "--hparams=z_size=64,max_seq_len=64,dec_rnn_size=[512],free_bits=48,use_cudnn=true",
            "train --config=cat-mel_2bar_small --set train.steps=9 --data=a.tfrecord "
            "--set model.latent_size=64 --set converter.bars=4 --set model.decoder_units='[512]' "
            "--set objective.free_bits=48 "
            "(without use_cudnn: the configuration has no such value)",
        ),
        (
            "train",
            "--sequence_example_file=/tmp/training_melodies.tfrecord --config=basic_rnn",
            "train --data=FOLDER --config=basic_rnn (--data is the folder of its MIDI files or "
            "NoteSequences)",
        ),
        (
            "train",
            "--problem=score2perf_maestro_language_uncropped_aug --train_steps=7 "
            "--hparams_set=t_rel_len2048_h384_att512_fs1024_n6_dropout10 --output_dir=o",
            "train --data=maestro_midi --set train.steps=7 "
            "--config=t_rel_len2048_h384_att512_fs1024_n6_dropout10 --run_dir=o",
        ),
        (
            "inspect_data",
            "--input_dir='my midi' --recursive",
            "inspect_data --data='my midi' (without --recursive: folders are always read "
            "recursively)",
        ),
        (
            "import_checkpoint",
            "--checkpoint_file=a.tar --config=cat-mel_2bar_big --output_dir=x",
            "import_checkpoint --checkpoint=a.tar --config=cat-mel_2bar_big --run_dir=x",
        ),
        ("export", "--run_dir=r --export_dir=x", "export --run_dir=r --output=x"),
    ],
)
def test_old_commands_are_written_anew_with_their_values(verb, old, now):
    assert new(verb, old) == f"python -m magenta_lite.{now}"


def test_every_flag_that_takes_the_place_of_one_is_a_flag_of_that_command():
    for verb, renamed in RENAMED.items():
        assert set(renamed.values()) <= set(flags_of(verb)), verb
        assert not renamed.keys() & set(flags_of(verb)), verb
    for verb in VERBS:
        for name in (*GONE, *SETTINGS, *CHECKPOINTS, "config"):
            line = rewritten(verb, [f"--{name}=1"], flags_of(verb).__contains__)
            line = line.partition(" (")[0]  # notes name flags of other commands
            told = re.findall(r"magenta_lite\.(\w+)((?: (?!&&)[^ ]+)*)", line)
            for each, arguments in told:
                assert set(re.findall(r" --(\w+)", arguments)) <= {*flags_of(each), name}, line


@pytest.mark.parametrize(
    ("config", "hparams"),
    [
        (
            "attention_rnn",
            "batch_size=2,learning_rate=0.1,rnn_layer_sizes=[9],dropout_keep_prob=0.5,"
            "attn_length=4,clip_norm=3",
        ),
        (
            "cat-mel_2bar",
            "{'batch_size': 2, 'learning_rate': 0.1, 'z_size': 8, 'enc_rnn_size': [9], "
            "'dec_rnn_size': [9, 9], 'dropout_keep_prob': 0.9, 'decay_rate': 0.5, "
            "'min_learning_rate': 1e-6, 'grad_clip': 2.0, 'max_beta': 0.1, 'beta_rate': 0.9, "
            "'free_bits': 3, 'sampling_schedule': 'constant', 'sampling_rate': 0.5}",
        ),
        (
            "music_transformer",
            "hidden_size=64,num_hidden_layers=2,num_heads=4,filter_size=32,"
            "attention_key_channels=64,max_relative_position=16,"
            "layer_prepostprocess_dropout=0.2,label_smoothing=0.1,learning_rate_warmup_steps=5",
        ),
    ],
)
def test_every_known_hparam_is_a_value_of_its_configuration(config, hparams):
    line = new("train", f'--config={config} --hparams="{hparams}"')
    assert "without" not in line
    settings = [text for text in shlex.split(line) if "." in text and "=" in text]
    count = len(re.findall(r"[=:]", hparams))
    assert len(settings) == count
    assert override(get_config(config), settings) != get_config(config)


def test_flags_of_nobody_are_an_ordinary_error():
    known = flags_of("train").__contains__
    assert rewritten("train", ["--config=a", "--nonsense=3"], known) == ""
    assert rewritten("train", ["--num_training_steps=3", "--nonsense=3"], known) == ""


@pytest.mark.parametrize(
    ("command", "arguments", "told"),
    [
        ("train", ["--num_training_steps=5"], "--set train.steps=5"),
        ("generate", ["--run_dir=r", "--primer_midi", "~/a.mid"], "--input='~/a.mid'"),
        ("generate", ["--run_dir=r", "--nonsense"], "Unknown command line flag 'nonsense'"),
    ],
)
def test_commands_tell_it_in_one_line_and_end_with_2(command, arguments, told):
    done = subprocess.run(
        [sys.executable, "-m", f"magenta_lite.{command}", *arguments],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
