"""Small folders in COCO's layout, made by hand, that several tests share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from PIL import Image

from locbench.spec.detector import Detection
from locbench.spec.recipe import Recipe
from locbench.spec.validation import make_recipe

CATEGORIES = [
    {"id": 7, "name": "cat", "supercategory": "animal"},
    {"id": 3, "name": "cup", "supercategory": "thing"},
]

# On image 10 of 12 x 8 pixels: a square by its corners, an L by uncompressed runs, a crowd; image
# 11 is empty.
SQUARE = {"id": 1, "image_id": 10, "category_id": 7, "bbox": [2, 1, 4, 4], "area": 16, "iscrowd": 0}
SQUARE |= {"segmentation": [[2, 1, 6, 1, 6, 5, 2, 5]]}
# Column by column of 8 pixels: columns 0 to 7 empty, column 8 rows 2 to 5, column 9 rows 4 and 5,
# the rest empty.
CORNER = {"id": 2, "image_id": 10, "category_id": 3, "bbox": [8, 2, 2, 4], "area": 6, "iscrowd": 0}
CORNER |= {"segmentation": {"counts": [66, 4, 6, 2, 18], "size": [8, 12]}}
CROWD = {"id": 3, "image_id": 10, "category_id": 3, "bbox": [0, 0, 12, 8], "area": 96, "iscrowd": 1}
CROWD |= {"segmentation": {"counts": [0, 96], "size": [8, 12]}}

IMAGES = [
    {"id": 10, "file_name": "ten.png", "height": 8, "width": 12},
    {"id": 11, "file_name": "eleven.png", "height": 8, "width": 8},
]


def annotations(*objects: dict[str, Any]) -> dict[str, Any]:
    return {"info": {}, "images": IMAGES, "annotations": list(objects), "categories": CATEGORIES}


def write_coco(folder: Path, content: dict[str, Any] | None = None) -> Path:
    """Write both parts with the same content: by default the square, the corner and the crowd."""
    content = annotations(SQUARE, CORNER, CROWD) if content is None else content
    (folder / "annotations").mkdir(parents=True)
    for part in ("train", "val"):
        (folder / f"{part}2017").mkdir()
        for index, image in enumerate(content["images"]):
            pixels = np.full((image["height"], image["width"], 3), 50 * (index + 1), dtype=np.uint8)
            pixels[0, 0] = (255, 0, 0)
            Image.fromarray(pixels).save(folder / f"{part}2017" / image["file_name"])
        (folder / "annotations" / f"instances_{part}2017.json").write_text(json.dumps(content))
    return folder


def detector_recipe(**changes: Any) -> Recipe:
    """Return a short recipe of a small detector on the drawn shapes."""
    backbone = {
        "network": "resnet34-narrow",
        "dataset": "digits",
        "method": "bp",
        "epochs": 1,
        "batch_size": 64,
    }
    backbone |= {"lr": 0.05, "rate": "cosine-epoch0", "image_size": 32, "train_limit": 128}
    small = {
        "short_side": 96,
        "long_side": 96,
        "anchor": 16,
        "width": 32,
        "box_width": 64,
        "candidates": 200,
    }
    small |= {"proposals": 32, "warmup_steps": 8, "trained_stages": 9, "norm": "trained"}
    settings = {
        "network": "resnet34-narrow",
        "dataset": "shapes",
        "method": "bp",
        "epochs": 2,
        "batch_size": 8,
    }
    settings |= {
        "lr": 2e-3,
        "optimizer": "adamw",
        "weight_decay": 0.05,
        "rate": "steps",
        "warmup_epochs": 0,
    }
    settings |= {"train_limit": 16, "test_limit": 4, "test_every": 2}
    settings |= {"backbone": backbone | changes.pop("backbone", {})}
    settings |= {
        "detection": msgspec.to_builtins(Detection()) | small | changes.pop("detection", {})
    }
    return make_recipe(settings | changes)
