"""MuseNet: many instruments in one stream of tokens."""
