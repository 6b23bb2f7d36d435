"""Jukebox: priors over the codes of sound, and upsamplers from coarse codes to fine ones."""
