"""The Swin training pipeline's augmentation, batched on the device of the images."""
