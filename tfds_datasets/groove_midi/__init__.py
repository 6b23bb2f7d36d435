"""Drums of the Groove MIDI Dataset."""
