"""The REST endpoints of what happened."""
