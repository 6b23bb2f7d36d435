"""Training of models, and the run directories that it writes."""
