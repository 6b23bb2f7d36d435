"""The VQ-VAE of Jukebox: sound to codes and back, at several rates."""
