"""Songs of the free game Freedoom."""
