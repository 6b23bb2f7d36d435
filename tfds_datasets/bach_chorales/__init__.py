"""Chorales of J. S. Bach inside music21."""
