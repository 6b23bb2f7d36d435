"""Readers of checkpoints of the original implementations, which users provide."""
