"""MusicVAE (Roberts et al. 2018, https://arxiv.org/abs/1803.05428) and its descendants.

GrooVAE: Gillick et al. 2019, https://arxiv.org/abs/1905.06118; multitrack: Simon et al. 2018,
https://arxiv.org/abs/1806.00195. Every configuration has a small variant NAME_tiny with the same
structure, which trains in about a minute on two cores.

python -m magenta_lite.train --config=cat-mel_2bar [--data=FOLDER]
"""

from __future__ import annotations

import dataclasses
import functools

from magenta_lite.config import DataConfig, ExperimentConfig, GenerateConfig, TrainConfig, register
from magenta_lite.converters.drums import DrumsConverterConfig
from magenta_lite.converters.groove import GrooveConverterConfig
from magenta_lite.converters.melody import MelodyConverterConfig
from magenta_lite.converters.multi_performance import MultiPerformanceConverterConfig
from magenta_lite.converters.trio import TrioConverterConfig
from magenta_lite.families.music_vae.config import MusicVAEConfig, VAEObjective

# Programs 0-31 are keyboards, mallets, organs and guitars: others rarely play the melody.
TWO_BARS = MelodyConverterConfig(bars=2, programs=(0, 31))
SIXTEEN_BARS = MelodyConverterConfig(bars=16)
CHORDS = MelodyConverterConfig(bars=2, chords=True)
DRUMS = DrumsConverterConfig(bars=2)
DRUM_ROLL = DrumsConverterConfig(bars=2, roll=True)
FULL_KIT = DrumsConverterConfig(bars=2, roll=True, classes="full")
TRIO = TrioConverterConfig(bars=16)
# As in the original's data, windows start at every bar.
GROOVE = GrooveConverterConfig(bars=2, hop_bars=1)
TRACKS = MultiPerformanceConverterConfig()
TRACKS_AND_CHORDS = MultiPerformanceConverterConfig(chords=True)

SMALL = MusicVAEConfig(latent_size=256, encoder_units=(512,), decoder_units=(256, 256))
BIG = MusicVAEConfig(latent_size=512, encoder_units=(2048,), decoder_units=(2048, 2048, 2048))
MEDIUM = MusicVAEConfig(latent_size=256, encoder_units=(1024,), decoder_units=(512, 512, 512))
NADE = MusicVAEConfig(latent_size=256, encoder_units=(1024,), decoder_units=(512, 512))
GROOVAE = dataclasses.replace(SMALL, dropout=0.7)
FLAT_16 = dataclasses.replace(BIG, encoder_units=(2048, 2048))
CONDUCTED_16 = MusicVAEConfig(
    latent_size=512, encoder_units=(2048, 2048), decoder_units=(1024, 1024), segments=16
)
HIERARCHICAL_16 = dataclasses.replace(CONDUCTED_16, encoder_units=(1024,), encoder_levels=(16, 16))
MULTI = MusicVAEConfig(
    latent_size=512,
    encoder_units=(1024,),
    decoder_units=(512, 512, 512),
    encoder_levels=(64, 8),
    segments=8,
)
MULTI_BIG = dataclasses.replace(MULTI, encoder_units=(2048,), decoder_units=(1024, 1024, 1024))


def _informative(model: MusicVAEConfig) -> MusicVAEConfig:
    """Returns `model` with initial posterior means large enough that decoders use them."""
    return dataclasses.replace(model, mean_stddev=0.1)


def _per_part(model: MusicVAEConfig) -> MusicVAEConfig:
    return dataclasses.replace(model, decoder_per_part=True)


# Half an hour on two cores.
SHORT = {
    "steps": 3000,
    "batch_size": 128,
    "schedule": "cosine",
    "learning_rate": 3e-3,
    "warmup_steps": 100,
}

