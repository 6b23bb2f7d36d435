"""From music files to batches: reading, building collections, feeding them to a model."""
