"""Pure rules of the domain: billing periods, validation, session windows. No I/O."""
