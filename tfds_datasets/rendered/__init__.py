"""Folk tunes and chorales, rendered for the piano."""
