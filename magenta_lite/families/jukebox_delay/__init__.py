"""A prior over the codes of a residual VQ-VAE, several a frame, in a delay pattern."""
