"""A world to run the package against: PostgreSQL, AWS emulator, carrier, AMOP, Airflow itself."""
