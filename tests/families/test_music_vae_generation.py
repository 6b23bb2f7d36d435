"""`generate` with small untrained models of every kind."""

import dataclasses
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from note_seq.protobuf import music_pb2

from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.converters.base import Report
from magenta_lite.errors import UserError
from magenta_lite.families.building import build_model
from magenta_lite.families.music_vae import generation
from magenta_lite.families.music_vae.generation import windows_side_by_side
from magenta_lite.families.music_vae.latents import encode_examples, save_attribute
from magenta_lite.families.music_vae.model import MusicVAE
from magenta_lite.families.music_vae.options import MusicVAEOptions

STEP = 0.125  # seconds of a 16th at 120 quarter notes a minute
BAR = 16 * STEP
MELODY, CHORDS = "cat-mel_2bar", "cat-mel_2bar_med_chords"
DRUMS, ROLL, TRIO = "cat-drums_2bar", "nade-drums_2bar_reduced", "hierdec-trio_16bar"
GROOVE, HITS = "groovae_2bar_humanize", "groovae_2bar_hits_control"
BAND, BAND_CHORDS = "hier-multiperf_vel_1bar_med", "hier-multiperf_vel_1bar_med_chords"


@functools.cache
def made(name):
    """Returns the untrained small twin of `name`, and its converter."""
    keras.utils.set_random_seed(3)
    config = get_config(f"{name}_tiny")
    converter = build_converter(config.converter)
    model = build_model(config, converter)
    model.mu.kernel.assign(1000 * model.mu.kernel)  # as if trained: pieces are far from each other
    return model, converter


@pytest.fixture(scope="module", autouse=True)
def compiled_once():
    """Keeps what is compiled for a model until all tests here are done."""
    yield
    made.cache_clear()


def asked(mode="sample", *inputs, **changes):
    """Returns a request for two pieces, seeded; inputs are NoteSequences."""
    named = [(f"tune{i}.mid", tune) for i, tune in enumerate(inputs)]
    request = MusicVAEOptions(mode, named, num_outputs=2, temperature=1.0, seed=5, qpm=120.0)
    return dataclasses.replace(request, **changes)


def generate(model, converter, options):
    return model.generate(options, converter)


def run(name, mode="sample", *inputs, **changes):
    """Returns what is generated; of reconstructions what came back."""
    pieces = generate(*made(name), asked(mode, *inputs, **changes))
    return [getattr(piece, "output", piece) for piece in pieces]


def tune(*notes, drums=False, program=0, to=None):
    """Returns notes (pitch, first step, end step) at 120 quarter notes a minute."""
    sequence = to or music_pb2.NoteSequence()
    if not sequence.tempos:
        sequence.tempos.add(qpm=120)
    for pitch, start, end in notes:
        sequence.notes.add(
            pitch=pitch,
            velocity=80,
            start_time=start * STEP,
            end_time=end * STEP,
            program=program,
            instrument=9 if drums else program,
            is_drum=drums,
        )
    sequence.total_time = max(note.end_time for note in sequence.notes)
    return sequence


