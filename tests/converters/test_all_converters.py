"""What every converter promises."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from golden_converters import sequences
from hypothesis import given, settings
from hypothesis import strategies as st
from note_seq.protobuf import music_pb2

from magenta_lite.config import ExperimentConfig, load_config, override, save_config
from magenta_lite.config.values import SECTION_CLASSES
from magenta_lite.converters import CONVERTERS, build_converter
from magenta_lite.converters.chorale import ChoraleConverterConfig
from magenta_lite.converters.drums import DrumsConverterConfig
from magenta_lite.converters.event_sequences.drums import EventDrumsConverterConfig
from magenta_lite.converters.event_sequences.melody import EventMelodyConverterConfig
from magenta_lite.converters.event_sequences.performance import EventPerformanceConverterConfig
from magenta_lite.converters.groove import GrooveConverterConfig
from magenta_lite.converters.melody import MelodyConverterConfig
from magenta_lite.converters.melody_performance import MelodyPerformanceConverterConfig
from magenta_lite.converters.multi_performance import MultiPerformanceConverterConfig
from magenta_lite.converters.musenet.converter import MuseNetConverterConfig
from magenta_lite.converters.performance import PerformanceConverterConfig
from magenta_lite.converters.trio import TrioConverterConfig
from magenta_lite.errors import UserError
from magenta_lite.families.music_vae.config import MusicVAEConfig, VAEObjective

CONFIGS = (
    MelodyConverterConfig(),
    MelodyConverterConfig(bars=0, end_token=True, chords=True, programs=(0, 31)),
    MelodyConverterConfig(bars=16, pad_edges=True, min_pitch=0, max_pitch=127),
    DrumsConverterConfig(),
    DrumsConverterConfig(bars=1, classes="full", roll=True, pad_edges=True),
    TrioConverterConfig(bars=4),
    TrioConverterConfig(bars=1, gap_bars=0, pad_edges=True, melody_programs=(40, 80)),
    GrooveConverterConfig(),
    GrooveConverterConfig(bars=4, pitch_map="reduced", pad_edges=True),
    MultiPerformanceConverterConfig(chords=True),
    MultiPerformanceConverterConfig(pad_edges=True, max_events=16, max_instruments=3),
    EventMelodyConverterConfig(min_bars=1),
    EventMelodyConverterConfig(
        min_pitch=0,
        max_pitch=127,
        transpose_to_key=None,
        min_bars=0,
        min_unique_pitches=0,
    ),
    EventMelodyConverterConfig(min_bars=1, chords="pitches", transpose_to_key=None),
    EventDrumsConverterConfig(min_bars=0),
    EventDrumsConverterConfig(classes="one", steps_per_quarter=2, min_bars=1),
    EventPerformanceConverterConfig(merge_programs=True, min_events=0),
    EventPerformanceConverterConfig(
        merge_programs=True, velocity_bins=0, seconds=0, min_events=0, max_events=40
    ),
    PerformanceConverterConfig(crop=32, min_tokens=1, end_token=True),
    MelodyPerformanceConverterConfig(max_tokens=600, min_tokens=1, stretches=(1.0, 1.1)),
    ChoraleConverterConfig(crop=32, min_pitch=0, max_pitch=127),
    MuseNetConverterConfig(crop=32, min_tokens=1),
)
each = pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)


def check(converter, result):
    """Asserts that what was encoded is what the converter says it is."""
    form = converter.event_format
    # Whole melodies and pieces are as long as they are.
    whole = converter.config.kind == "musenet_tokens" or (
        form.kind == "categorical" and not getattr(converter.config, "bars", 0)
    )
    for events in result.examples:
        assert events.dtype == form.event_dtype
        assert events.shape[1:] == form.event_shape
        assert whole or len(events) == converter.window_steps
        assert len(events) <= converter.window_steps
        converter.decode(events)
    if form.control == "chords" and result.examples:
        lengths = [(len(events), np.uint8) for events in result.examples]
        assert [(len(chords), chords.dtype) for chords in result.controls] == lengths
    else:
        assert result.controls is None


@each
def test_recorded_pieces_give_examples_of_the_format(config):
    converter = build_converter(config)
    examples = 0
    for name in ("mel_plain", "mel_chords", "drum_human", "trio_two_each", "mel_tempo_change"):
        result = converter.encode(sequences()[name])
        check(converter, result)
        examples += len(result.examples)
        assert result.report.kept.get("windows", 0) == len(result.examples)
        assert result.examples or result.report.dropped
    assert examples


@each
def test_transpositions_share_a_key(config):
    converter = build_converter(config)
    examples = converter.encode(sequences()["trio_plain"]).examples
    assert examples
    for events in examples[:20]:
        key = converter.transposition_key(events)
        for semitones in (-3, 4):
            moved = converter.transpose(events, semitones)
            assert moved.dtype == events.dtype
            assert converter.transposition_key(moved) == key
        moves = converter.possible_shift(events, 1) or converter.possible_shift(events, -1)
        assert bool(moves) == (moved.tobytes() != events.tobytes())


# Times, numbers and texts as broken files have them.
times = st.one_of(
    st.floats(0, 8), st.floats(0, 8), st.floats(-1, 1e12), st.sampled_from([np.nan, np.inf, 1e300])
)
good_times = st.integers(0, 128).map(lambda n: n / 16)
numbers = st.one_of(st.integers(0, 127), st.sampled_from([-1, 128, 2**31 - 1, -(2**31)]))
qpms = st.sampled_from([120.0, 120.0, 90.0, 0.0, -5.0, 1e-9, 1e300, np.nan, np.inf])
chord = music_pb2.NoteSequence.TextAnnotation.CHORD_SYMBOL


@st.composite
def broken_pieces(draw):
    """Draws NoteSequences of which much is impossible, or nothing."""
    piece = music_pb2.NoteSequence()
    time = draw(st.sampled_from([times, good_times, good_times]))
    number = draw(st.sampled_from([numbers, st.integers(0, 127)]))
    for _ in range(draw(st.integers(0, 20))):
        start = draw(time)
        end = draw(st.one_of(time, st.just(start + 0.25)))
        piece.notes.add(
            pitch=draw(number),
            velocity=draw(number),
            start_time=start,
            end_time=end,
            program=draw(number),
            instrument=draw(st.sampled_from([0, 1, 2, 9, 200, -1])),
            is_drum=draw(st.booleans()),
        )
    for _ in range(draw(st.integers(0, 2))):
        piece.tempos.add(time=draw(time), qpm=draw(qpms))
    for _ in range(draw(st.integers(0, 2))):
        meter = draw(st.sampled_from([(4, 4), (2, 2), (3, 4), (0, 0), (4, 0), (-4, 4)]))
        piece.time_signatures.add(time=draw(time), numerator=meter[0], denominator=meter[1])
    for _ in range(draw(st.integers(0, 2))):
        text = draw(st.sampled_from(["C", "F#m7", "N.C.", "Csus4", "", "?"]))
        piece.text_annotations.add(time=draw(time), text=text, annotation_type=chord)
    for _ in range(draw(st.integers(0, 2))):
        piece.control_changes.add(
            time=draw(time), control_number=64, control_value=draw(st.sampled_from([0, 127]))
        )
    piece.total_time = draw(st.one_of(st.just(0.0), time))
    return piece


@each
@settings(deadline=None, max_examples=150)
@given(broken_pieces())
def test_broken_pieces_are_no_error(config, piece):
    converter = build_converter(config)
    result = converter.encode(piece)
    check(converter, result)
    assert result.examples or result.report.dropped


@each
def test_json_and_back(config):
    converter = build_converter(config)
    tree = json.loads(json.dumps(converter.to_json()))
    again = type(converter).from_json(tree)
    assert again.config == config
    assert again.event_format == converter.event_format


@each
def test_saved_config_and_back(config, tmp_path):
    whole = ExperimentConfig(converter=config, model=MusicVAEConfig(), objective=VAEObjective())
    save_config(whole, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml").converter == config
    changed = override(whole, ["converter.max_examples=7"]).converter
    assert changed == dataclasses.replace(config, max_examples=7)


def test_settings_of_every_kind_are_checked_when_given_by_hand():
    for config in CONFIGS:
        whole = ExperimentConfig(converter=config, model=MusicVAEConfig(), objective=VAEObjective())
        with pytest.raises(UserError, match=r"converter\.steps_per_quarter|steps_per_quarter=0"):
            override(whole, ["converter.steps_per_quarter=0"])


def test_every_kind_is_registered_and_tried_here():
    assert {config.kind for config in CONFIGS} == set(CONVERTERS)
    assert set(CONVERTERS) <= set(SECTION_CLASSES)


def test_converters_need_no_tensorflow():
    modules = ", ".join(converter.__module__ for converter in CONVERTERS.values())
    program = f"import sys, {modules}; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
