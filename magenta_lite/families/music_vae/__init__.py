"""MusicVAE (Roberts et al. 2018, https://arxiv.org/abs/1803.05428)."""
