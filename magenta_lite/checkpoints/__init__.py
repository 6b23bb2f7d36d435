"""Readers of checkpoints that were trained with the original code and that the user brings."""
