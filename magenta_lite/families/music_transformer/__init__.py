"""Music Transformer: self-attention that knows distances, over events of a performance."""
