"""Data modules: settings, splits, labels, sampling, batches, errors."""

import json
import logging
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.demos.boring_classes import BoringModel
from omegaconf import OmegaConf
from PIL import Image
from torch._utils import ExceptionWrapper
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from sweeper.vision.batched import BatchedCrop, BatchedFlip, BatchedLight
from sweeper.vision.digits import DigitsData
from sweeper.vision.images import DataError
from sweeper.vision.jersey import JerseyData, SyntheticJerseyData
from sweeper.vision.settings import DigitsConfig, JerseyConfig
from sweeper.vision.train import without_irrelevant_warnings

COUNTS = {"7": 6, "10": 2, "00": 1}


def make_root(folder: Path) -> Path:
    """Crops of three classes, unevenly many, in every split."""
    for split in ("train", "valid", "test"):
        (folder / split).mkdir(parents=True)
        rows = []
        for label, count in COUNTS.items():
            for index in range(count):
                name = f"{label}_{index}.png"
                colour = (40 * index, len(label) * 50, 90)
                Image.new("RGB", (20, 10), colour).save(folder / split / name)
                rows.append({"image": name, "suffix": label})
        lines = [json.dumps(row) + "\n" for row in rows]
        (folder / split / "annotations.jsonl").write_text("".join(lines))
    return folder


def make_data(tmp_path: Path, **settings: object) -> JerseyData:
    root = tmp_path / "jersey"
    if not root.exists():
        make_root(root)
    small = {"image_size": 8, "num_workers": 0, "batch_size": 4}
    return JerseyData(root=str(root), **{**small, **settings})


def epoch(loader: DataLoader, seed: int) -> list[torch.Tensor]:
    torch.manual_seed(seed)
    return [torch.cat([b["indices"], b["images"].flatten()]) for b in loader]


def test_classes_and_their_counts_are_read_from_the_train_split(tmp_path):
    data = make_data(tmp_path)
    data.setup("fit")
    assert data.class_names == ("00", "7", "10")
    assert (data.num_classes, data.class_counts) == (3, (1, 6, 2))
    assert data.train_labels == (1,) * 6 + (2,) * 2 + (0,)


def test_a_batch_has_float_images_labels_and_indices(tmp_path):
    batch = next(iter(make_data(tmp_path).val_dataloader()))
    assert batch["images"].shape == (4, 3, 8, 8)
    assert batch["images"].dtype == torch.float32
    assert (batch["labels"].dtype, batch["indices"].tolist()) == (
        torch.long,
        [0, 1, 2, 3],
    )


@pytest.mark.parametrize("cached", [False, True])
def test_an_item_is_what_its_batch_holds(tmp_path, cached):
    data = make_data(tmp_path, cache_images=cached)
    item = data.dataset("valid")[2]
    batch = next(iter(data.val_dataloader()))
    assert torch.equal(item["images"], batch["images"][2])
    assert (item["labels"], item["indices"]) == (1, 2)


def test_cached_images_are_the_files_images(tmp_path):
    plain, cached = make_data(tmp_path), make_data(tmp_path, cache_images=True)
    for left, right in zip(
        plain.val_dataloader(), cached.val_dataloader(), strict=True
    ):
        assert torch.equal(left["images"], right["images"])


@pytest.mark.parametrize("weighted", [False, True])
def test_an_epoch_is_a_function_of_the_global_seed(tmp_path, weighted):
    jitter = (v2.ColorJitter(brightness=0.5), v2.RandomErasing(p=0.5))
    data = make_data(tmp_path, weighted_sampler=weighted, augmentations=jitter)
    first, other = (epoch(data.train_dataloader(), seed) for seed in (1, 2))
    again = epoch(data.train_dataloader(), 1)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_augmentations_leave_the_valid_split_alone(tmp_path):
    data = make_data(tmp_path, augmentations=[v2.RandomErasing(p=1.0)])
    plain = make_data(tmp_path)
    left = next(iter(data.val_dataloader()))["images"]
    assert torch.equal(left, next(iter(plain.val_dataloader()))["images"])


