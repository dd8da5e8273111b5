"""Records: what they are, where they are kept, their provenance."""
