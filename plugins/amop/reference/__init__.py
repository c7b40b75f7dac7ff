"""Reference data: tenants, providers, rate plans, billing periods and time zones."""