# Scheduled sampling as in the original: half of the inputs are samples at step 6,900.
SAMPLED = VAEObjective(max_beta=0.2, sampling_schedule="inverse_sigmoid", sampling_rate=1000)
ANNEALED = dataclasses.replace(SAMPLED, beta_rate=0.99999)
PLAIN = VAEObjective(max_beta=1.0)
LONG = VAEObjective(max_beta=0.2, free_bits=256)
PATTERNS = dataclasses.replace(SAMPLED, free_bits=48)
GROOVES = VAEObjective(max_beta=0.2, free_bits=48)
# Velocities and offsets are normal with a standard deviation of 0.25 at weight 8.
WEIGHTED_GROOVES = dataclasses.replace(GROOVES, error_weight=8.0)
# In place of PLAIN, whose full KL weight from the first step leaves no latent dimension in use.
WARMED_UP = VAEObjective(max_beta=0.2, beta_rate=0.99999, free_bits=48)
LONG_WARMED_UP = dataclasses.replace(WARMED_UP, free_bits=256)


def tiny(config: ExperimentConfig, original: bool = False) -> ExperimentConfig:
    """Returns a small variant of `config`, for tests and first tries.

    Its KL weight grows as in `config`, but within its own number of steps; with `original`, at the
    original's rate.
    """
    model = dataclasses.replace(
        config.model,
        latent_size=32,
        encoder_units=(64,) * len(config.model.encoder_units),
        decoder_units=(64,) * len(config.model.decoder_units),
        nade_units=16,
        expression_units=min(64, config.model.expression_units),
        dropout=0.0,
    )
    # The same free bits per dimension as the full size: with more, the posterior would not be
    # regularised towards the prior, and samples would be noise.
    free_bits = config.objective.free_bits * model.latent_size / config.model.latent_size
    objective = dataclasses.replace(config.objective, free_bits=free_bits)
    # Long examples have smaller batches. Drum rolls and grooves learn more slowly, and need a
    # smaller initial gain, as they are not one-hot. Grooves need the full weight of the KL term:
    # with less, their latent vectors form clusters, and samples between the clusters are noise.
    groove, tracks = (config.converter.kind == kind for kind in ("groove", "multi_performance"))
    hits = groove or getattr(config.converter, "roll", False)
    bars = 16 if tracks else config.converter.bars
    # Trios without a conductor and tracks need twice the steps, and a learning rate with which
    # their latent vectors stay in use. Taps determine little of the output, which after a minute of
    # training is too random at the usual temperature.
    slow = tracks or (config.converter.kind == "trio" and config.model.segments == 1)
    steps, rate = (1200, 5e-3) if slow else (1000, 2e-2) if hits else (600, 1e-2)
    if original and slow:
        steps, rate = 800 if tracks else 1200, 1e-2
    generate = config.generate
    if groove and config.model.tapify:
        generate = dataclasses.replace(generate, temperature=0.3)
    if groove:
        objective = dataclasses.replace(objective, max_beta=1.0)
    if not original:
        beta_rate = objective.beta_rate ** (config.train.steps / steps)
        objective = dataclasses.replace(objective, beta_rate=beta_rate)
    train = TrainConfig(
        steps=steps,
        batch_size=max(128 // bars, 1),
        schedule="cosine",
        learning_rate=rate,
        warmup_steps=1,
        initial_gain=2.0 if hits else 4.0,
        checkpoint_every=200 if bars < 16 else 300,
        validation_examples=256,
    )
    return dataclasses.replace(
        config, model=model, objective=objective, train=train, generate=generate
    )


def music_vae(
    *names: str,
    converter,
    model,
    objective,
    our_model=None,
    ours=None,
    recipe=None,
    source="arranged",
    transpose=0,
    batch_size=512,
    programs=(),
) -> None:
    """Registers a configuration of the original, and its small variant, under `names`.

    `our_model` and `ours`, an objective, replace those of the original, and `recipe` are changes to
    the training section, unless --original is given.
    """

    settings = {"steps": 200_000, "batch_size": batch_size}

    def config(original: bool = False) -> ExperimentConfig:
        return ExperimentConfig(
            converter=converter,
            model=model if original or our_model is None else our_model,
            objective=objective if original or ours is None else ours,
            data=DataConfig(source=source, transpose=(-transpose, transpose)),
            train=TrainConfig(**(settings if original else settings | (recipe or {}))),
            generate=GenerateConfig(programs=programs),
        )

    register(*names, original=lambda: config(original=True))(config)
    small = (f"{name}_tiny" for name in names)
    register(*small, original=lambda: tiny(config(original=True), original=True))(
        lambda: tiny(config())
    )


FIDDLE = (40,)  # a violin: the melodies are dance tunes

# Melodies of 2 bars. The small model has 4.4 M parameters, the big one 134.6 M (for a GPU).
melodies = functools.partial(
    music_vae, converter=TWO_BARS, source="folk", transpose=5, programs=FIDDLE
)
melodies("cat-mel_2bar_small", "cat-mel_2bar", model=SMALL, objective=ANNEALED)
melodies("cat-mel_2bar_big", model=BIG, objective=dataclasses.replace(ANNEALED, max_beta=0.5))
chords = functools.partial(
    music_vae, converter=CHORDS, source="arranged:leads", transpose=3, programs=FIDDLE
)
chords(
    "cat-mel_2bar_med_chords",
    model=MEDIUM,
    our_model=_informative(MEDIUM),
    objective=PLAIN,
    ours=WARMED_UP,
)

# Melodies of 16 bars.
melodies = functools.partial(
    music_vae, converter=SIXTEEN_BARS, objective=LONG, source="folk", programs=FIDDLE
)
melodies("flat-mel_16bar", model=FLAT_16)
melodies("hierdec-mel_16bar", "cat-mel_16bar", model=CONDUCTED_16)
melodies("hier-mel_16bar", model=HIERARCHICAL_16)

# Melody, bass and drums of 16 bars.
trios = functools.partial(music_vae, converter=TRIO, batch_size=256)
trios(
    "flat-trio_16bar",
    model=FLAT_16,
    our_model=_informative(FLAT_16),
    objective=PLAIN,
    ours=LONG_WARMED_UP,
)
trios("hierdec-trio_16bar", "cat-trio_16bar", model=_per_part(CONDUCTED_16), objective=LONG)
trios("hier-trio_16bar", model=_per_part(HIERARCHICAL_16), objective=LONG)

# Up to eight tracks of one bar.
tracks = functools.partial(
    music_vae, converter=TRACKS, objective=PLAIN, ours=LONG_WARMED_UP, transpose=3, batch_size=256
)
med, big = ({"model": model, "our_model": _informative(model)} for model in (MULTI, MULTI_BIG))
tracks("hier-multiperf_vel_1bar_med", **med)
tracks("hier-multiperf_vel_1bar_big", **big)
tracks("hier-multiperf_vel_1bar_med_chords", converter=TRACKS_AND_CHORDS, **med)
tracks("hier-multiperf_vel_1bar_big_chords", converter=TRACKS_AND_CHORDS, **big)

# Drum patterns of 2 bars: one of 512 combinations per step, or a NADE over 9 or 61 drum classes.
patterns = functools.partial(music_vae, objective=PATTERNS)
patterns("cat-drums_2bar_small", "cat-drums_2bar", converter=DRUMS, model=SMALL)
patterns("cat-drums_2bar_big", converter=DRUMS, model=BIG)
patterns("nade-drums_2bar_reduced", converter=DRUM_ROLL, model=NADE)
patterns("nade-drums_2bar_full", "nade-drums_2bar", converter=FULL_KIT, model=NADE)


def groovae(*names: str, bars: int = 2, **changes) -> None:
    """Registers a GrooVAE of 2 or `bars` bars, with `changes` to the input of its networks."""
    converter = dataclasses.replace(GROOVE, bars=bars)
    model = dataclasses.replace(GROOVAE, **changes)
    ours = dataclasses.replace(model, dropout=0.3, expression_units=256)
    objectives = {"objective": GROOVES, "ours": WEIGHTED_GROOVES}
    music_vae(*names, converter=converter, model=model, our_model=ours, recipe=SHORT, **objectives)


# Drumming with velocities and timing.
groovae("groovae_4bar", bars=4)
groovae("groovae_2bar_humanize", humanize=True)
groovae("groovae_2bar_tap_fixed_velocity", tapify=True, fixed_velocities=True)
groovae(
    "groovae_2bar_tap_fixed_velocity_note_dropout",
    tapify=True,
    fixed_velocities=True,
    max_note_dropout=0.8,
)
groovae("groovae_2bar_add_closed_hh", added_classes=(2,))
groovae("groovae_2bar_hits_control_tfds", "groovae_2bar_hits_control", hits_as_controls=True)
