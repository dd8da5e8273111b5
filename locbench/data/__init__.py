"""Images as tensors: decoding, and augmented batches on a device."""
