"""The containers that pictures come in, reduced to the parts that make pixels before a decoder sees them.

Each module reads one container without trusting it, and returns a file of the same kind without metadata, colour
profiles, text, further frames or duplicates, together with the orientation that the metadata states. Pillow's parsers
of metadata therefore never run on untrusted bytes, and whatever remains is bounded in number and size.
"""
