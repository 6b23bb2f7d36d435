"""MuseNet's tokens: vocabulary, notes to ids and back, and where in a piece each token stands."""
