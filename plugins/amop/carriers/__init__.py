"""Carrier API clients, one per API family, behind one protocol."""
