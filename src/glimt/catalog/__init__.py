"""Facts about models, the places that serve them, and their prices. No I/O beyond its own files."""
