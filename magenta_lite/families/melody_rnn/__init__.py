"""MelodyRNN: LSTMs, with or without attention to their last outputs, that continue a melody."""
