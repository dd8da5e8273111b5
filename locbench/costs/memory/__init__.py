"""Predicted memory: one training step, traced on fake tensors."""
