"""COCO's format: what is read and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from coco_specimens import CORNER, CROWD, SQUARE, annotations, write_coco

from locbench.datasets.catalogue import info, status
from locbench.detection.batches import (
    eval_batches,
    mask_of,
    mirrored_target,
    target_of,
    train_batches,
)
from locbench.detection.evaluation import average_precision
from locbench.detection.loading import load_detection
from locbench.errors import FailureError, UsageError

pytest.importorskip("pycocotools")

SQUARE_MASK = np.zeros((8, 12), dtype=np.uint8)
SQUARE_MASK[1:5, 2:6] = 1
CORNER_MASK = np.zeros((8, 12), dtype=np.uint8)
CORNER_MASK[2:6, 8] = 1
CORNER_MASK[4:6, 9] = 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_coco(tmp_path / "some")


def test_reader_gives_what_is_annotated(folder: Path) -> None:
    split = load_detection(f"coco:{folder}", folder)
    # The other has nothing to learn from.
    assert [each.file_name for each in split.train.pictures] == ["ten.png"]
    assert [each.file_name for each in split.test.pictures] == ["ten.png", "eleven.png"]
    assert [each.id for each in split.test.objects[0]] == [1, 2, 3]
    assert split.test.class_of == {3: 1, 7: 2}  # numbers without gaps, in the order of the ids
    assert (split.info.classes, split.info.train_size, split.info.test_size) == (2, 2, 2)
    assert len(split.fingerprint) == 16


def test_targets_are_boxes_classes_and_masks_without_crowds(folder: Path) -> None:
    dataset = load_detection(f"coco:{folder}", folder).train
    ((sample,),) = train_batches(dataset, 4, seed=0, epoch=1, flip=False)
    assert sample.image.shape == (3, 8, 12)
    assert sample.image.dtype == torch.uint8
    assert sample.image[:, 0, 0].tolist() == [255, 0, 0]
    assert sample.target["boxes"].tolist() == [[2, 1, 6, 5], [8, 2, 10, 6]]
    assert sample.target["labels"].tolist() == [2, 1]
    assert torch.equal(
        sample.target["masks"], torch.from_numpy(np.stack([SQUARE_MASK, CORNER_MASK]))
    )


def test_compressed_runs_are_read_too(folder: Path) -> None:
    from pycocotools import mask

    counts = mask.encode(np.asfortranarray(CORNER_MASK))["counts"].decode()
    path = folder / "annotations" / "instances_val2017.json"
    path.write_text(
        json.dumps(annotations(CORNER | {"segmentation": {"counts": counts, "size": [8, 12]}}))
    )
    dataset = load_detection(f"coco:{folder}", folder).test
    assert np.array_equal(mask_of(dataset.objects[0][0], dataset.pictures[0]), CORNER_MASK)


def test_mirrored_images_have_mirrored_targets(folder: Path) -> None:
    dataset = load_detection(f"coco:{folder}", folder).train
    ((plain,),) = train_batches(dataset, 1, seed=0, epoch=1, flip=False)
    mirrored = mirrored_target(plain.target, 12)
    assert mirrored["boxes"].tolist() == [[6, 1, 10, 5], [2, 2, 4, 6]]
    assert np.array_equal(mirrored["masks"][0].numpy(), SQUARE_MASK[:, ::-1])
    found = [
        next(train_batches(dataset, 1, seed=seed, epoch=1, flip=True))[0] for seed in range(12)
    ]
    turned = [each for each in found if each.image[:, 0, -1].tolist() == [255, 0, 0]]
    assert 0 < len(turned) < len(found)
    assert all(torch.equal(each.target["boxes"], mirrored["boxes"]) for each in turned)


def test_order_follows_from_seed_and_epoch_alone() -> None:
    dataset = load_detection("shapes", Path(), limit=12).train

    def epoch(number: int, batch: int) -> list[torch.Tensor]:
        batches = train_batches(dataset, batch, seed=1, epoch=number, flip=True)
        return [each.image for samples in batches for each in samples]

    first, again, other = epoch(1, 5), epoch(1, 3), epoch(2, 5)
    assert all(map(torch.equal, first, again))
    assert not all(map(torch.equal, first, other))


def test_shapes_are_the_same_every_time_and_boxes_enclose_them() -> None:
    split, again = load_detection("shapes", Path()), load_detection("shapes", Path())
    assert split.fingerprint == again.fingerprint
    assert (len(split.train), len(split.test)) == (
        info("shapes").train_size,
        info("shapes").test_size,
    )
    assert {len(own) for own in split.train.objects} <= {1, 2, 3}
    assert split.train.class_of == {1: 1, 2: 2, 4: 3}
    for picture, own in zip(split.test.pictures[:10], split.test.objects[:10], strict=True):
        for each in own:
            rows, columns = np.nonzero(mask_of(each, picture))
            left, top, width, height = each.bbox
            assert left - 1 <= columns.min() <= left + 1
            assert columns.max() <= left + width
            assert top - 1 <= rows.min() <= top + 1
            assert rows.max() <= top + height
            assert len(rows) == pytest.approx(each.area, rel=0.12)


def test_smaller_limits_nest_in_larger_ones() -> None:
    few, more = (load_detection("shapes", Path(), limit=limit).train for limit in (5, 20))
    assert {each.id for each in few.pictures} < {each.id for each in more.pictures}


def test_folder_without_years_is_found(folder: Path) -> None:
    for part in ("train", "val"):
        (folder / f"{part}2017").rename(folder / part)
        names = (folder / "annotations" / f"instances_{part}{year}.json" for year in ("2017", ""))
        next(names).rename(next(names))
    assert status(f"coco:{folder}", folder).state == "ready"
    assert len(load_detection(f"coco:{folder}", folder).test) == 2


def test_coco_is_looked_for_below_the_root(tmp_path: Path) -> None:
    seen = status("coco", tmp_path)
    assert seen.state == "missing"
    assert str(tmp_path / "coco") in seen.remedy
    assert "cocodataset.org" in seen.remedy
    write_coco(tmp_path / "coco")
    assert status("coco", tmp_path).state == "ready"
    (tmp_path / "coco" / "annotations" / "instances_val2017.json").unlink()
    assert status("coco", tmp_path).state == "broken"


def test_name_without_a_folder() -> None:
    with pytest.raises(UsageError, match="names no folder"):
        info("coco:")


def test_missing_image_is_named(folder: Path) -> None:
    (folder / "val2017" / "eleven.png").unlink()
    with pytest.raises(FailureError, match=r"eleven\.png is missing") as caught:
        load_detection(f"coco:{folder}", folder)
    assert "instances_val2017.json" in caught.value.remedy


def test_undecodable_image_is_named(folder: Path) -> None:
    (folder / "val2017" / "eleven.png").write_bytes(b"no image")
    dataset = load_detection(f"coco:{folder}", folder).test
    with pytest.raises(FailureError, match=r"eleven\.png cannot be decoded"):
        list(eval_batches(dataset, 1))


def test_image_of_another_size_is_named(folder: Path) -> None:
    dataset = load_detection(f"coco:{folder}", folder)
    (folder / "train2017" / "ten.png").write_bytes((folder / "val2017" / "eleven.png").read_bytes())
    with pytest.raises(FailureError, match="8 x 8 pixels, and its annotation says 12 x 8"):
        list(train_batches(dataset.train, 1, seed=0, epoch=1, flip=False))


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in SQUARE.items() if key != name}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is no annotation file of COCO's"),
        ("[]", "is no annotation file of COCO's"),
        (json.dumps({"images": []}), "is no annotation file of COCO's"),
        (json.dumps(annotations(without("bbox"))), "bbox"),
        (json.dumps(annotations(SQUARE | {"image_id": 99})), "annotation 1 is of image 99"),
        (json.dumps(annotations(SQUARE | {"category_id": 99})), "annotation 1 is of category 99"),
        (json.dumps(annotations() | {"images": []}), "it has no images"),
        (json.dumps(annotations(CROWD)), "holds no object to learn from"),
    ],
)
def test_faults_of_an_annotation_file(folder: Path, content: str, words: str) -> None:
    path = folder / "annotations" / "instances_train2017.json"
    path.write_text(content)
    with pytest.raises(FailureError) as caught:
        load_detection(f"coco:{folder}", folder)
    assert words in caught.value.message
    assert path.name in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize("part", ["train", "val"])
@pytest.mark.parametrize(
    "segmentation",
    [[], [[1, 2, 3, 4]], [[1, 2, 3, 4, 5, 6, 7]], "x", {"counts": 3, "size": [8, 12]}],
)
def test_faults_of_a_segmentation_are_told_by_its_annotation(
    folder: Path, segmentation: object, part: str
) -> None:
    path = folder / "annotations" / f"instances_{part}2017.json"
    path.write_text(json.dumps(annotations(SQUARE | {"segmentation": segmentation})))
    with pytest.raises(
        FailureError, match=rf"{path.name}: the segmentation of annotation 1"
    ) as caught:
        load_detection(f"coco:{folder}", folder)
    assert ("outlines" in caught.value.remedy) == (segmentation == [])


def test_run_lengths_of_another_image_are_told(folder: Path) -> None:
    path = folder / "annotations" / "instances_val2017.json"
    path.write_text(
        json.dumps(annotations(CROWD | {"segmentation": {"counts": [0, 96], "size": [12, 8]}}))
    )
    with pytest.raises(FailureError, match=r"annotation 3 is of an image of \(12, 8\) pixels"):
        load_detection(f"coco:{folder}", folder)


def test_a_few_images_do_not_pass_for_coco(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_coco(tmp_path / "coco")
    with pytest.raises(
        FailureError, match="2 images and 2 categories, and COCO 2017 has 118,287 and 80"
    ) as caught:
        load_detection("coco", tmp_path)
    assert f"coco:{folder}" in caught.value.remedy
    described = msgspec.structs.replace(info("coco"), train_size=2, test_size=2, classes=2)
    monkeypatch.setattr("locbench.detection.loading.info", lambda *_: described)
    # Both images are counted, though one holds nothing to learn from.
    assert len(load_detection("coco", tmp_path).train) == 1


def test_categories_that_came_later_have_no_class(folder: Path) -> None:
    assert load_detection(f"coco:{folder}", folder).info.classes == 2
    for part in ("train", "val"):
        path = folder / "annotations" / f"instances_{part}2017.json"
        content = json.loads(path.read_text())
        path.write_text(
            json.dumps(content | {"categories": [*content["categories"], {"id": 9, "name": "dog"}]})
        )
    with pytest.raises(FailureError, match="3 categories, and some") as caught:
        load_detection(f"coco:{folder}", folder)
    assert "start again" in caught.value.remedy


def test_parts_with_other_categories(folder: Path) -> None:
    content = annotations(SQUARE | {"category_id": 1}) | {"categories": [{"id": 1, "name": "dog"}]}
    (folder / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    with pytest.raises(FailureError, match="other categories"):
        load_detection(f"coco:{folder}", folder)


def write_parts(folder: Path, *objects: dict[str, Any], part: str = "val") -> Path:
    path = folder / "annotations" / f"instances_{part}2017.json"
    path.write_text(json.dumps(annotations(*objects)))
    return path


OTHER_SQUARE = SQUARE | {"id": 7, "image_id": 11}
TINY = {"id": 8, "image_id": 10, "category_id": 3, "bbox": [8, 2, 2, 4], "area": 8, "iscrowd": 0}
FAR = [[6, 2, 10, 2, 10, 7, 6, 7]]
TINY |= {"segmentation": [[8, 2, 10, 2, 10, 6, 8, 6]]}


@pytest.mark.parametrize(
    "numbers", [(0, 1, 2), (5, 5, 5), (2, 0, 2), (-1, 0, 1), (10**30, -(10**30), 0)]
)
def test_ids_of_objects_do_not_reach_the_average_precision(
    folder: Path, numbers: tuple[int, ...]
) -> None:
    objects = [
        each | {"id": number}
        for each, number in zip((SQUARE, OTHER_SQUARE, TINY), numbers, strict=True)
    ]
    write_parts(folder, *objects)
    test = load_detection(f"coco:{folder}", folder).test
    found = [target_of(test, index) for index in range(len(test))]
    perfect = [
        each | {"masks": each["masks"].bool(), "scores": torch.ones(len(each["labels"]))}
        for each in found
    ]
    assert set(average_precision(test, perfect).values()) == {100.0}


def test_ids_of_images_may_be_any_numbers(folder: Path) -> None:
    path = write_parts(
        folder, SQUARE | {"image_id": 2**70}, OTHER_SQUARE | {"image_id": 0}, TINY | {"image_id": 0}
    )
    content = json.loads(path.read_text())
    content["images"] = [
        each | {"id": number} for each, number in zip(content["images"], (2**70, 0), strict=True)
    ]
    content["images"][1] |= {"width": 12}
    path.write_text(json.dumps(content))
    test = load_detection(f"coco:{folder}", folder).test
    found = [target_of(test, index) for index in range(len(test))]
    perfect = [
        each | {"masks": each["masks"].bool(), "scores": torch.ones(len(each["labels"]))}
        for each in found
    ]
    assert set(average_precision(test, perfect).values()) == {100.0}


def test_nothing_to_find_has_no_average_precision(folder: Path) -> None:
    dataset = load_detection(f"coco:{folder}", folder).test
    empty = dataset.kept([1])
    nothing = {
        "boxes": torch.empty(0, 4),
        "scores": torch.empty(0),
        "labels": torch.empty(0, dtype=torch.int64),
    }
    assert set(average_precision(empty, [nothing]).values()) == {None}


def test_validation_images_without_an_object_are_refused(folder: Path) -> None:
    write_parts(folder, CROWD)
    with pytest.raises(FailureError, match=r"the 2 validation images of .* hold no object to find"):
        load_detection(f"coco:{folder}", folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"iscrowd": 2}, "annotation 1 has iscrowd 2"),
        ({"area": -1}, "annotation 1 has a negative or endless area"),
        ({"area": 1e11}, "annotation 1 has a negative or endless area"),
        ({"bbox": [6, 5, -4, -4]}, "annotation 1 has a negative or endless area, width or height"),
        ({"id": "1"}, "Expected `int`, got `str`"),
        ({"image_id": 10.5}, "Expected `int`, got `float`"),
        (
            {"bbox": [6, 2, 10, 7], "segmentation": FAR},
            "1 of 1 boxes fit their outlines only as left, top, right and bottom",
        ),
        (
            {"bbox": [0.5, 0.25, 1, 1], "segmentation": FAR},
            "1 of 1 boxes are not where their outlines are",
        ),
        (
            {"segmentation": {"counts": [66, 4, 6, 2, 17], "size": [8, 12]}},
            "has runs of 95 pixels in all",
        ),
        ({"segmentation": {"counts": [100, -4], "size": [8, 12]}}, "has runs of 96 pixels in all"),
        ({"segmentation": {"counts": "", "size": [8, 12]}}, "has runs of 0 pixels in all"),
        (
            {"segmentation": {"counts": "R2460~", "size": [8, 12]}},
            "has a character that no run lengths have",
        ),
    ],
)
@pytest.mark.parametrize("part", ["train", "val"])
def test_what_pycocotools_would_misread_is_refused(
    folder: Path, changes: dict[str, Any], words: str, part: str
) -> None:
    path = write_parts(folder, SQUARE | changes, part=part)
    with pytest.raises(FailureError) as caught:
        load_detection(f"coco:{folder}", folder)
    assert words in caught.value.message
    assert path.name in caught.value.message


def test_an_image_that_is_listed_twice_is_refused(folder: Path) -> None:
    path = write_parts(folder, SQUARE)
    content = json.loads(path.read_text())
    content["images"][1]["file_name"] = "ten.png"
    path.write_text(json.dumps(content))
    with pytest.raises(FailureError, match=r"1 images are listed twice or more, such as ten\.png"):
        load_detection(f"coco:{folder}", folder)


def test_compressed_runs_add_up_as_pycocotools_writes_them(folder: Path) -> None:
    from pycocotools import mask

    draws = np.random.default_rng(0)
    for share in (0.01, 0.5, 0.99):
        drawn = np.asfortranarray((draws.random((8, 12)) < share).astype(np.uint8))
        counts = mask.encode(drawn)["counts"].decode()
        write_parts(folder, SQUARE, TINY | {"segmentation": {"counts": counts, "size": [8, 12]}})
        test = load_detection(f"coco:{folder}", folder).test
        assert np.array_equal(mask_of(test.objects[0][1], test.pictures[0]), drawn)
        write_parts(
            folder, SQUARE, TINY | {"segmentation": {"counts": counts[:-1], "size": [8, 12]}}
        )
        with pytest.raises(FailureError, match="annotation 8"):
            load_detection(f"coco:{folder}", folder)
