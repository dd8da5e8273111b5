"""COCO: images with the boxes and outlines of the objects in them."""
