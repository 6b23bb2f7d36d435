"""MuseNet's tokens: vocabulary, converter, grammar and positions of tokens in a piece."""
