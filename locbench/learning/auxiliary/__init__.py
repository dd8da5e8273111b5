"""Auxiliary nets, one file per paper."""
