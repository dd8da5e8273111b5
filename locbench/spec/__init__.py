"""What is trained, as data: recipes, methods, networks, presets and published tables."""
