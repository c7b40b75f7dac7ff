"""Sync runs and optimization sessions: due rule, progress, heartbeats and end."""
