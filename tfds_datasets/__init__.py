"""Dataset builders for TensorFlow Datasets: one folder each, `tfds build` works inside it."""
