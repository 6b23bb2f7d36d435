"""What `generate` does with a MelodyRNN: go on from a primer, or from middle C."""

from __future__ import annotations

import ast
import dataclasses
import math

import tensorflow as tf

from magenta_lite.encoders.base import Report
from magenta_lite.encoders.event_sequences.melody import without_silent_end
from magenta_lite.encoders.grid import stretches_with_notes
from magenta_lite.encoders.melody_extraction import NO_EVENT, NOTE_OFF, as_fresh_melody
from magenta_lite.errors import UserError
from magenta_lite.models.melody_rnn import decoding
from magenta_lite.models.melody_rnn.inference import inference_functions, output_seeds

MODES = ("sample", "continue")
# What a `GenerateRequest` may say beside what all families understand.
OPTIONS = (
    "primer_melody",
    "num_steps",
    "new_steps",
    "only_new",
    "magenta_timing",
    "top_k",
    "top_p",
    "beam_size",
    "branch_factor",
    "steps_per_iteration",
    "best_beam",
)
USUAL_STEPS = 128  # with the primer
HIGHEST_EVENT = 127


@dataclasses.dataclass(frozen=True)
class Primer:
    """What is continued.

    Attributes:
        events: `NO_EVENT`, `NOTE_OFF` or a MIDI pitch for each step.
        qpm: Tempo of the piece it comes from; None for none of its own.
    """

    events: list[int]
    qpm: float | None = None


def generate(model, encoder, request) -> list:
    """Returns the NoteSequences that `request`, a `GenerateRequest`, asks for.

    Raises:
        UserError: If the primer is no melody, or does not fit into the steps asked for.
    """
    primer = read_primer(encoder, request)
    events = primer.events
    if request.magenta_timing:
        events = [*without_silent_end(events), NOTE_OFF, NO_EVENT]
    new_steps = steps_to_add(request, len(events))
    squashed = encoder.squash(events)
    ids = tf.constant(encoder.to_ids(squashed.events), tf.int32)
    continued = _continued(model, ids, new_steps, request).numpy()
    sequences = []
    for row in continued:
        melody = encoder.to_events(row)
        melody = squashed.undo(melody, restore_folded=not request.magenta_timing)
        if request.only_new:
            melody = as_fresh_melody(melody[len(events) :])
        qpm = request.qpm if primer.qpm is None or request.qpm_given else primer.qpm
        sequences.append(encoder.decode_events(melody, qpm, request.programs or None))
    return sequences


def steps_to_add(request, primer_steps: int) -> int:
    """Returns how many events to add to a primer. Raises: UserError if none."""
    if request.new_steps is not None:
        if request.num_steps is not None:
            raise UserError(
                f"--num_steps={request.num_steps} counts the primer and --new_steps="
                f"{request.new_steps} does not: give one of them"
            )
        return request.new_steps
    total = USUAL_STEPS if request.num_steps is None else request.num_steps
    if total <= primer_steps:
        raise UserError(
            f"--num_steps={total} counts the primer, which has {primer_steps} steps; give "
            f"--num_steps={primer_steps + USUAL_STEPS} or --new_steps={USUAL_STEPS}"
        )
    return total - primer_steps


def _continued(model, primer, new_steps: int, request):
    """Returns event ids (N, P + S)."""
    seeds = output_seeds(tf.constant(request.seed, tf.int32), request.num_outputs)
    beams, branches = request.beam_size, request.branch_factor
    if request.best_beam:
        if request.num_outputs > beams:
            raise UserError(
                f"--best_beam gives at most --beam_size={beams} outputs, not "
                f"--num_outputs={request.num_outputs}"
            )
        return decoding.beam_search(model, primer, new_steps, beams)[0][: request.num_outputs]
    if beams > 1 or branches > 1:
        if request.top_k or request.top_p < 1:
            raise UserError("--top_k and --top_p do not go with --beam_size and --branch_factor")
        events, _ = decoding.stochastic_beam(
            model,
            primer,
            new_steps,
            seeds,
            request.temperature,
            beams=beams,
            branches=branches,
            stride=request.steps_per_iteration,
        )
        return events
    return inference_functions(model)["generate"](
        primer=primer,
        num_outputs=tf.constant(request.num_outputs),
        num_steps=tf.constant(new_steps),
        temperature=tf.constant(request.temperature, tf.float32),
        top_k=tf.constant(request.top_k),
        top_p=tf.constant(request.top_p, tf.float32),
        seed=tf.constant(request.seed, tf.int32),
    )["events"]


