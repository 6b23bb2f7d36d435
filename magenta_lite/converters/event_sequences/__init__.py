"""Event sequences for MelodyRNN: converters, input features and labels."""
