"""Random examples, to try models without data."""
