"""Clean a set of pictures."""