def test_the_weighted_sampler_draws_each_class_equally_often(tmp_path):
    data = make_data(tmp_path, weighted_sampler=True)
    torch.manual_seed(0)
    loader = data.train_dataloader()
    drawn = torch.cat([batch["labels"] for _ in range(100) for batch in loader])
    shares = torch.bincount(drawn, minlength=3) / len(drawn)
    assert shares.tolist() == pytest.approx([1 / 3] * 3, abs=0.05)


def test_a_single_image_left_over_is_not_a_training_batch(tmp_path):
    batches = list(make_data(tmp_path).train_dataloader())  # 9 images, 4 a batch
    assert [len(batch["labels"]) for batch in batches] == [4, 4]
    batches = list(make_data(tmp_path, batch_size=5).train_dataloader())
    assert [len(batch["labels"]) for batch in batches] == [5, 4]


def test_metadata_and_places_stay_with_the_rows(tmp_path):
    data = SyntheticJerseyData(root=tmp_path, num_classes=2, num_images=10)
    data.prepare_data()
    row = data.dataset("test").rows[1]
    assert row.metadata["font"].startswith("DejaVu")
    assert row.place.endswith("test/annotations.jsonl:2")
    assert data.dataset("test").size(1) == (32, 32)


def test_a_batch_is_augmented_on_the_device_as_in_the_loader(tmp_path):
    recipe = [BatchedCrop(2), BatchedFlip(), BatchedLight(0.3, 0.3)]
    here = make_data(tmp_path, augmentations=recipe, augment_on="loader")
    there = make_data(tmp_path, augmentations=recipe, augment_on="device")
    for data in (here, there):
        data.setup("fit")
    for seed in (1, 2):
        torch.manual_seed(seed)
        expected = list(here.train_dataloader())
        torch.manual_seed(seed)
        for plain, sent in zip(expected, there.train_dataloader(), strict=True):
            assert sent["images"].dtype == torch.uint8
            found = there.on_after_batch_transfer(sent, 0)
            assert torch.equal(found["images"], plain["images"])
            assert torch.equal(found["indices"], plain["indices"])


def test_a_training_that_augments_on_its_device_sees_the_same_batches(tmp_path):
    def seen(place):
        batches = []

        class Model(BoringModel):
            def __init__(self):
                super().__init__()
                self.layer = torch.nn.Linear(3 * 8 * 8, 2)

            def training_step(self, batch, batch_idx):
                batches.append(batch["images"])
                return self.step(batch["images"].flatten(1))

            def validation_step(self, batch, batch_idx):
                assert batch["images"].dtype == torch.float32

        recipe = [BatchedCrop(2), BatchedLight(0.3, 0.3)]
        data = make_data(tmp_path, augmentations=recipe, augment_on=place)
        torch.manual_seed(0)
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        )
        with without_irrelevant_warnings():
            trainer.fit(Model(), datamodule=data)
        return batches

    here, there = seen("auto"), seen("device")
    assert len(here) == len(there) == 2
    assert all(map(torch.equal, here, there))


def test_a_recipe_of_single_images_cannot_run_on_the_device(tmp_path):
    data = make_data(tmp_path, augmentations=[v2.RandomErasing()], augment_on="device")
    with pytest.raises(DataError, match=r"data\.augment_on: 'device': only recipes"):
        data.train_dataloader()


def test_an_unreadable_image_is_named_with_its_row(tmp_path):
    data = make_data(tmp_path)
    broken = tmp_path / "jersey" / "valid" / "7_2.png"
    broken.write_bytes(broken.read_bytes()[:50])
    place = r"jersey/valid/annotations\.jsonl:3: image .*7_2\.png: cannot be read"
    with pytest.raises(DataError, match=place):
        list(data.val_dataloader())


