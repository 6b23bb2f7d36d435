"""Folk tunes and chorales as sound."""
