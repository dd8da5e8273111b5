"""Costs measured on a device: memory and milliseconds of a step."""
