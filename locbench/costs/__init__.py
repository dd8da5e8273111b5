"""What a recipe costs, counted without a device."""
