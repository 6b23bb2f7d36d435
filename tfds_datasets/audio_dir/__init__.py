"""Sound of a folder of the user."""
