"""Connect to PostgreSQL, run declared statements, copy rows and columns, and migrate the schema."""
