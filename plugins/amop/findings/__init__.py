"""Nightly findings: what is unusual about a provider's SIMs and pools, with its money and one reversible action."""
