"""The configurations of magenta_lite, one file per family."""
