"""ImageNet and folders laid out like it: too large for memory, read from files while a network trains."""
