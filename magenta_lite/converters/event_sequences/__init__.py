"""Event sequences as MelodyRNN reads them: what a network sees of the past, and its labels."""
