"""Records held against the published numbers, and the reports of it."""
