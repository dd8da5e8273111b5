"""The training loop and what it needs. Imports no torch."""
