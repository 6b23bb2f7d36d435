"""Melodies of the tune books inside music21."""
