"""Sound as rows of two crops: what is kept, what is left out, and whole pieces back."""

from __future__ import annotations

import json

import numpy as np
import pytest

from magenta_lite.config import load_config, override, save_config
from magenta_lite.converters import build_converter
from magenta_lite.converters.audio import (
    Audio,
    AudioConverter,
    AudioConverterConfig,
    pieces,
    to_int16,
)
from magenta_lite.data import pipeline
from magenta_lite.data.collections import Examples
from magenta_lite.errors import UserError

RATE, CROP = 1000, 100
CONVERTER = AudioConverter(AudioConverterConfig(sample_rate=RATE, crop=CROP))


def _ramp(count: int, channels: int = 1) -> Audio:
    """Samples that all differ, so that a place can be told from a value."""
    values = (np.arange(count * channels) + 1000).reshape(count, channels)
    return Audio(np.float32(values / 32768), RATE)


def _examples(**named) -> Examples:
    """What a collection of the pieces `named` would hold, in some other order."""
    rows = [
        (name, row, position)
        for name, audio in named.items()
        for result in [CONVERTER.encode(audio)]
        for row, position in zip(result.examples, result.positions, strict=True)
    ]
    np.random.default_rng(3).shuffle(rows)
    events = np.zeros((len(rows), 2 * CROP, 1), np.int16)
    for i, (_, row, _) in enumerate(rows):
        events[i, : len(row)] = row
    lengths = np.array([len(row) for _, row, _ in rows], np.int32)
    names = [name for name, _, _ in rows]
    return Examples(events, lengths, names, positions=np.array([p for _, _, p in rows]))


@pytest.mark.parametrize("count", [100, 101, 199, 200, 201, 350, 399, 1000])
def test_rows_are_one_to_two_crops_and_cover_the_piece(count):
    result = CONVERTER.encode(_ramp(count))
    whole = to_int16(_ramp(count).samples)[0]
    assert len(result.examples) == count // CROP
    for k, (row, position) in enumerate(zip(result.examples, result.positions, strict=True)):
        assert row.dtype == np.int16
        assert CROP <= len(row) <= 2 * CROP
        assert position == (k * CROP, count)
        np.testing.assert_array_equal(row, whole[k * CROP : (k + 2) * CROP])
    assert result.positions[-1][0] + len(result.examples[-1]) == count
    assert result.report.kept["windows"] == count // CROP


def test_training_reaches_every_place_of_a_piece_and_never_its_outside():
    examples = _examples(a=_ramp(350))
    batches = pipeline.batches_for(CONVERTER, examples, batch_size=400, seed=0)
    batch = next(iter(batches.dataset()))
    assert batch["events"].shape == (400, CROP, 1)
    assert set(batch["length"].numpy()) == {CROP}
    firsts = batch["events"].numpy()[:, 0, 0] - 1000
    assert (np.diff(batch["events"].numpy()[:, :, 0], axis=1) == 1).all()
    assert firsts.min() >= 0
    assert firsts.max() <= 350 - CROP
    assert len(set(firsts)) > 150  # of 251


def test_whole_pieces_come_back_in_order():
    sounds = {"b": _ramp(430), "a": _ramp(999), "c": _ramp(100)}
    back = dict(pieces(_examples(**sounds)))
    assert list(back) == ["a", "b", "c"]
    for name, audio in sounds.items():
        np.testing.assert_array_equal(back[name], to_int16(audio.samples)[0])
        np.testing.assert_allclose(CONVERTER.decode(back[name]).samples, audio.samples, atol=1e-7)


def test_silent_clips_are_left_out_and_come_back_as_silence():
    audio = _ramp(1000)
    audio.samples[300:700] = 0.0009  # below -60 dB of full scale
    audio.samples[850:] = 0
    result = CONVERTER.encode(audio)
    # Row k holds crops k and k + 1; crops 3 to 6 and 9 are silent.
    assert [start // CROP for start, _ in result.positions] == [0, 1, 2, 6, 7, 8]
    assert sum(n for reason, n in result.report.dropped.items() if "silent clip" in reason) == 4
    ((_, back),) = pieces(_examples(a=audio))
    expected = to_int16(audio.samples)[0]
    expected[400:600] = 0  # rows 2 and 6 have kept crops 3 and 6
    np.testing.assert_array_equal(back, expected)


@pytest.mark.parametrize(
    "samples, reason",
    [
        (np.full((99, 1), 0.5), "sound shorter than 0.1 s"),
        (np.zeros((500, 1)), "silent sound (no sample above -60 dB of full scale)"),
        (np.full((500, 1), np.nan), "sound with samples that are not numbers"),
    ],
)
def test_what_is_left_out_whole_has_one_reason(samples, reason):
    result = CONVERTER.encode(Audio(np.float32(samples), RATE))
    assert result.examples == []
    assert result.report.dropped == {reason: 1}


def test_what_is_beyond_full_scale_is_clipped_and_counted():
    audio = _ramp(200)
    audio.samples[:3, 0] = (1.5, -1.5, 1.0)
    result = CONVERTER.encode(audio)
    assert result.examples[0][:3, 0].tolist() == [32767, -32768, 32767]
    assert result.report.kept["samples clipped to full scale"] == 2


def test_minimum_length_and_stereo():
    converter = build_converter(
        AudioConverterConfig(sample_rate=RATE, channels=2, crop=CROP, min_seconds=0.5)
    )
    assert converter.event_format.event_shape == (2,)
    assert converter.encode(_ramp(499, 2)).report.dropped == {"sound shorter than 0.5 s": 1}
    (first, *_) = converter.encode(_ramp(500, 2)).examples
    assert first.shape == (2 * CROP, 2)


def test_sound_of_another_rate_is_refused_with_both_numbers():
    with pytest.raises(UserError, match=r"1000 Hz and 2 channels.*1000 Hz and 1 channels"):
        CONVERTER.encode(_ramp(500, 2))


@pytest.mark.parametrize(
    "values, message",
    [
        ({"channels": 3}, r"converter\.channels=3 must be 1"),
        ({"sample_rate": 10}, r"converter\.sample_rate=10 must be at least 1000"),
        ({"crop": 0}, r"converter\.crop=0"),
        ({"silence": 3.0}, r"converter\.silence=3\.0 dB must be at most 0"),
    ],
)
def test_settings_are_checked(values, message):
    with pytest.raises(UserError, match=message):
        AudioConverterConfig(**values)


def test_settings_survive_json_and_yaml(tmp_path):
    from magenta_lite.config import ExperimentConfig
    from magenta_lite.families.music_vae.config import MusicVAEConfig, VAEObjective

    config = AudioConverterConfig(sample_rate=8000, channels=2, crop=4096, silence=-50.0)
    tree = json.loads(json.dumps(AudioConverter(config).to_json()))
    assert AudioConverter.from_json(tree).config == config
    whole = ExperimentConfig(converter=config, model=MusicVAEConfig(), objective=VAEObjective())
    save_config(whole, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml").converter == config
    assert override(whole, ["converter.crop=256"]).converter.crop == 256


def test_pieces_of_rows_without_a_place_are_refused():
    examples = Examples(np.zeros((1, 200, 1), np.int16), np.array([200], np.int32), ["a"])
    with pytest.raises(UserError, match="does not say where in a piece"):
        next(pieces(examples))
