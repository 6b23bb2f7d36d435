"""The `config.json` of a model in magenta-js, for the models that `@magenta/music` can run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from magenta_lite.converters import drum_classes
from magenta_lite.converters.event_sequences.drums import CLASSES as EVENT_DRUM_CLASSES
from magenta_lite.converters.trio import MAX_PITCH, MIN_PITCH
from magenta_lite.errors import UserError

if TYPE_CHECKING:
    from magenta_lite.training.run import Run

FORMAT = "--format=magenta_js"
CHORD_ENCODERS = {"triads": "TriadChordEncoder", "pitches": "PitchChordEncoder"}
ATTENTION_LAYERS = 3  # those that MusicRNN's attention reads


class Obstacle(NamedTuple):
    """Why the library cannot run a model, and the nearest setting with which it can."""

    reason: str
    setting: str = ""


def spec_of(run: Run) -> dict[str, Any]:
    """Returns the tree of `config.json` for the model of a run.

    Raises:
        UserError: If the library cannot run the model; gives the reasons and the nearest settings.
    """
    known = {"music_vae": (_vae_obstacles, _vae_spec), "melody_rnn": (_rnn_obstacles, _rnn_spec)}
    if run.config.family not in known:
        raise UserError(
            f"{FORMAT}: @magenta/music runs MusicVAE and MusicRNN only, and {run.config.name} is "
            f"neither; export a {' or '.join(known)}, such as cat-mel_2bar or basic_rnn"
        )
    obstacles, spec = known[run.config.family]
    found = obstacles(run)
    if not found:
        return spec(run)
    reasons = ", ".join(obstacle.reason for obstacle in found)
    settings = " ".join(f"--set {obstacle.setting}" for obstacle in found if obstacle.setting)
    advice = f"train it with {settings}"
    if any(not obstacle.setting for obstacle in found):
        advice = "it has the events of basic_rnn, mono_rnn and drum_kit_rnn"
    raise UserError(f"{FORMAT}: @magenta/music cannot run {run.config.name}: {reasons}; {advice}")


# MusicVAE ------------------------------------------------------------------------------------


def _vae_obstacles(run: Run) -> list[Obstacle]:
    sizes, events, converter = run.model.sizes, run.model.events_format, run.converter.config
    found = []
    if sizes.expression_units:
        found.append(
            Obstacle(
                "the library has no network of velocities and offsets beside the decoder",
                "model.expression_units=0",
            )
        )
    if getattr(converter, "end_token", False):
        found.append(
            Obstacle("the library's melodies have no end token", "converter.end_token=false")
        )
    if ("tapify" in events.input_changes) != ("fixed_velocities" in events.input_changes):
        settings = "model.tapify=true --set model.fixed_velocities=true"
        found.append(Obstacle("in the library taps have no velocities, and all else has", settings))
    if events.kind == "multi_categorical" and not sizes.decoder_per_part:
        found.append(
            Obstacle("the library has a decoder for each part", "model.decoder_per_part=true")
        )
    levels = [run.model.length // sizes.segments, sizes.segments] if sizes.segments > 1 else []
    if list(sizes.encoder_levels) != levels:
        what = "two levels, segments and steps," if levels else "no levels"
        where = "with" if levels else "without"
        reason = f"the library's encoder has {what} {where} a conductor"
        found.append(Obstacle(reason, f"model.encoder_levels={_list(levels)}"))
    if len(sizes.encoder_units) != 1:
        units = _list([max(sizes.encoder_units)])
        found.append(
            Obstacle("the library's encoder has one layer", f"model.encoder_units={units}")
        )
    if len(set(sizes.decoder_units)) != 1:
        units = _list([max(sizes.decoder_units)] * len(sizes.decoder_units))
        reason = "all layers of the library's decoder have the same size"
        found.append(Obstacle(reason, f"model.decoder_units={units}"))
    return found


def _vae_spec(run: Run) -> dict[str, Any]:
    model, events = run.model, run.model.events_format
    name, arguments = _vae_converter(run)
    arguments = {"numSteps": model.length, **arguments}
    if model.sizes.segments > 1:
        arguments["numSegments"] = model.sizes.segments
    spec: dict[str, Any] = {
        "type": "MusicVAE",
        "dataConverter": {"type": name, "args": arguments},
    }
    if events.control == "chords":
        spec["chordEncoder"] = CHORD_ENCODERS["triads"]
    if events.control == "hits":
        spec["extraControls"] = [{"name": "hits", "depth": events.sizes[0]}]
    return spec


def _vae_converter(run: Run) -> tuple[str, dict[str, Any]]:
    """Returns type and arguments of the data converter."""
    events, config = run.model.events_format, run.converter.config
    if config.kind == "melody":
        return "MelodyConverter", _pitches(config.min_pitch, config.max_pitch)
    if config.kind == "drums":
        classes = {"reduced": drum_classes.REDUCED, "full": drum_classes.FULL}[config.classes]
        name = "DrumRollConverter" if events.kind == "roll" else "DrumsConverter"
        return name, {"pitchClasses": classes}
    if config.kind == "trio":
        part = _pitches(MIN_PITCH, MAX_PITCH)
        drums = {"pitchClasses": drum_classes.REDUCED}
        return "TrioConverter", {"melArgs": part, "bassArgs": part, "drumsArgs": drums}
    if config.kind == "groove":
        return "GrooveConverter", {
            "stepsPerQuarter": config.steps_per_quarter,
            "pitchClasses": drum_classes.REDUCED,  # what is played is read and written with it
            "humanize": "humanize" in events.input_changes,
            "tapify": "tapify" in events.input_changes,
        }
    return "MultitrackConverter", {
        "stepsPerQuarter": config.steps_per_quarter,
        "totalSteps": run.converter.steps_per_bar,
        "numVelocityBins": config.velocity_bins,
        "minPitch": 0,
        "maxPitch": 127,
    }


def _pitches(low: int, high: int) -> dict[str, Any]:
    # Of notes at once the highest is read, as here, instead of an error.
    return {"minPitch": low, "maxPitch": high, "ignorePolyphony": True}


def _list(values: list[int]) -> str:
    return f"[{','.join(map(str, values))}]"


# MusicRNN ------------------------------------------------------------------------------------


def _rnn_obstacles(run: Run) -> list[Obstacle]:
    sizes, kind = run.model.sizes, run.converter.config.kind
    if kind not in ("event_melody", "event_drums"):
        return [Obstacle("the library has no such events")]
    found = []
    if sizes.encoding != "one_hot":
        reason = "the library reads the last event, without repeats and keys"
        found.append(Obstacle(reason, "model.encoding=one_hot"))
    if not sizes.attention_length:
        return found
    layers = len(sizes.units)
    if sizes.attention_layout != "all_layers":
        reason = "the library's attention wraps all layers"
        found.append(Obstacle(reason, "model.attention_layout=all_layers"))
    if layers != ATTENTION_LAYERS or len(set(sizes.units)) != 1:
        units = _list([max(sizes.units)] * ATTENTION_LAYERS)
        reason = f"the library's attention needs {ATTENTION_LAYERS} layers of one size"
        found.append(Obstacle(reason, f"model.units={units}"))
    # A bias of zeros is harmless; it is left out where the model has to be trained again anyway.
    if sizes.attention_bias and (found or run.model.rnn[0].query_bias.numpy().any()):
        reason = "the library's attention ignores the bias of the query"
        found.append(Obstacle(reason, "model.attention_bias=false"))
    return found


def _rnn_spec(run: Run) -> dict[str, Any]:
    encoding, sizes, config = run.model.encoding, run.model.sizes, run.converter.config
    if config.kind == "event_melody":
        name, arguments = "MelodyConverter", _pitches(config.min_pitch, config.max_pitch)
    else:
        name = "DrumsOneHotConverter"
        arguments = {"pitchClasses": EVENT_DRUM_CLASSES[config.classes]}
    spec: dict[str, Any] = {"type": "MusicRNN", "dataConverter": {"type": name, "args": arguments}}
    if sizes.attention_length:
        spec["attentionLength"] = sizes.attention_length
    if encoding.chords:
        spec["chordEncoder"] = CHORD_ENCODERS[encoding.chords]
    if encoding.counter_bits:
        counter = {"type": "BinaryCounter", "args": {"numBits": encoding.counter_bits}}
        spec["auxInputs"] = [counter]
    return spec
