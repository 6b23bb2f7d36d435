"""Small models with random weights that magenta-js can run, and what they give here."""

from typing import Any

import note_seq
import numpy as np
import tensorflow as tf
from google.protobuf.json_format import MessageToDict

from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.converters.chords import NO_CHORD
from magenta_lite.families.building import build_model
from magenta_lite.graphs import without_xla
from magenta_lite.modeling.sampling import Sampler
from magenta_lite.training.run import Run

PLAIN_GROOVE = "model.expression_units=0"
FEW_TRACKS = (
    "converter.max_instruments=4",
    "converter.max_events=32",
    "model.encoder_levels=[32,4]",
    "model.segments=4",
)
MODELS = {
    "melody": ("cat-mel_2bar_tiny",),
    "chords": ("cat-mel_2bar_med_chords_tiny",),
    "long_melody": ("hier-mel_16bar_tiny",),
    "trio": (
        "hier-trio_16bar_tiny",
        "converter.bars=4",
        "model.encoder_levels=[16,4]",
        "model.segments=4",
    ),
    "flat_trio": (
        "flat-trio_16bar_tiny",
        "converter.bars=2",
        "model.decoder_per_part=true",
        "model.encoder_units=[64]",
    ),
    "drums": ("cat-drums_2bar_small_tiny",),
    "nade": ("nade-drums_2bar_reduced_tiny",),
    "full_nade": ("nade-drums_2bar_full_tiny",),
    "humanize": ("groovae_2bar_humanize_tiny", PLAIN_GROOVE),
    "tap": ("groovae_2bar_tap_fixed_velocity_tiny", PLAIN_GROOVE),
    "hits": ("groovae_2bar_hits_control_tiny", PLAIN_GROOVE),
    "tracks": ("hier-multiperf_vel_1bar_med_tiny", *FEW_TRACKS),
    "tracks_with_chords": ("hier-multiperf_vel_1bar_med_chords_tiny", *FEW_TRACKS),
    "basic_rnn": ("basic_rnn_tiny",),
    "mono_rnn": ("mono_rnn_tiny",),
    "basic_improv": ("basic_improv_tiny",),
    "chord_pitches_improv": ("chord_pitches_improv_tiny",),
    "one_drum": ("one_drum_tiny",),
    "drum_kit_rnn": (
        "drum_kit_rnn_tiny",
        "model.attention_layout=all_layers",
        "model.units=[64,64,64]",
        "model.attention_bias=false",
    ),
}
C_MAJOR = 1  # id of a chord
ROWS = 8
STEPS = 64  # of continuations


def random_run(name: str, gain: float = 2.5) -> Run:
    """Returns an untrained model of `MODELS`, or of a configuration of that name.

    Its weights are large enough for varied events.
    """
    config_name, *overrides = MODELS.get(name, (name,))
    config = get_config(config_name, tuple(overrides))
    converter = build_converter(config.converter)
    model = build_model(config, converter)
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:
        shape = weight.shape
        deviation = gain / np.sqrt(shape[0]) if len(shape) > 1 else 0.1
        weight.assign(rng.normal(0, deviation, shape).astype(np.float32))
    return Run(config, converter, model)


