"""What the decoding loop needs of a model, and of the grammar of its tokens.

Shape letters are those of `decoding`.
"""

from __future__ import annotations

from typing import Any, Protocol


class Grammar(Protocol):
    """Constraints on the next token, given the previous ones, as graph operations.

    The previous tokens are summarised by a state, a structure of tensors (N, ...).

    Attributes:
        end_id: The token that ends a piece; None if no piece ends.
    """

    end_id: int | None

    def initial_state(self, rows: Any) -> Any:
        """Returns the state before the first token of N = `rows` pieces."""

    def allowed(self, state: Any, conditioning: Any) -> Any:
        """Returns the mask of allowed next tokens: bool (N, V), or (1, V) for all pieces."""

    def ending(self, state: Any) -> Any:
        """Returns the mask bool (N, V) of the note-offs of sounding notes; None without note-offs.

        Top-k, top-p and min-p do not exclude them, as notes would hang.
        """

    def next_state(self, state: Any, ids: Any, conditioning: Any = None) -> Any:
        """Returns the state after one more token int32 (N,) of each piece.

        `conditioning` is that of `CachedDecoder.condition`; None for tokens of a primer.
        """

    def truncated(self, state: Any, window: Any) -> Any:
        """Returns the state of pieces whose context was truncated to a window int32 (N, T)."""


class CachedDecoder(Protocol):
    """The interface of a model that the decoding loop needs."""

    grammar: Grammar
    decoder: Any  # its `TransformerLayer`s

    @property
    def context_length(self) -> int:
        """Maximum length of a primer in tokens, and of the context of a model that slides."""
        ...

    @property
    def slides(self) -> bool:
        """Whether the model reads the last half of a full context again."""
        ...

    @property
    def attention_span(self) -> int:
        """Number of last tokens that attention sees, the slots of a full cache."""
        ...

    @property
    def slot_size(self) -> int:
        """Number of floats in a slot of the cache of a piece, of all layers."""
        ...

    @property
    def cache_grows(self) -> bool:
        """Whether the cache doubles with the piece; otherwise it has all slots from the start."""
        ...

    @property
    def max_length(self) -> int:
        """Maximum length of a piece of `sample` in tokens."""
        ...

    def condition(self, inputs: Any, rows: Any) -> tuple[tuple, Any]:
        """Prepares the conditioning of N = `rows` pieces.

        Returns:
            The other arguments of `prefill`, for one piece, and the conditioning of `step` and
            `Grammar`, for N pieces; both are structures of tensors.
        """
        ...

    def prefix_length(self, conditioning: Any) -> int:
        """Returns how many tokens at the beginning of a piece stay in the context, if it slides."""
        ...

    def prefill(self, ids: Any, *arguments: Any) -> list[tuple[Any, Any]]:
        """Returns keys (B, H, T, D) and values (B, H, T, E) of each layer for tokens int (B, T)."""
        ...

    def reread(self, window: Any, conditioning: Any, grammar_state: Any) -> Any:
        """Returns keys and values as `prefill` for the last tokens int (N, T) of N pieces.

        `conditioning` and `grammar_state` are those of `step` after these tokens.
        """
        ...

    def step_weights(self) -> tuple:
        """Returns the weights in the form that `step` needs, computed once for all steps."""
        ...

    def step(
        self,
        weights: tuple,
        ids: Any,
        position: Any,
        keys: tuple,
        values: tuple,
        conditioning: Any,
        grammar_state: Any,
    ) -> tuple[Any, tuple, tuple]:
        """Reads one token of each piece.

        Args:
            weights: Result of `step_weights`.
            ids: Int32 (N,), the tokens before `position`; 0 at the beginning.
            position: Int32 scalar, from the beginning of the context.
            keys: Caches float32 (N * H, K, D) of each layer; with classifier-free guidance 2 N
                instead of N.
            values: Float32 (N * H, K, E) of each layer.
            conditioning: Result of `condition`.
            grammar_state: State of the grammar after the tokens before `position`.

        Returns:
            Logits float32 (N, V) of the token at `position`, and the new keys and values.
        """
        ...
