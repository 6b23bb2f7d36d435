"""Music of a folder of the user."""
