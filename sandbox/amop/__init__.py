"""The sandbox AMOP 2.0: a server that validates and records every message."""
