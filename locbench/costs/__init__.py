"""What a recipe costs, counted without a device. Imports no torch."""
