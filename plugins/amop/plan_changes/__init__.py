"""Proposed rate plan changes: rules, decision, approval request and application at the carrier."""
