"""Sound files in a user's folder."""
