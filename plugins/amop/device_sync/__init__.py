"""The daily device sync: fetch, validate, stage and merge, with guards against implausible answers of the carrier."""
