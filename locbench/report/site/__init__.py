"""A static site of all tables, methods and records, opened from its files."""
