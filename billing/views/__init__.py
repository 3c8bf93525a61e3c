"""The REST endpoints of what is owed."""
