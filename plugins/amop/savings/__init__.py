"""Realised savings of closed billing periods, compared with the forecast."""
