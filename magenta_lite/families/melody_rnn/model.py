"""MelodyRNN: an LSTM language model of events, with or without attention to its last outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import keras
import numpy as np
import tensorflow as tf

from magenta_lite.converters.event_sequences.encodings import EventEncoding
from magenta_lite.families.melody_rnn import (
    decoding,
    evaluation,
    features,
    generation,
    inference,
    stepping,
)
from magenta_lite.families.melody_rnn.attention import AttentionLSTM, State, attention_step
from magenta_lite.families.melody_rnn.config import MelodyRNNConfig, NextEventObjective
from magenta_lite.families.melody_rnn.options import MelodyRNNOptions
from magenta_lite.layers.dropout import Dropout
from magenta_lite.layers.lstm import LSTM, lstm_cell
from magenta_lite.layers.sharding import in_row_shards
from magenta_lite.modeling.music_model import (
    COUNTED_EXAMPLES,
    MusicModel,
    RandomInput,
    is_top,
    share_of_commonest,
    with_mean_count,
)
from magenta_lite.modeling.sampling import Sampler
from magenta_lite.typing import Batch, Tensor

if TYPE_CHECKING:
    from magenta_lite.config import ExperimentConfig
    from magenta_lite.converters.event_sequences.converter import EventSequenceConverter


@keras.saving.register_keras_serializable("magenta_lite.melody_rnn")
class MelodyRNN(MusicModel):
    """A stacked LSTM that predicts the next event.

    Magenta's melody_rnn (2016) and its siblings for drums, for melodies over chords and for
    performances. An `EventEncoding` defines the input features and the predicted classes. Attention
    is to the last outputs of the first layer (or, in models before May 2017, of all layers
    together).

    Shape letters: B batch, T events, V classes, S new events, N outputs, P events of a primer.

    Args:
        encoding: Encoding of the events.
        length: Largest sequence length in events.
        model: Sizes.
        objective: Loss.
        by_event: Whether the settings of sampling act on events instead of classes.

    Call arguments:
        batch: A dict of `events` int (B, T), event ids; `length` int32 (B,), sequence lengths;
            `controls` int (B, T), the chord of each event, if the encoding has chords; and
            optionally `dropout` int32 (B, 2), the seeds of dropout.

    Returns:
        Logits float32 (B, T - 1, V): those at t predict event t + 1.

    Differences from Magenta: evaluation is without dropout; recurrent kernels are initialised
    orthogonally instead of glorot-uniformly; attention is in float32 for every precision.
    """

    Options = MelodyRNNOptions
    metric_meanings = evaluation.MEANINGS

    def __init__(
        self,
        encoding: EventEncoding,
        length: int,
        model: MelodyRNNConfig,
        objective: NextEventObjective,
        by_event: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.encoding, self.length, self.by_event = encoding, length, by_event
        self.sizes, self.objective = model, objective
        self.rnn: list[Any] = self._make_layers()
        self.head = keras.layers.Dense(encoding.num_classes, dtype="float32", name="head")
        self.head.build((None, model.units[-1]))
        shares = ("accuracy", "event_accuracy", "no_event_accuracy", "melody_nll_per_step")
        self.means = {
            "perplexity": Perplexity(name="perplexity"),
            **{name: keras.metrics.Mean(name=name) for name in shares},
        }

    def _make_layers(self) -> list:
        sizes, width = self.sizes, self.encoding.input_size
        layers, inside = [], 0
        if sizes.attention_length:
            inside = len(sizes.units) if sizes.attention_layout == "all_layers" else 1
            units = sizes.units[:inside]
            attention = AttentionLSTM(
                units,
                width,
                sizes.attention_length,
                biased_query=sizes.attention_bias,
                name="attention",
            )
            layers = [attention]
        below = [width, *sizes.units]
        for i in range(inside, len(sizes.units)):
            lstm = LSTM(sizes.units[i], below[i], name=f"lstm_{i}", dtype=self.dtype_policy)
            layers.append(lstm)
        return layers

    def random_inputs(self, training: bool = True) -> dict[str, RandomInput]:
        return {"dropout": RandomInput("seed", (2,))} if training and self.sizes.dropout else {}

    # The network ---------------------------------------------------------------------------

    def call(self, batch: Batch, training: bool = False) -> Tensor:
        used = {"events": batch["events"]}
        if self.encoding.chords:
            used["controls"] = batch["controls"]
        if training:
            batch = self.with_random_inputs(batch)
            used |= {name: batch[name] for name in self.random_inputs()}
        return in_row_shards(self._forward, used, max(self.sizes.units))

    def _forward(self, batch):
        ids = _swap_axes(tf.cast(batch["events"], tf.int32))[:-1]
        chords = None
        if self.encoding.chords:  # the chords of the predicted events
            chords = _swap_axes(tf.cast(batch["controls"], tf.int32))[1:]
        x, _ = features.read_events(self.encoding, ids, chords)
        dropout = Dropout(batch.get("dropout"), self.sizes.dropout)
        for i, layer in enumerate(self.rnn):
            if isinstance(layer, AttentionLSTM):
                inside = len(layer.units) > 1
                x, _ = layer(x, keep=self._kept(dropout, x) if inside else ())
                if inside:
                    continue
            else:
                x = layer(x)
            # If attention wraps several layers, there are none after it.
            x = dropout(x, i, axis=1)
        return _swap_axes(self.head(tf.cast(x, tf.float32)))

    def _kept(self, dropout, x):
        """Returns the factors (T, B, U) of all layers for inputs (T, B, C)."""
        if dropout.seeds is None:
            return ()
        steps = x.shape[0] or tf.shape(x)[0]
        return [dropout.factors(i, (steps, n), axis=1) for i, n in enumerate(self.sizes.units)]

    def layer_weights(self) -> tuple:
        """Returns the weights of all layers in the form that `step` needs, in float32."""
        weights = []
        for layer in self.rnn:
            if isinstance(layer, AttentionLSTM):
                weights.append(layer.prepared())
                continue
            kernel, recurrent, bias = layer.weights_as(tf.float32)
            weights.append((tf.concat([kernel, recurrent], axis=0), bias))
        head = tuple(tf.convert_to_tensor(weight) for weight in self.head.weights)
        return tuple(weights), head

    def zero_states(self, rows: Any) -> tuple:
        """Returns the states of all layers before the first step of `rows` sequences."""
        states: list[Any] = []
        for layer in self.rnn:
            if isinstance(layer, AttentionLSTM):
                states.append(layer.zero_state(rows))
            else:
                zeros = tf.zeros([rows, layer.units])
                states.append((zeros, zeros))
        return tuple(states)

    def step(self, weights: Any, x: Tensor, states: Any, position: Tensor) -> tuple[Tensor, Any]:
        """Computes one step.

        Args:
            weights: Result of `layer_weights`.
            x: Float32 (B, D), features of the last event.
            states: Those of `zero_states` or of the previous step.
            position: Int scalar, number of steps since the zero states.

        Returns:
            Logits float32 (B, V), and the new states.
        """
        layers, (kernel, bias) = weights
        new = []
        for tensors, state in zip(layers, states, strict=True):
            if isinstance(state, State):
                slot = position % state.memory.shape[0]
                x, state, _ = attention_step(tensors, x, state, slot)
            else:
                h, c = state
                matrix, layer_bias = tensors
                x, c = lstm_cell(tf.matmul(tf.concat([x, h], axis=-1), matrix) + layer_bias, c)
                state = (x, c)
            new.append(state)
        return tf.matmul(x, kernel) + bias, tuple(new)

    # The objective -------------------------------------------------------------------------

    def loss_terms(self, events: Tensor, length: Tensor, logits: Tensor) -> dict:
        """Returns losses and metrics of each predicted event, float32 (B, T - 1).

        Keys: `counts`, the mask of events that count; `nll` of the label and `melody_nll` of the
        event, with the sum of the probabilities of all classes that mean it, in nats; `correct`,
        whether the label is the most probable class, and `melody_correct`, whether the event is the
        most probable one by these sums; and `is_event`, whether the label differs from the usual
        event, which is "no event" on a grid of steps.
        """
        ids = _swap_axes(tf.cast(events, tf.int32))
        label = _swap_axes(features.labels(self.encoding, ids))
        log_p = tf.nn.log_softmax(logits)
        nll = -tf.gather(log_p, label, axis=2, batch_dims=2)
        own = _swap_axes(self.encoding.own_class(ids[1:]))
        means_it = [tf.gather(log_p, own, axis=2, batch_dims=2)]
        for i, same in enumerate(features.repeats(self.encoding, ids)):
            repeat = log_p[..., self.encoding.num_ids + i]
            means_it.append(tf.where(_swap_axes(same), repeat, log_p.dtype.min))
        position = tf.range(1, tf.shape(ids)[0])
        usual = self.encoding.own_class(self.encoding.usual_id)
        by_step = tf.transpose(logits, [1, 0, 2])
        right = tf.equal(features.most_probable_events(self.encoding, ids, by_step), ids[1:])
        return {
            "counts": tf.cast(position < length[:, None], tf.float32),
            "nll": nll,
            "melody_nll": -tf.reduce_logsumexp(tf.stack(means_it), axis=0),
            "correct": is_top(logits, label),
            "melody_correct": tf.cast(tf.transpose(right), tf.float32),
            "is_event": tf.cast(label != usual, tf.float32),
        }

    def majority_accuracy(self, examples: Any) -> float:
        ids = tf.transpose(tf.cast(examples.events[:COUNTED_EXAMPLES], tf.int32))
        predicted = ids[1:] if self.counts_events else features.labels(self.encoding, ids)
        position = np.arange(1, len(ids))[:, None]
        counted = position < examples.lengths[:COUNTED_EXAMPLES]
        return share_of_commonest(predicted.numpy()[counted])

    @property
    def counts_events(self) -> bool:
        """Whether the loss and the accuracy are those of events, not of labels."""
        return self.objective.target == "event"

    def preprocess(self, batch: Batch, training: bool) -> Batch:
        steps = tf.cast(tf.maximum(batch["length"] - 1, 0), tf.float32)
        return with_mean_count(batch, steps)

    def mean_loss(self, batch: Batch, outputs: Any, training: bool = True) -> Tensor:
        """Returns the mean cross-entropy of all events of the batch that count, in nats."""
        terms = self.loss_terms(batch["events"], batch["length"], outputs)
        counts, nll = terms["counts"], terms["nll"]
        target = terms["melody_nll"] if self.counts_events else nll
        correct = terms["melody_correct" if self.counts_events else "correct"]
        mean_count = self.preprocess(batch, training)["mean_count"]
        is_event = terms["is_event"]
        if self.counts_events:
            usual = tf.equal(batch["events"][:, 1:], self.encoding.usual_id)
            is_event = 1 - tf.cast(usual, tf.float32)
        measures = {
            "perplexity": (nll, counts),
            "accuracy": (correct, counts),
            "event_accuracy": (correct, counts * is_event),
            "no_event_accuracy": (correct, counts * (1 - is_event)),
            "melody_nll_per_step": (terms["melody_nll"], counts),
        }
        for name, (values, weight) in measures.items():
            self.means[name].update_state(values, sample_weight=weight)
        return tf.reduce_mean(tf.reduce_sum(target * counts, axis=1) / mean_count)

    # Inference: dense tensors in and out, the same functions that are exported ---------------

    def log_likelihood(
        self, events: Tensor, length: Tensor, chords: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Returns log probabilities of sequences given their first events, in nats.

        The arguments are those of the call: events (B, T), their lengths (B,), and chords (B, T).

        Returns:
            Those of the labels, as in the original, and those of the events, with the sum of the
            probabilities of classes that mean the same event: float32 (B,) each.
        """
        terms = self.loss_terms(events, length, self({"events": events, "controls": chords}))
        return tuple(
            -tf.reduce_sum(terms[name] * terms["counts"], axis=1) for name in ("nll", "melody_nll")
        )

    def continue_primer(
        self,
        primer: Tensor,
        num_steps: Any,
        seeds: Tensor,
        chords: Tensor | None = None,
        **settings: Any,
    ) -> tuple[Tensor, Tensor]:
        """Continues a primer; see `decoding.sample`. `settings` are those of a `Sampler`."""
        return decoding.sample(self, primer, num_steps, seeds, Sampler(**settings), chords)

    # The contract of a family ------------------------------------------------------------

    generate = generation.generate
    measure = evaluation.measure
    samples = evaluation.samples
    signatures = inference.signatures
    signature_arguments = inference.signature_arguments
    row_signature = inference.row_signature
    row_arguments = inference.row_arguments
    step_functions = stepping.step_functions

    @classmethod
    def for_config(
        cls, config: ExperimentConfig, converter: EventSequenceConverter, **kwargs: Any
    ) -> Self:
        encoding, length = config.model.event_encoding(converter), converter.window_steps
        by_event = config.generate.by_event
        return cls(encoding, length, config.model, config.objective, by_event, **kwargs)


@keras.saving.register_keras_serializable("magenta_lite.melody_rnn")
class Perplexity(keras.metrics.Mean):
    """exp of a mean of negative log-likelihoods in nats."""

    def result(self) -> Tensor:
        return keras.ops.exp(super().result())


def _swap_axes(x):
    """Returns (T, B, ...) as (B, T, ...), and back."""
    return tf.transpose(x, [1, 0, *range(2, len(x.shape))])
