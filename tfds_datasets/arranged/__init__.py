"""Folk tunes and chorales, arranged for a small band."""
