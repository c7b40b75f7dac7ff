"""What leaves the package: AMOP callbacks, queue messages, report files."""
