"""Configurations that come with magenta_lite: one file per family."""