def test_an_error_of_a_loader_worker_keeps_its_type_and_message():
    try:
        raise DataError("a.jsonl:3: broken")
    except DataError:
        wrapped = ExceptionWrapper(where="in worker 0")
    with pytest.raises(DataError, match=r"a\.jsonl:3: broken"):
        wrapped.reraise()


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
def test_loader_workers_change_no_image(tmp_path):
    alone, helped = make_data(tmp_path), make_data(tmp_path, num_workers=2)
    for left, right in zip(
        alone.val_dataloader(), helped.val_dataloader(), strict=True
    ):
        assert torch.equal(left["images"], right["images"])


def test_a_class_that_train_lacks_is_named_with_its_row(tmp_path):
    file = make_root(tmp_path / "jersey") / "test" / "annotations.jsonl"
    with file.open("a") as lines:
        lines.write('{"image": "7_0.png", "suffix": "77"}\n')
    data = make_data(tmp_path)
    data.setup("fit")
    with pytest.raises(DataError, match=rf"^{file}:10: class '77' is not in the train"):
        data.setup("test")


def test_a_missing_split_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none/train: no such folder"):
        JerseyData(root=tmp_path / "none").setup("fit")


def test_one_class_is_too_few(tmp_path):
    folder = tmp_path / "train"
    folder.mkdir()
    (folder / "annotations.jsonl").write_text('{"image": "a.png", "suffix": "7"}\n')
    with pytest.raises(DataError, match="the train split has one class, '7'"):
        JerseyData(root=tmp_path).setup("fit")


def test_a_config_object_a_mapping_and_keywords_make_the_same_data(tmp_path):
    made = [
        JerseyData(JerseyConfig(root=tmp_path, batch_size=32)),
        JerseyData({"root": str(tmp_path), "batch_size": 32}),
        JerseyData(OmegaConf.create({"root": str(tmp_path), "batch_size": 32})),
        JerseyData(root=tmp_path, batch_size=32),
        JerseyData(JerseyConfig(root=tmp_path), batch_size=32),
    ]
    assert len({data.config for data in made}) == 1


def test_extra_keys_are_accepted_and_named(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        data = JerseyData(root=tmp_path, num_classes=42, name="jersey")
    assert data.config == JerseyConfig(root=tmp_path)
    assert "without effect here: name, num_classes" in caplog.text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": "many"}, r"data\.batch_size: 'many': .*valid integer"),
        ({"batch_size": True}, r"data\.batch_size: True: .*valid integer"),
        ({"batch_size": 0}, r"data\.batch_size: 0: .*greater than 0"),
        ({"num_workers": -1}, r"data\.num_workers: -1: .*greater than or equal to 0"),
        ({"weighted_sampler": "yes"}, r"data\.weighted_sampler: 'yes': .*boolean"),
        ({"augmentations": ["flip"]}, r"data\.augmentations\.0: 'flip': .*Module"),
        (
            {"batchsize": 3},
            r"data\.batchsize: no such setting; did you mean 'batch_size'",
        ),
        (
            {"batch_size": 0, "image_size": 0},
            r"data\.batch_size: 0.*; data\.image_size: 0",
        ),
    ],
)
def test_a_wrong_setting_is_one_clear_error(settings, message):
    with pytest.raises(DataError, match=message):
        DigitsData(**settings)


def test_a_setting_without_default_must_be_set():
    with pytest.raises(DataError, match=r"data\.root: missing; set it"):
        JerseyData()


def test_digits_are_split_by_class_and_share_nothing():
    data = DigitsData(DigitsConfig(batch_size=100))
    splits = [data.dataset(split) for split in ("train", "valid", "test")]
    places = [row.place for split in splits for row in split.rows]
    assert len(places) == len(set(places)) == 1797
    for split, share in zip(splits, (0.7, 0.2, 0.1), strict=True):
        counts = torch.bincount(torch.tensor(split.labels), minlength=10) / 1797
        assert counts.tolist() == pytest.approx([share / 10] * 10, abs=0.005)
    batch = next(iter(data.val_dataloader()))
    assert batch["images"].shape == (100, 3, 32, 32)
