"""Is the right amount owed, once, whatever happened in which order?"""