def case_of(name: str, run: Run) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns what the page gives to a model, and what the model gives here."""
    case_of_family = {"music_vae": _vae_case, "melody_rnn": _rnn_case}[run.config.family]
    with without_xla():  # which would take longer to compile than all else
        given, expected = case_of_family(run)
    of_model = {
        "name": name,
        "family": run.config.family,
        "stepsPerQuarter": run.converter.config.steps_per_quarter,
        # The library's processor backend rounds what it joins to the integers of such a chord.
        "backend": "webgl" if name == "basic_improv" else "cpu",
    }
    return of_model | given, expected


def _vae_case(run: Run):
    model, converter = run.model, run.converter.for_inference()
    music = _music_for(converter, model)
    events = np.stack(converter.encode(music).examples)
    assert len(events) == 1
    z = np.random.default_rng(1).normal(0, 1, (ROWS, model.sizes.latent_size)).astype(np.float32)
    given: dict[str, Any] = {"z": z.tolist(), "music": [MessageToDict(music)]}
    controls, read = {}, {}
    if model.events_format.control == "chords":
        given["chords"] = ["C"]
        chords = np.full(model.length, C_MAJOR)
        if model.sizes.segments > 1:  # the first event of a track, its program, has no chord
            chords[:: model.length // model.sizes.segments] = NO_CHORD
        controls = {"controls": tf.constant(chords, tf.int32)}
        read = {"controls": tf.constant(chords[None], tf.int32)}
    if model.events_format.control == "hits":
        hits = events[0, :, : model.events_format.sizes[0]]
        given["hits"] = hits.tolist()
        controls = {"controls": tf.constant(hits)}
    functions = model.signatures()
    greedy = {"temperature": tf.constant(0.0), "seed": tf.constant(0)}
    decoded = functions["decode"](z=tf.constant(z), **greedy, **controls)["events"].numpy()
    lengths = tf.constant([model.length])
    events = tf.constant(events.astype(model.head.event_dtype.as_numpy_dtype))
    mu = functions["encode"](events=events, length=lengths, **read)["mu"].numpy()
    expected = {"events": decoded, "mu": mu}
    if converter.config.kind == "groove":
        expected["fed"] = _fed(model, z, given.get("hits"))
    return given, expected


def _fed(model: Any, z: Any, hits: Any) -> Any:
    """Returns the grooves (B, T, 27) that the decoder reads, before velocities are corrected."""
    uniforms = tf.zeros([model.length, ROWS, model.decoder.uniforms])
    choose = model.decoder.choose_with(uniforms, Sampler(temperature=0.0))
    controls = None if hits is None else tf.repeat(tf.constant(hits)[:, None], ROWS, axis=1)
    decode = tf.function(lambda: model.decoder.decode(tf.constant(z), choose, controls)[0])
    return decode().numpy().transpose(1, 0, 2)


def _music_for(converter: Any, model: Any) -> Any:
    """Returns music of one window that the converter reads."""
    rng, steps, kind = np.random.default_rng(2), model.length, converter.config.kind
    melody = np.zeros(steps, int)
    melody[::2] = rng.integers(30, 60, steps // 2)
    melody[3::8] = 1  # note-offs
    drums = rng.integers(1, 512, steps)
    if kind == "melody":
        return converter.decode(melody)
    if kind == "trio":
        return converter.decode(np.stack([melody, melody[::-1], drums], axis=1))
    if kind == "drums" and model.events_format.kind == "categorical":
        return converter.decode(drums)
    if kind == "drums":
        hits = rng.uniform(size=(steps, model.events_format.sizes[0])) < 0.2
        hits[:, 0] |= ~hits.any(axis=1)  # the library marks a silent step one step early
        return converter.decode(hits)
    if kind == "groove":
        hits = rng.uniform(size=(steps, 9)) < 0.3
        velocities, offsets = (
            rng.integers(1, 128, (steps, 9)) / 127,
            rng.uniform(-0.4, 0, (steps, 9)),
        )
        return converter.decode(np.concatenate([hits, velocities, offsets], axis=1))
    return _bar_of_three_tracks()


def _bar_of_three_tracks() -> Any:
    """Returns a bar of piano, bass and drums at 120 quarters a minute."""
    music = note_seq.NoteSequence(ticks_per_quarter=220)
    music.tempos.add(qpm=120)
    for instrument, (program, is_drum, pitches) in enumerate(
        [(0, False, (60, 64, 67, 72)), (33, False, (36, 43)), (0, True, (36, 42, 38, 42))]
    ):
        length = 2 / len(pitches)
        for i, pitch in enumerate(pitches):
            music.notes.add(
                pitch=pitch,
                velocity=80,
                program=program,
                is_drum=is_drum,
                instrument=9 if is_drum else instrument,
                start_time=i * length,
                end_time=(i + 1) * length,
            )
    music.total_time = 2.0
    return music


def _rnn_case(run: Run):
    model, converter = run.model, run.converter
    if converter.config.kind == "event_melody":
        primer = np.array([14, 0, 18, 0, 21, 1, 16, 0])
    else:
        primer = np.array([1, 0, model.encoding.num_ids - 1, 0, 1, 1, 0, 1])
    given: dict[str, Any] = {"primer": MessageToDict(converter.decode(primer)), "steps": STEPS}
    batch, chords = {}, {}
    if model.encoding.chords:
        given["chords"] = ["C"]
        chords = {"chords": tf.fill([len(primer) + STEPS], C_MAJOR)}
        batch = {"controls": chords["chords"][None]}
    arguments = model.signature_arguments(1, 0.0, 0) | chords
    arguments |= {"primer": tf.constant(primer, tf.int32), "num_steps": tf.constant(STEPS)}
    events = model.signatures()["generate"](**arguments)["events"].numpy()
    length = tf.constant([events.shape[1]])
    logits = model({"events": events, "length": length, **batch})[0, len(primer) - 1 :]
    return given, {
        "events": events[0, len(primer) :],
        "probabilities": tf.nn.softmax(logits).numpy(),
        "music": converter.decode(events[0, len(primer) :]),
    }
