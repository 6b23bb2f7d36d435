"""Melodies of the tune books in music21's corpus."""
