"""Detectors: Mask R-CNN on a backbone that was trained by any method."""
