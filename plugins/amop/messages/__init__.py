"""Messages to AMOP: bodies, outbox, delivery and the HTTP client."""
