"""MuseNet: a multi-instrument decoder conditioned on style, instruments and length."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import keras
import numpy as np
import tensorflow as tf

from magenta_lite.converters.musenet import vocabulary
from magenta_lite.converters.musenet.controls import is_control
from magenta_lite.converters.musenet.converter import PREFIX
from magenta_lite.converters.musenet.places import CHORD_PLACES, PARTS
from magenta_lite.converters.musenet.rules import MuseNetRules, tables
from magenta_lite.families.musenet import evaluation, generation, inference, stepping
from magenta_lite.families.musenet.config import MuseNetConfig, MuseNetObjective
from magenta_lite.families.musenet.critic import Generations, last_places
from magenta_lite.families.musenet.embedding import TokenEmbedding
from magenta_lite.families.musenet.grammar import (
    FORBIDDEN,
    Constraints,
    GrammarState,
    MuseNetGrammar,
    possible,
)
from magenta_lite.families.musenet.options import MuseNetOptions
from magenta_lite.families.musenet.targets import counted
from magenta_lite.families.musenet.variations import (
    louder_piano,
    mixed,
    partners,
    shares,
    stretched,
)
from magenta_lite.layers.dropout import Dropout
from magenta_lite.layers.transformer import (
    LayerSizes,
    TransformerLayer,
    prefilled,
    step,
)
from magenta_lite.layers.weights import embedding_table, norm_weights, normalize, product
from magenta_lite.modeling.music_model import (
    COUNTED_EXAMPLES,
    MusicModel,
    RandomInput,
    is_top,
    share_of_commonest,
    with_mean_count,
)
from magenta_lite.typing import Batch, Tensor

if TYPE_CHECKING:
    from magenta_lite.config import ExperimentConfig
    from magenta_lite.converters.musenet.converter import MuseNetConverter

UNKNOWN = PARTS  # the last embedding of part and of countdown
EXTRAS = ("position", "moment", "chord", "part", "countdown")
EMBEDDING_DROPOUT = 6  # place in `Dropout`; each layer uses places from a multiple of 8 on
DEVIATION = 0.125  # standard deviation of initial weights, times the square root of the fan-in


@keras.saving.register_keras_serializable("magenta_lite.musenet")
class MuseNet(MusicModel):
    """A transformer that predicts the next token of a piece for ten instruments.

    Follows the published description of MuseNet (Payne 2019,
    https://openai.com/research/musenet), with the layers of the Sparse Transformer (Child et al.
    2019, https://arxiv.org/abs/1904.10509, §5.2 and §5.4) and full attention. The embeddings of
    position, moment, position in a chord, part and countdown are added to that of a token.

    Shape letters: B batch, T tokens, V vocabulary size, C channels.

    Args:
        rules: Grammar of the V tokens. Token 0 is padding.
        model: Sizes.
        objective: Loss.
        crop: Length of training examples in tokens; 0 for varying lengths.
        fills_gaps: Whether some of the training examples have gaps; see `infill.layout`.

    Call arguments:
        batch: A dict of `events` int (B, T, 3): ids, parts and countdowns (see `places`), which
            begin with the prefix of three tokens; and optionally `dropout`, see `random_inputs`.

    Returns:
        Logits float32 (B, T, V); those at t predict token t from the tokens before it.
    """

    Options = MuseNetOptions
    metric_meanings = evaluation.MEANINGS

    def __init__(
        self,
        rules: MuseNetRules,
        model: MuseNetConfig,
        objective: MuseNetObjective,
        crop: int = 0,
        fills_gaps: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.rules, self.sizes, self.objective, self.crop = rules, model, objective, crop
        self.fills_gaps = fills_gaps
        sizes = model
        deviation = DEVIATION * sizes.hidden_size**-0.5
        self.embedding = TokenEmbedding(self, sizes.hidden_size, deviation, sizes.factored)
        rows = (sizes.positions, sizes.positions, CHORD_PLACES, PARTS + 1, PARTS + 1)
        self.extras = {
            name: self._table(name, count, len(EXTRAS))
            for name, count in zip(EXTRAS, rows, strict=True)
        }
        layer = LayerSizes(
            hidden_dim=sizes.hidden_size,
            key_dim=sizes.hidden_size,
            filter_dim=4 * sizes.hidden_size,
            num_heads=sizes.heads,
            pattern="" if sizes.attention == "full" else sizes.attention,
            stride=sizes.stride,
            summary=sizes.summary,
            biases=True,
            gelu=True,
            deviation=DEVIATION,
            output_scale=(2 * sizes.layers) ** -0.5,
        )
        self.decoder = [
            TransformerLayer(layer, i, name=f"layer_{i}", dtype=self.dtype_policy)
            for i in range(sizes.layers)
        ]
        self.norm = norm_weights(self, "norm", sizes.hidden_size)
        self._add_critic()
        self.accuracy = keras.metrics.Mean(name="accuracy")
        self.nll = keras.metrics.Mean(name="nll_per_token")
        self.grammar = MuseNetGrammar(rules)

    def _add_critic(self) -> None:
        """Adds the critic's weights; its buffer of generations, int32 (N, T, 3); and a flag."""
        hidden, has_critic = self.sizes.hidden_size, self.objective.critic > 0
        normal = keras.initializers.RandomNormal(stddev=DEVIATION * hidden**-0.5)
        self.critic = tuple(
            self.add_weight(shape=shape, initializer=initial, name=name, trainable=has_critic)
            for name, shape, initial in (
                ("critic", (hidden,), normal),
                ("critic_bias", (), "zeros"),
            )
        )
        self._refill = None
        if not has_critic:
            return
        kept = {"initializer": "zeros", "dtype": "int32", "trainable": False}
        shape = (self.objective.critic_pieces, self.crop, 3)
        self.generations = self.add_weight(shape=shape, name="generations", **kept)
        self.generated = self.add_weight(shape=(), name="generated", **kept)
        self.critic_accuracy = keras.metrics.Mean(name="critic_accuracy")

    def _table(self, name: str, rows: int, tables: int = 1):
        hidden = self.sizes.hidden_size
        return embedding_table(self, name, rows, hidden, DEVIATION * (hidden * tables) ** -0.5)

    def random_inputs(self, training: bool = True) -> dict[str, RandomInput]:
        if not training:
            return {}
        objective = self.objective
        draws = {"told": RandomInput("uniform", (3,)), "played": RandomInput("uniform", (2,))}
        if self.sizes.dropout:
            draws["dropout"] = RandomInput("seed", (2,))
        if objective.mixup:
            draws["mix"] = RandomInput("gamma", (2,), objective.mixup)
        if objective.critic:
            draws["own"] = RandomInput("uniform", ())
            draws["which"] = RandomInput("uniform", ())
        return draws

    @property
    def renewed_every(self) -> int:
        return self.objective.critic_every if self.objective.critic else 0

    def prepare(self, step: int, examples: Any, seed: int) -> None:
        if not self.renewed_every or not step or step % self.renewed_every:
            return
        if self._refill is None:
            self._refill = Generations(self)
        self._refill.renew(examples, step, seed)

    # The network ---------------------------------------------------------------------------

    def call(self, batch: Batch, training: bool = False) -> Any:
        # The other random inputs vary the batch before the call; see `preprocess`.
        batch = self.with_random_inputs(batch, training, only="dropout")
        if training and self.objective.critic and "own" in batch:
            return self.judge(batch, training)
        table = self.embedding.table()
        return self.logits(self._read(table, batch, training), table)

    def judge(self, batch: Batch, training: bool = False) -> tuple[Tensor, Tensor]:
        """Returns the logits, and the critic's logits float32 (B,) that a row is real music.

        The critic reads the output of the last layer at the last token.
        """
        table = self.embedding.table()
        x = self._read(table, batch, training)
        last = last_places(tf.cast(batch["events"], tf.int32)[..., 0])
        read = tf.cast(tf.gather(x, last, axis=1, batch_dims=1), tf.float32)
        weight, bias = self.critic
        judgement = tf.linalg.matvec(normalize(read, *self.norm), tf.cast(weight, tf.float32))
        return self.logits(x, table), judgement + tf.cast(bias, tf.float32)

    def _read(self, table, batch, training):
        """Returns the output (B, T, C) of the last layer."""
        events = tf.cast(batch["events"], tf.int32)
        ids, part, countdown = tf.unstack(events, axis=2)
        dropout = Dropout(batch.get("dropout") if training else None, self.sizes.dropout)
        x = self._embed_shifted(table, ids, part, countdown)
        if training and "mix" in batch:
            x = mixed(x, shares(batch)[:, None, None])
        x = tf.cast(dropout(x, EMBEDDING_DROPOUT), self.decoder[0].compute_dtype)
        for layer in self.decoder:
            x = layer(x, dropout=dropout)
        return x

    def _embed_shifted(self, table, ids, part, countdown):
        """Returns the decoder inputs (B, T, C): embeddings of the previous token, and positions."""
        moment, chord = moments_and_chords(ids)
        x = self._embed(table, ids, moment, chord, part, countdown)
        x = tf.pad(x, [[0, 0], [1, 0], [0, 0]])[:, :-1]
        return x + self.extras["position"][: ids.shape[1]]

    def _embed(self, table, ids, moment, chord, part, countdown):
        places = (tf.minimum(moment, self.sizes.positions - 1), chord, part, countdown)
        pairs = zip(EXTRAS[1:], places, strict=True)
        looked_up = (tf.gather(self.extras[name], rows) for name, rows in pairs)
        return sum(looked_up, tf.gather(table, ids))

    def logits(self, x: Tensor, table: Tensor) -> Tensor:
        """Returns logits float32 (..., V) of the output (..., C) of the last layer.

        `table` are the embeddings (V, C) of all tokens.
        """
        normed = normalize(x, *self.norm)
        return tf.cast(product(normed, tf.transpose(table)), tf.float32)

    # Incremental decoding; `decoder_interface.CachedDecoder` documents the methods ---------------

    cache_grows = slides = True

    @property
    def context_length(self) -> int:
        return self.sizes.positions

    attention_span = max_length = context_length

    @property
    def slot_size(self) -> int:
        return 2 * self.sizes.layers * self.sizes.hidden_size

    def prefix_length(self, conditioning: Constraints) -> int:
        # With controls, only outside of graphs, whose pieces do not slide.
        return PREFIX + int(conditioning.controls or 0)

    def condition(self, inputs: Constraints, rows: Any = None) -> tuple[tuple, Constraints]:
        del rows
        constraints = Constraints(
            tf.convert_to_tensor(inputs.units, tf.int32),
            tf.convert_to_tensor(inputs.allowed, tf.bool),
            inputs.guidance and tf.convert_to_tensor(inputs.guidance, tf.float32),
            inputs.given and tf.nest.map_structure(tf.convert_to_tensor, inputs.given),
            inputs.span and tf.nest.map_structure(tf.convert_to_tensor, inputs.span),
            inputs.controls and tf.convert_to_tensor(inputs.controls, tf.int32),
        )
        return (constraints,), constraints

    def prefill(
        self, ids: Tensor, constraints: Constraints, grammar_state: GrammarState | None = None
    ) -> list[tuple[Tensor, Tensor]]:
        """Returns keys and values (B, H, T, D) of each layer for tokens int (B, T).

        With guidance they are (2B, H, T, D); the second half is not conditioned on style,
        instruments and controls. If the tokens are only the last part of the pieces,
        `grammar_state` is the state after the whole pieces.
        """
        units = units_after(ids)
        if grammar_state is not None:
            units += grammar_state.units[:, None] - units[:, -1:]
        units = _in_piece(units, _from_before(ids), constraints)
        if constraints.guidance is not None:
            unspecified = tf.fill([tf.shape(ids)[0], 2], vocabulary.UNSPECIFIED)
            ids = tf.concat([ids, tf.concat([unspecified, _untold(ids[:, 2:])], axis=1)], axis=0)
            units = tf.concat([units] * 2, axis=0)
        x = self._embed_shifted(self.embedding.table(), ids, *_places(units, constraints))
        return prefilled(self.decoder, x)

    reread = prefill

    def step_weights(self) -> tuple:
        return self.embedding.table(), *(layer.step_weights() for layer in self.decoder)

    def step(
        self,
        weights: tuple,
        ids: Tensor,
        position: Tensor,
        keys: tuple,
        values: tuple,
        constraints: Constraints,
        grammar_state: GrammarState,
    ) -> tuple[Tensor, tuple, tuple]:
        guided, state = constraints.guidance is not None, grammar_state
        table, *layers = weights
        units = _in_piece(state.units, True, constraints)
        x = self._embed(table, ids, state.moment, state.chord, *_places(units, constraints))
        x *= tf.cast(position > 0, tf.float32)  # no token precedes the first
        x += tf.gather(self.extras["position"], position)
        if guided:  # the last control is read here, not by `prefill`
            unread = tf.gather(table, _untold(ids)) - tf.gather(table, ids)
            x = tf.concat([x, x + unread], axis=0)
        x, keys, values = step(self.decoder, tuple(layers), x, position, keys, values)
        logits = self.logits(x, table)
        if guided:
            conditional, unconditional = tf.split(tf.nn.log_softmax(logits), 2, axis=0)
            logits = unconditional + constraints.guidance * (conditional - unconditional)
        return logits, keys, values

    # The objective -------------------------------------------------------------------------

    def majority_accuracy(self, examples: Any) -> float:
        events = np.asarray(examples.events[:COUNTED_EXAMPLES])
        return share_of_commonest(events[..., 0][counted(events).numpy() > 0])

    def preprocess(self, batch: Batch, training: bool) -> Batch:
        events = tf.cast(batch["events"], tf.int32)
        batch = self.varied(batch) if training else batch | {"events": events}
        return with_mean_count(batch, counts_of(batch))

    def test_step(self, batch: Batch) -> dict[str, Tensor]:
        logs = super().test_step(batch)
        logs.pop("critic_accuracy", None)  # held-out examples are all music
        return logs

    def varied(self, batch: Batch) -> Batch:
        """Returns the augmented batch, with its conditioning masked at random."""
        objective, events = self.objective, tf.cast(batch["events"], tf.int32)
        if objective.critic:
            own = tf.cast(batch["own"] < objective.critic_share, tf.int32) * self.generated
            which = tf.cast(batch["which"] * self.generations.shape[0], tf.int32)
            events = tf.where(own[:, None, None] > 0, tf.gather(self.generations, which), events)
            batch = batch | {"own": tf.cast(own, tf.float32)}
        ids, part, countdown = tf.unstack(events, axis=2)
        louder, slower = tf.split(batch["played"], 2, axis=1)
        ids = louder_piano(ids, louder, objective.volume_shift)
        # With a gap, no wait may be clipped: its time and that of the middle are equal.
        has_gap = tf.reduce_any(ids == vocabulary.GAP, axis=1, keepdims=True)
        stretch = tf.where(has_gap, 0.0, objective.time_stretch)
        ids = stretched(ids, 1 + stretch * (2 * slower - 1))
        hidden = batch["told"] < [objective.prefix_dropout] * 2 + [objective.place_dropout]
        front = tf.where(hidden[:, :2], vocabulary.UNSPECIFIED, ids[:, :2])
        ids = tf.concat([front, ids[:, 2:]], axis=1)
        # The prefix gets the part and countdown of the first token after it.
        part, countdown = (
            tf.concat([tf.repeat(x[:, PREFIX : PREFIX + 1], PREFIX, axis=1), x[:, PREFIX:]], axis=1)
            for x in (part, countdown)
        )
        no_places = hidden[:, 2:]
        events = tf.stack(
            [ids, tf.where(no_places, UNKNOWN, part), tf.where(no_places, UNKNOWN, countdown)],
            axis=2,
        )
        return batch | {"events": events}

    def mean_loss(self, batch: Batch, outputs: Any, training: bool = True) -> Tensor:
        """Returns the mean cross-entropy over all tokens after the prefix, in nats.

        The critic's cross-entropy is added, times `objective.critic`; real and generated music have
        equal weight in it.
        """
        logits, judgement = outputs if isinstance(outputs, tuple) else (outputs, None)
        counts = counts_of(batch)
        batch = with_mean_count(batch, counts)
        ids = tf.cast(batch["events"][..., 0], tf.int32)
        if self.objective.grammar:
            allowed = self._possible(batch, training)
            logits = tf.where(allowed, logits, FORBIDDEN)
        nll = tf.nn.sparse_softmax_cross_entropy_with_logits(ids, logits)
        self.nll.update_state(nll, sample_weight=counts)
        self.accuracy.update_state(is_top(logits, ids), sample_weight=counts)
        summed = tf.reduce_sum(nll * counts, axis=1)
        if training and "mix" in batch:
            others = tf.nn.sparse_softmax_cross_entropy_with_logits(partners(ids), logits)
            share = shares(batch)
            summed *= share
            summed += (1 - share) * tf.reduce_sum(others * partners(counts), axis=1)
        loss = tf.reduce_mean(summed / batch["mean_count"])
        if judgement is not None:
            loss += self.objective.critic * self._critic_loss(judgement, batch["own"])
        return loss

    def _critic_loss(self, judgement, own):
        share = self.objective.critic_share
        entropy = tf.nn.sigmoid_cross_entropy_with_logits(1 - own, judgement)
        filled = tf.cast(self.generated, tf.float32)  # no loss before the first generations
        weight = filled * (own / share + (1 - own) / (1 - share)) / 2
        right = tf.cast((judgement > 0) == (own < 0.5), tf.float32)
        self.critic_accuracy.update_state(right, sample_weight=weight)
        return tf.reduce_mean(weight * entropy)

    def _possible(self, batch: Batch, training: bool) -> Tensor:
        """Returns the mask bool (B, T, V) of the tokens that the grammar allows."""
        allowed = possible(tf.cast(batch["events"][..., 0], tf.int32))
        return allowed | partners(allowed) if training and "mix" in batch else allowed

    def places_of(self, ids: Tensor, constraints: Constraints) -> tuple[Tensor, Tensor]:
        """Returns parts and countdowns int32 (B, T) of ids (B, T) under constraints."""
        ids = tf.convert_to_tensor(ids)
        return _places(_in_piece(units_after(ids), _from_before(ids), constraints), constraints)

    # The contract of a family ------------------------------------------------------------

    generate = generation.generate
    measure = evaluation.measure
    measure_gaps = evaluation.measure_gaps
    signatures = inference.signatures
    signature_arguments = inference.signature_arguments
    row_signature = inference.row_signature
    row_arguments = inference.row_arguments
    step_functions = stepping.step_functions

    @classmethod
    def for_config(
        cls, config: ExperimentConfig, converter: MuseNetConverter, **kwargs: Any
    ) -> Self:
        rules = MuseNetRules.in_seconds(config.generate.max_note, config.generate.max_silence)
        sections, fills_gaps = (config.model, config.objective), converter.config.infill > 0
        return cls(rules, *sections, converter.crop, fills_gaps, **kwargs)


def _untold(ids):
    """Returns ids, of any shape, with controls masked."""
    return tf.where(is_control(ids), vocabulary.UNSPECIFIED, ids)


def moments_and_chords(ids: Tensor) -> tuple[Tensor, Tensor]:
    """Returns moments and positions in chords of ids int32 (B, T); see `places.Places`."""
    waits = tf.cast((ids >= vocabulary.FIRST_WAIT) & (ids < vocabulary.START), tf.int32)
    notes = tf.cast(ids < vocabulary.FIRST_WAIT, tf.int32)
    moment = tf.cumsum(waits, axis=1, exclusive=True)
    seen = tf.cumsum(notes, axis=1, exclusive=True)
    # The number of notes before the moment: the maximum over previous waits and marks.
    first = _running_max(tf.where((waits > 0) | tf.gather(tables().mark, ids), seen, 0))
    return moment, notes * tf.minimum(seen - first, CHORD_PLACES - 1)


def _running_max(x):
    """Returns the running maximum of each row of x (B, T)."""
    step = 1
    while step < x.shape[1]:
        x = tf.maximum(x, tf.pad(x, [[0, 0], [step, 0]])[:, : x.shape[1]])
        step *= 2
    return x


def units_after(ids: Tensor) -> Tensor:
    """Returns the length of a piece after each of its ids (B, T), in units: int32 (B, T)."""
    return tf.cumsum(tf.gather(tables().units, ids), axis=1)


def _from_before(ids):
    """Returns whether each of ids (B, T) is or follows `BEFORE`, bool (B, T)."""
    return tf.cumsum(tf.cast(ids == vocabulary.BEFORE, tf.int32), axis=1) > 0


def _in_piece(units, from_before, constraints: Constraints):
    """Returns times in the piece, given the time since the beginning of the context.

    With a gap, the context begins with it; what comes from `BEFORE` on leads up to it and goes on.
    """
    span = constraints.span
    if span is None:
        return units
    return span.start + units - tf.where(from_before, span.shown, 0)


def counts_of(batch: Batch) -> Tensor:
    """Returns the mask of predicted tokens of a batch: float (B, T); see `counted`."""
    counts = counted(batch["events"])
    return counts * (1 - batch["own"])[:, None] if "own" in batch else counts


def _places(units, constraints: Constraints):
    """Returns parts and countdowns, int32, of tokens at the time `units`."""
    length = tf.maximum(constraints.units, 1)
    part = tf.clip_by_value(PARTS * units // length, 0, PARTS - 1)
    known = constraints.units > 0
    return tf.where(known, part, UNKNOWN), tf.where(known, PARTS - 1 - part, UNKNOWN)
