"""Chorales of J. S. Bach in music21's corpus."""
