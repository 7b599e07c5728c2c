"""The waist of the hourglass: what a request, a part, an event and an error are.

Pure values: no I/O, no clock but the injected one, no wire format, no framework.
Wire formats decode into these types and encode from them; providers answer in them.
"""
