"""Music files in a user's folder."""
