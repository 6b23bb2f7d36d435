"""Bands of the free game Freedoom."""
