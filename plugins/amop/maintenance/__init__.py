"""Retention, watchdog and status."""