# Primers ------------------------------------------------------------------------------------


def read_primer(encoder, request) -> Primer:
    """Returns what to continue: a list of events, a melody of a file, or middle C."""
    if request.primer_melody and request.inputs:
        raise UserError("--primer_melody and --input both give a primer: give one of them")
    if request.primer_melody:
        return Primer(parse_primer(request.primer_melody))
    if len(request.inputs) > 1:
        raise UserError(f"{len(request.inputs)} --input files: a melody has one primer")
    if request.inputs:
        return _primer_of(encoder, *request.inputs[0], request.window)
    if request.mode == "continue":
        raise UserError("--mode=continue needs a primer: --input=FILE or --primer_melody=[60,-2]")
    return Primer(encoder.default_primer)


def parse_primer(text: str) -> list[int]:
    """Returns the events of a list such as "[60, -2, 62]". Raises: UserError if it is none."""
    try:
        events = ast.literal_eval(text)
    except (ValueError, SyntaxError) as error:
        raise UserError(
            f"--primer_melody={text} is not a list of numbers like [60, -2, 62, -2]"
        ) from error
    if not isinstance(events, list | tuple) or not all(type(event) is int for event in events):
        raise UserError(f"--primer_melody={text} is not a list of numbers like [60, -2, 62, -2]")
    if not events:
        raise UserError("--primer_melody=[] is empty; leave it out to start from middle C")
    for event in events:
        if not NO_EVENT <= event <= HIGHEST_EVENT:
            raise UserError(
                f"--primer_melody has {event}; events are MIDI pitches from 0 to {HIGHEST_EVENT}, "
                f"{NOTE_OFF} for note-off and {NO_EVENT} for no event"
            )
    return as_fresh_melody(list(events))


def _primer_of(encoder, name: str, tune, window: str) -> Primer:
    """Returns a melody of a piece: that with most notes, or the one that `window` numbers."""
    melodies, report = _melodies(encoder, tune)
    if not melodies:
        reasons = "; ".join(f"{reason} ({n})" for reason, n in report.dropped.items())
        raise UserError(f"{name} gives no melody to go on from: {reasons}")
    if not window.isdigit() or not 1 <= int(window) <= len(melodies):
        raise UserError(f"--window={window}: {name} has melodies 1 to {len(melodies)}")
    part, events, qpm = melodies[int(window) - 1]
    choice = "; choose another with --window" if len(melodies) > 1 else ""
    print(f"{name}: melody {window} of {len(melodies)}, {part}, {len(events)} steps{choice}")
    lower = report.dropped.get("lower note of several that start together", 0)
    if lower:
        print(f"{name}: {lower} notes under others that start with them are left out")
    return Primer(events, qpm)


def _melodies(encoder, tune):
    """Returns (name, events, qpm) of each instrument, that with most notes first, and a report."""
    report = Report()
    whole = type(encoder)(
        dataclasses.replace(encoder.config, gap_bars=math.inf, skip_polyphony=False)
    )
    found = []
    for stretch in stretches_with_notes(tune, report)[:1]:
        for melody in whole.melodies(stretch, report):
            found.append((_part_name(tune, melody.instrument), melody.events, stretch.qpm))
    found.sort(key=lambda melody: -sum(event >= 0 for event in melody[1]))
    return found, report


def _part_name(tune, instrument: int) -> str:
    names = {info.instrument: info.name for info in tune.instrument_infos}
    program = next(note.program for note in tune.notes if note.instrument == instrument)
    name = names.get(instrument) or f"instrument {instrument}"
    return f"{name} (program {program})"
