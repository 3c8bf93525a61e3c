"""What all tests share. Their database is started by tests/embedded_database.py."""
