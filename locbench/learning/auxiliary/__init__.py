"""Auxiliary nets, one file per paper. Imports no torch."""
