"""The REST endpoints of what was agreed."""
