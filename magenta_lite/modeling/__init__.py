"""Code that the models of all families share."""
