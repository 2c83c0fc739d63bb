"""Counts and sizes are those of the images, before they are scaled."""

import json

from PIL import Image

from sweeper.vision.callbacks.dataset_statistics import DatasetStatistics
from sweeper.vision.jersey import JerseyData
from tests.vision_callbacks.fitting import RandomData, fit, is_picture


def test_classes_of_both_splits_are_counted(tmp_path):
    data = RandomData()
    fit([DatasetStatistics(str(tmp_path))], tmp_path, data=data)
    written = json.loads((tmp_path / "dataset_statistics.json").read_text())
    assert written["train"]["classes"] == {"0": 20, "1": 10, "2": 10}
    assert written["train"]["largest_to_smallest_class"] == 2
    assert written["valid"]["images"] == 18
    assert is_picture(tmp_path / "dataset_statistics.png")


def test_sizes_are_those_of_the_files(tmp_path):
    sizes = [(20, 30), (10, 44), (40, 31)]
    for split in ("train", "valid"):
        (tmp_path / split).mkdir()
        with (tmp_path / split / "annotations.jsonl").open("w") as file:
            for number, size in enumerate(sizes):
                Image.new("RGB", size).save(tmp_path / split / f"{number}.png")
                row = {"image": f"{number}.png", "suffix": str(number % 2)}
                file.write(json.dumps(row) + "\n")
    data = JerseyData(root=tmp_path, image_size=8, num_workers=0, batch_size=2)
    fit([DatasetStatistics(str(tmp_path))], tmp_path, data=data, max_epochs=1)
    written = json.loads((tmp_path / "dataset_statistics.json").read_text())
    for split in ("train", "valid"):
        assert written[split]["width"] == {"least": 10, "median": 20, "greatest": 40}
        assert written[split]["height"] == {"least": 30, "median": 31, "greatest": 44}
