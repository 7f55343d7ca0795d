"""The commands of `visim`, a module each: its options, and what it prints."""
