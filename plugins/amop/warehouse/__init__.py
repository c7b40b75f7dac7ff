"""The warehouse: everything that talks to PostgreSQL."""
