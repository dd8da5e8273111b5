"""What weights and records show beyond a number."""
