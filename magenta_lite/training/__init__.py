"""From a model and a data set to a run directory."""
