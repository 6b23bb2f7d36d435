"""Synthetic data from public-domain tunes and chorales: arrangements, performances and sound."""
