"""Notifications of operators: failures, outages and reports, one message per cause, each sent once."""
