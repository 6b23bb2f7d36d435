"""Synthetic music, made of public-domain tunes and chorales: bands, piano performances, sound."""
