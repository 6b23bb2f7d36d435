"""What the models of all families share."""
