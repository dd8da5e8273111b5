"""Which images there are and where they lie."""
