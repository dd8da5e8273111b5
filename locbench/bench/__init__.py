"""The speed of training steps."""