def scale(bars, first=60, rest=()):
    """Returns a melody in quarters, without the bars `rest`."""
    steps = [4 * i for i in range(4 * bars) if i // 4 not in rest]
    return tune(*[(first + step // 4 % 13, step, step + 4) for step in steps])


def beat(bars, rest=()):
    """Returns drums, a little different in each bar."""
    hits = []
    for bar in (bar for bar in range(bars) if bar not in rest):
        hits += [(36, 16 * bar, 16 * bar + 1), (38, 16 * bar + 8, 16 * bar + 9)]
        hits += [(42, 16 * bar + step, 16 * bar + step + 1) for step in range(bar % 4, 16, 4)]
    return tune(*hits, drums=True)


def notes_of(sequence):
    return [(n.pitch, n.program, round(n.start_time, 4), n.velocity) for n in sequence.notes]


class Spy:
    """Stands in for the model's `decode`: records what it is asked and decodes to silence."""

    def __init__(self, model):
        self.model = model
        self.calls = []

    def __call__(self, z, seed, controls=None, **settings):
        controls = None if controls is None else controls.numpy()
        self.calls.append({"z": z.numpy(), "seed": seed, "controls": controls} | settings)
        head = self.model.head
        return tf.zeros([len(z), self.model.length, *head.event_shape], head.event_dtype)

    def told(self):
        """Returns what each row was told, by its latent vector."""
        return {z.tobytes(): c["controls"] for c in self.calls for z in c["z"]}


@pytest.fixture
def spy_on(monkeypatch):
    """Function of a config's name: puts a `Spy` in the place of its decoder."""

    def spy_on(name):
        spy = Spy(made(name)[0])
        monkeypatch.setattr(MusicVAE, "decode", spy)
        return spy

    return spy_on


# Samples -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        (MELODY, {"programs": (24,)}),
        (CHORDS, {"chords": "C G | Am F"}),
        (DRUMS, {}),
        (ROLL, {}),
        (TRIO, {"programs": (5, 38)}),
        (GROOVE, {}),
        (HITS, {}),
        (BAND, {}),
        (BAND_CHORDS, {"chords": "F#m"}),
    ],
)
def test_every_kind_of_model_samples_music_that_encodes_again(name, settings):
    inputs = [beat(2)] if name == HITS else []
    pieces = run(name, "sample", *inputs, qpm=90.0, **settings)
    assert len(pieces) == 2
    assert notes_of(pieces[0]) != notes_of(pieces[1])
    converter = generation.with_silence(made(name)[1])
    for piece in pieces:
        assert [tempo.qpm for tempo in piece.tempos] == [90.0]
        assert piece.notes
        assert converter.encode(piece).examples
        programs = {note.program for note in piece.notes if not note.is_drum}
        assert programs <= set(settings.get("programs", programs))
    again = run(name, "sample", *inputs, qpm=90.0, **settings)
    assert list(map(notes_of, again)) == list(map(notes_of, pieces))
    other = run(name, "sample", *inputs, qpm=90.0, seed=6, **settings)
    assert list(map(notes_of, other)) != list(map(notes_of, pieces))


# Reconstruction ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "music", "count"),
    [(MELODY, scale(5), 4), (CHORDS, scale(4), 3), (DRUMS, beat(4), 3), (HITS, beat(4), 3)],
)
def test_every_window_is_reconstructed_as_if_it_were_alone(name, music, count, capsys):
    reconstruct = functools.partial(run, name, "reconstruct", music, temperature=0.0)
    together = reconstruct(window="all")
    said = capsys.readouterr().out
    assert f"{count} pieces: " in said
    assert len(together) == count
    assert len(set(map(str, map(notes_of, together)))) > 1
    for i in (0, count - 1):  # with the window's own chords, or its own hits, too
        (alone,) = reconstruct(window=str(i + 1))
        assert f"window {i + 1} of {count}" in capsys.readouterr().out
        assert notes_of(alone) == notes_of(together[i])


def test_each_window_is_told_its_own_chords_unless_the_user_gives_some(spy_on):
    spy = spy_on(CHORDS)
    music = scale(4)
    for time, text in ((0, "C"), (2 * BAR, "Am"), (3 * BAR, "G")):
        music.text_annotations.add(time=time, text=text, annotation_type=1)
    run(CHORDS, "reconstruct", music, window="all")
    told = [row[::16].tolist() for row in spy.told().values()]
    assert sorted(told) == [[1, 1], [1, 22], [22, 8]]
    spy.calls.clear()
    run(CHORDS, "reconstruct", music, window="all", chords="F")
    assert len(spy.calls) == 1
    assert set(spy.calls[0]["controls"].tolist()) == {6}


@pytest.mark.parametrize("name", [MELODY, DRUMS, TRIO, GROOVE, HITS, BAND])
def test_silence_that_comes_back_is_no_merit(name, spy_on, capsys):
    """And the input is there beside what came back, as the model reads it."""
    spy_on(name)  # decodes to silence
    music = scale(16) if name in (MELODY, TRIO, BAND) else beat(2)
    if name in (TRIO, BAND):
        bass = [(36 + step // 64, step, step + 16) for step in range(0, 256, 16)]
        music = tune(*bass, program=33, to=music)
    if name == TRIO:
        hits = [(36, step, step + 1) for step in range(0, 256, 4)]
        music = tune(*hits, drums=True, to=music)
    (piece,) = generate(*made(name), asked("reconstruct", music))
    window = generation.bars_of(made(name)[1]) * BAR
    expected = sorted((n.pitch, n.start_time) for n in music.notes if n.start_time < window)
    assert sorted((n.pitch, round(n.start_time, 3)) for n in piece.input.notes) == expected
    heard = len(piece.output.notes)
    said = capsys.readouterr().out
    assert f"The piece: 0 of {len(expected)} notes come back; new ones: {heard}\n" in said
    assert heard == 0 or name == BAND  # whose zero is a note


@pytest.mark.parametrize("name", [GROOVE, HITS])
@pytest.mark.parametrize("bars", ["", "4"])
def test_hits_are_kept_where_that_is_asked(name, bars):
    music = beat(4)
    reconstruct = functools.partial(run, name, "reconstruct", music, bars=bars, keep_hits=True)
    pieces = reconstruct(window="1" if bars else "all")
    length = 2 * BAR * (2 if bars else 1)
    for number, piece in enumerate(pieces):
        start = number * BAR  # windows begin at each bar
        inside = [n for n in music.notes if start <= n.start_time < start + length]
        expected = sorted((n.pitch, round((n.start_time - start) / STEP)) for n in inside)
        assert sorted((n.pitch, round(n.start_time / STEP)) for n in piece.notes) == expected
        assert len({n.velocity for n in piece.notes}) > 1
    (again,) = reconstruct(window="1", seed=99)
    assert notes_of(again) == notes_of(pieces[0])


@pytest.mark.parametrize(("name", "mode"), [(MELODY, "reconstruct"), (GROOVE, "sample")])
def test_only_hits_of_an_input_can_be_kept(name, mode):
    with pytest.raises(UserError, match="--keep_hits is for --mode=reconstruct of grooves"):
        run(name, mode, keep_hits=True)


def test_notes_that_come_back_are_counted_once_and_by_who_plays_them(capsys):
    there, back = scale(1), scale(1)
    tune((60, 0, 4), to=back)  # once more
    tune((61, 40, 44), to=there)
    tune((61, 40, 44), drums=True, to=back)
    generation._print_reconstruction([there, scale(1)], [back, scale(1)], 120.0, False)
    assert "2 pieces: 8 of 9 notes come back; new ones: 2\n" in capsys.readouterr().out


def test_taps_that_come_back_are_counted_by_when_they_are(capsys):
    there = tune((36, 0, 1), (42, 0, 1), (38, 8, 9), drums=True)
    back = tune((51, 0, 1), (51, 4, 5), drums=True)
    generation._print_reconstruction([there], [back], 120.0, True)
    assert capsys.readouterr().out == "The piece: 1 of 2 taps come back; new ones: 1\n"


def test_the_melody_of_a_song_is_its_first_window(capsys):
    """And not the bass, though that is the first track."""
    song = tune(*[(30 + step % 5, step, step + 4) for step in range(0, 64, 4)], program=33)
    song = tune(*[(70 + step % 7, step, step + 4) for step in range(0, 64, 4)], program=73, to=song)
    for settings in ({}, {"bars": 4}):
        (piece,) = generate(*made(MELODY), asked("reconstruct", song, **settings))
        assert min(note.pitch for note in piece.input.notes) >= 70
        said = capsys.readouterr().out
        assert "tune0.mid: the melody is that of track 74 (Flute)" in said


# Long pieces ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [MELODY, DRUMS, GROOVE])
def test_eight_bars_of_a_two_bar_model_are_four_windows_side_by_side(name, capsys):
    music = (scale if name == MELODY else beat)(8, rest=(2, 3))
    (piece,) = run(name, "reconstruct", music, bars=8)
    said = capsys.readouterr().out
    assert "The piece: " in said
    assert "1 of 4 windows are silent" in said
    assert piece.total_time == 8 * BAR
    starts = np.array([note.start_time for note in piece.notes])
    assert set((starts // (2 * BAR)).astype(int)) == {0, 1, 2, 3}
    ends = [note.end_time for note in piece.notes]
    assert max(ends) <= 8 * BAR
    (slow,) = run(name, "reconstruct", music, bars=8, qpm=60.0)
    assert slow.total_time == 16 * BAR
    assert [tempo.qpm for tempo in slow.tempos] == [60.0]
    (short,) = run(name, "reconstruct", music, bars=3)
    assert short.total_time == 3 * BAR
    assert notes_of(short) == [note for note in notes_of(piece) if note[2] < 3 * BAR]


def test_a_violin_alone_is_a_melody_of_a_model_for_keyboards_and_no_part_of_a_song():
    converter = made(MELODY)[1]
    assert converter.config.programs == (0, 31)
    violin = tune(*((pitch, 2 * i, 2 * i + 2) for i, pitch in enumerate((60, 62, 64, 65) * 4)))
    for note in violin.notes:
        note.program = 40
    for changes in ({}, {"bars": 2}):
        (piece,) = run(MELODY, "reconstruct", violin, **changes)
        assert piece.time_signatures
    song = tune((48, 0, 16), to=music_pb2.NoteSequence.FromString(violin.SerializeToString()))
    assert generation.reading_any_program(converter, song) is converter


def test_early_hits_of_a_groove_stay_early_across_windows():
    model, converter = made(GROOVE)
    events = np.zeros((2, 32, 27), np.float32)
    events[1, 0, [0, 9, 18]] = 1.0, 0.5, 0.5  # a kick, a quarter of a step early
    shifted = generation._Generation(model, converter, asked(bars=4))._piece(events)
    assert notes_of(shifted) == [(36, 0, round(2 * BAR - STEP / 4, 4), 64)]
    late = np.zeros((1, 32, 27), np.float32)
    late[0, 31, [0, 9, 18]] = 1.0, 0.5, -1.0
    (note,) = generation._Generation(model, converter, asked(bars=2))._piece(late).notes
    assert (note.start_time, note.end_time) == (31.5 * STEP, 2 * BAR)


@pytest.mark.parametrize(
    ("name", "settings"),
    [(MELODY, {}), (CHORDS, {"chords": "C Am F G"}), (BAND, {}), (TRIO, {})],
)
def test_a_long_sample_goes_from_one_draw_to_another(name, settings, spy_on):
    spy = spy_on(name)
    bars = 4 * generation.bars_of(made(name)[1])
    pieces = run(name, "sample", bars=bars, **settings)
    assert [piece.total_time for piece in pieces] == [bars * BAR] * 2
    assert sum(len(call["z"]) for call in spy.calls) == 8
    if settings:
        assert [call["controls"][0] for call in spy.calls] == sorted([1, 22, 6, 8])
        # The same random numbers in every window would make them all alike.
        assert len({int(call["seed"]) for call in spy.calls}) == 4


def test_samples_short_and_long_come_from_where_the_training_data_lie(spy_on):
    spy, prior = spy_on(MELODY), made(MELODY)[0].aggregated_posterior
    mean = np.linspace(-3, 3, 32, dtype=np.float32)
    prior.mean.assign(mean)
    try:
        for settings in ({}, {"bars": 8}):
            run(MELODY, "sample", **settings)
            run(MELODY, "sample", prior="standard", **settings)
    finally:
        prior.mean.assign(np.zeros(32))
    short, plain_short, long, plain_long = (call["z"] for call in spy.calls)
    np.testing.assert_allclose(short, mean + plain_short, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(long, mean + plain_long, rtol=1e-6, atol=1e-6)
    # All points of a path are as probable as its ends.
    lengths = np.linalg.norm(plain_long.reshape(2, 4, 32), axis=-1)
    assert (lengths.min(axis=1) > 0.9 * lengths[:, [0, -1]].min(axis=1)).all()


def test_only_samples_have_a_prior():
    with pytest.raises(UserError, match="--prior=standard"):
        run(MELODY, "reconstruct", scale(2), prior="standard")


def test_chords_are_spread_over_time_in_every_track(spy_on):
    spy = spy_on(BAND_CHORDS)
    run(BAND_CHORDS, "sample", bars=2, chords="C G Am Am", num_outputs=1)
    told = {frozenset(call["controls"].tolist()) for call in spy.calls}
    assert told == {frozenset({0, 1, 8}), frozenset({0, 22})}
    for call in spy.calls:
        tracks = call["controls"].reshape(8, 64)
        assert not tracks[:, 0].any()  # the event that names the track
        assert (tracks == tracks[0]).all()
        if 8 in tracks:
            assert tracks[0].tolist() == [0, *[1] * 31, *[8] * 32]


def test_samples_with_given_hits_take_the_patterns_in_turn(spy_on):
    spy = spy_on(HITS)
    patterns = beat(3)
    expected = [window[:, :9] for window in made(HITS)[1].encode(patterns).examples]
    run(HITS, "sample", patterns, window="all", num_outputs=3)
    told = [call["controls"].tolist() for call in spy.calls]
    assert sorted(told) == sorted(hits.tolist() for hits in expected)
    assert sorted(len(call["z"]) for call in spy.calls) == [1, 2]


# Interpolation and attributes ------------------------------------------------------------------


@pytest.mark.parametrize(("name", "bars"), [(MELODY, None), (MELODY, 4), (HITS, None)])
def test_interpolation_goes_from_one_reconstruction_to_the_other(name, bars):
    a, b = (scale(4), scale(4, first=50)) if name == MELODY else (beat(4), beat(4, rest=(0,)))
    make = functools.partial(run, name, bars=bars, temperature=0.0)
    pieces = make("interpolate", a, b, num_outputs=3)
    assert len(pieces) == 3
    assert all(piece.total_time == 4 * BAR for piece in pieces) or bars is None
    (start,), (end,) = make("reconstruct", a), make("reconstruct", b)
    assert notes_of(pieces[0]) == notes_of(start)
    if name == MELODY:  # with given hits the end is told those of the start
        assert notes_of(pieces[-1]) == notes_of(end)


def test_latents_between_two_pieces_lie_on_the_arc(spy_on):
    spy = spy_on(MELODY)
    model, converter = made(MELODY)
    a, b = scale(4), scale(4, first=50)
    run(MELODY, "interpolate", a, b, bars=4, num_outputs=3)
    z = spy.calls[0]["z"].reshape(3, 2, -1)
    for i, tune_ in ((0, a), (2, b)):
        windows = [window for window, _ in windows_side_by_side(converter, tune_, 2, Report())]
        np.testing.assert_allclose(z[i], encode_examples(model, windows), atol=1e-6)
    for start, middle, end in zip(*z, strict=True):
        cosine = start @ end / np.linalg.norm(start) / np.linalg.norm(end)
        assert cosine < 0.99
        expected = (start + end) / (2 * np.cos(np.arccos(cosine) / 2))
        np.testing.assert_allclose(middle, expected, atol=1e-5)


def test_an_attribute_moves_the_latents_by_as_much_of_it_as_asked(spy_on, tmp_path):
    spy = spy_on(MELODY)
    vector = np.random.default_rng(0).normal(size=32)
    save_attribute(tmp_path / "busy.npz", vector)
    run(MELODY, "reconstruct", scale(2))
    for amount in (0.0, 1.0, -0.5):
        path = str(tmp_path / "busy.npz")
        run(MELODY, "attribute", scale(2), attribute=path, amount=amount)
    plain, *moved = (call["z"] for call in spy.calls)
    for amount, z in zip((0.0, 1.0, -0.5), moved, strict=True):
        np.testing.assert_allclose(z, plain + amount * vector, atol=1e-5)


def test_examples_of_different_lengths_are_encoded_as_each_alone():
    model, converter = made(MELODY)
    (long,) = converter.encode(scale(2)).examples
    together = encode_examples(model, [long, long[:20]])
    np.testing.assert_allclose(together[:1], encode_examples(model, [long]), atol=1e-6)
    posterior = model.encode(tf.constant(long[None], tf.int32), tf.constant([20]))
    np.testing.assert_allclose(together[1:], posterior.mean(), atol=1e-6)


# What is refused -------------------------------------------------------------------------------

BASS = tune((36, 0, 256), program=33)
DUO = tune(*[(60, 4 * i, 4 * i + 4) for i in range(64)], to=tune((36, 0, 256), program=33))
REFUSED = {
    "no chords": (CHORDS, "sample", [], {}, r"follows chords: .*--chords="),
    "unknown chord": (CHORDS, "sample", [], {"chords": "C Hx"}, "chord 2, 'Hx', cannot be"),
    "too many chords": (CHORDS, "sample", [], {"chords": "C " * 33}, "33 chords for 32 steps"),
    "chords for none": (MELODY, "sample", [], {"chords": "C"}, r"--chords=C: .*not follow"),
    "no hits": (HITS, "sample", [], {}, r"given hits: .*--input=FILE"),
    "inputs to sample": (MELODY, "sample", [scale(2)], {}, "--mode=reconstruct"),
    "nothing to reconstruct": (MELODY, "reconstruct", [], {}, "at least one --input=FILE"),
    "one end": (MELODY, "interpolate", [scale(2)], {}, "two --input files.* got 1"),
    "one step": (MELODY, "interpolate", [scale(2)] * 2, {"num_outputs": 1}, "must be 2 or more"),
    "many ends": (MELODY, "interpolate", [scale(4)] * 2, {"window": "all"}, "--window=NUMBER"),
    "trio without drums": (TRIO, "reconstruct", [DUO], {}, r"tune0\.mid has no drums.*--bars=16"),
    "bass alone": (TRIO, "reconstruct", [BASS], {}, "has no melody and no drums"),
    "programs of a trio": (TRIO, "sample", [], {"programs": (1,)}, r"\[1\] must be 2.*\[0, 33\]"),
    "programs of drums": (DRUMS, "sample", [], {"programs": (1,)}, "must be 0"),
    "impossible program": (MELODY, "sample", [], {"programs": (128,)}, "0 to 127"),
    "no attribute": (MELODY, "attribute", [scale(2)], {}, "--attribute=FILE.npz"),
    "drums for a melody": (MELODY, "reconstruct", [beat(2)], {}, r"tune0\.mid .*drum note \(12\)"),
    "melody for drums": (DRUMS, "reconstruct", [scale(2)], {}, r"not for drums \(8\)"),
    "drums, side by side": (MELODY, "reconstruct", [beat(2)], {"bars": 4}, r"first 4 bars: .*drum"),
    "window too high": (MELODY, "reconstruct", [scale(4)], {"window": "4"}, "windows 1 to 3"),
    "window 0": (MELODY, "reconstruct", [scale(4)], {"window": "0"}, "windows 1 to 3"),
    "window that is no number": (MELODY, "reconstruct", [scale(4)], {"window": "²"}, "1 to 3"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_is_told_in_one_line(case):
    name, mode, inputs, changes, words = REFUSED[case]
    with pytest.raises(UserError, match=words) as caught:
        run(name, mode, *inputs, **changes)
    assert "\n" not in str(caught.value)


def test_a_trio_without_drums_is_taken_with_silence_for_them_if_asked(spy_on):
    spy_on(TRIO)
    assert len(run(TRIO, "reconstruct", DUO, bars=16)) == 1


@pytest.mark.parametrize("content", ["wrong size", "no attribute", "text", "nothing", "array"])
def test_a_file_that_is_no_attribute_of_this_model_is_told_in_one_line(content, tmp_path):
    path = tmp_path / "busy.npz"
    words = "not an attribute vector"
    if content == "wrong size":
        save_attribute(path, np.zeros(7))
        words = r"shape \[7\]; this model needs \[32\]"
    elif content == "no attribute":
        np.savez(path, other=np.zeros(32))
    elif content == "array":
        path = tmp_path / "busy.npy"
        np.save(path, np.zeros(32))
    else:
        path.write_bytes(b"PK\3\4 text" if content == "text" else b"")
    with pytest.raises(UserError, match=words) as caught:
        run(MELODY, "attribute", scale(2), attribute=str(path))
    assert "\n" not in str(caught.value)
