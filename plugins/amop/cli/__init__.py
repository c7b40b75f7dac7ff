"""The command line `amop`."""
