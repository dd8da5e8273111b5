"""Data sets by name: what they are (``catalogue``), their images (``images``), augmented batches (``batches``)."""
