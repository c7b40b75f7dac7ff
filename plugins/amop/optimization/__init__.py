"""Optimization of a provider's instance: inputs, forecast, comm groups, solution and results."""
