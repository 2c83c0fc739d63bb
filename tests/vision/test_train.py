"""A training from its config: learns, goes on, is tested and predicts."""

import csv
import json
from pathlib import Path

import pytest
import torch
from hydra.errors import InstantiationException
from omegaconf import open_dict
from PIL import Image

from sweeper import cli
from sweeper.vision.classifier import Classifier
from sweeper.vision.digits import DigitsData
from sweeper.vision.images import DataError
from sweeper.vision.network import NetworkError
from sweeper.vision.predict import predict
from sweeper.vision.train import make_model, train
from tests.vision.composing import composed

DIGITS = ("data=digits", "model=small_cnn", "trainer=cpu", "logging=csv")


def fit(folder: Path, *overrides: str) -> Path:
    """Train on the digits with a checkpoint of the best and last epoch; its folder."""
    cfg = composed(folder, *DIGITS, *overrides)
    with open_dict(cfg):
        cfg.callbacks = {
            "checkpoint": {
                "_target_": "lightning.pytorch.callbacks.ModelCheckpoint",
                "dirpath": f"{folder}/out/checkpoints",
                "filename": "best",
                "monitor": "val/acc_top1",
                "mode": "max",
                "save_last": True,
                "enable_version_counter": False,
            },
            "off": None,
        }
    train(cfg)
    return folder / "out"


def rows(output: Path, column: str) -> list[float]:
    with (output / "metrics" / "version_0" / "metrics.csv").open() as file:
        return [float(row[column]) for row in csv.DictReader(file) if row.get(column)]


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Path:
    """Two epochs on a part of the digits, tested."""
    folder = tmp_path_factory.mktemp("digits")
    limit = "+trainer.limit_train_batches=15"
    return fit(folder, "trainer.max_epochs=2", "transforms=none", "test=true", limit)


@pytest.mark.slow
def test_two_epochs_on_digits_beat_chance_by_far(digits):
    assert max(rows(digits, "val/acc_top1")) > 0.6
    assert rows(digits, "test/acc_top1")[0] > 0.6


@pytest.mark.slow
def test_all_metrics_are_logged_each_epoch(digits):
    for split in ("train", "val"):
        for name in ("loss", "acc_top1", "acc_top5"):
            assert len(rows(digits, f"{split}/{name}")) == 2
    assert len(rows(digits, "train/loss_step")) == 3  # of 30 steps, each tenth


@pytest.mark.slow
def test_the_same_command_goes_on_from_the_last_checkpoint(tmp_path):
    first = ("trainer.max_epochs=1", "transforms=none")
    output = fit(tmp_path, *first, "+trainer.limit_train_batches=5")
    assert _progress(output) == (1, 5)
    fit(tmp_path, "trainer.max_epochs=2", *first[1:], "+trainer.limit_train_batches=5")
    assert _progress(output) == (2, 10)


@pytest.mark.slow
def test_a_mixed_precision_trains_with_clipped_gradients(tmp_path):
    limit = "+trainer.limit_train_batches=3"
    mixed = ("trainer.precision=bf16-mixed", "trainer.gradient_clip_val=1.0")
    output = fit(tmp_path, "trainer.max_epochs=1", "transforms=none", limit, *mixed)
    assert _progress(output) == (1, 3)


def _progress(output: Path) -> tuple[int, int]:
    """Epochs and steps of the last checkpoint, read as torch reads by default."""
    state = torch.load(output / "checkpoints" / "last.ckpt", weights_only=True)
    epochs = state["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    return epochs, state["global_step"]


@pytest.mark.slow
def test_a_checkpoint_alone_predicts_the_class_of_an_image(digits, tmp_path, capsys):
    data = DigitsData()
    dataset = data.dataset("train")
    paths = [tmp_path / f"{index}.png" for index in range(40)]
    for index, path in enumerate(paths):
        Image.fromarray(dataset.raw(index).permute(1, 2, 0).numpy()).save(path)
    found = predict(digits / "checkpoints" / "best.ckpt", paths)
    right = [
        name == data.class_names[label]
        for (name, _), label in zip(found, dataset.labels, strict=False)
    ]
    assert sum(right) > 24
    assert all(0.1 < probability <= 1 for _, probability in found)
    checkpoint = str(digits / "checkpoints" / "best.ckpt")
    assert cli.main(["predict", checkpoint, *map(str, paths)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"{path}\t{name}\t{probability:.3f}"
        for path, (name, probability) in zip(paths, found, strict=True)
    ]
    assert cli.main(["predict", checkpoint, str(paths[0]), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["image"] == str(paths[0])
    assert (row["class"], row["probability"]) == pytest.approx(found[0])
    assert cli.main(["predict", checkpoint, str(tmp_path / "none.png")]) == 2
    assert "none.png: cannot be read" in capsys.readouterr().err


def test_predicting_without_a_checkpoint_says_so(tmp_path, capsys):
    with pytest.raises(DataError, match="no such checkpoint"):
        predict(tmp_path / "last.ckpt", [])
    assert cli.main(["predict", str(tmp_path), "a.png"]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path}: no such checkpoint\n"


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": {}},
        {"hyper_parameters": Path()},  # an object: torch refuses to load it
        {"hyper_parameters": {"width": 3}, "state_dict": {}},
        {"hyper_parameters": {"name": "small_cnn", "num_classes": 3}, "state_dict": {}},
        {"hyper_parameters": {"name": "none", "num_classes": 3}, "state_dict": {}},
    ],
)
def test_a_checkpoint_of_another_model_is_named(tmp_path, content):
    path = tmp_path / "other.ckpt"
    torch.save(content, path)
    with pytest.raises(DataError, match=r"other\.ckpt: not a checkpoint of"):
        predict(path, [])
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"other\.ckpt: no checkpoint, or a torn one"):
        predict(path, [])


@pytest.mark.parametrize(
    "name", ["nowhere:predict", "sweeper.exit_codes:predict", "", ":"]
)
def test_a_predictor_that_is_not_there_is_named(name, capsys):
    arguments = ["predict", "a.ckpt", "a.png", "--predictor", name]
    assert cli.main(arguments) == 2
    assert f"error: --predictor: {name!r}: " in capsys.readouterr().err


def test_nulls_of_the_model_are_read_from_the_data(tmp_path):
    cfg = composed(tmp_path, *DIGITS, "model.class_names=[a,b,c,d,e,f,g,h,i,j]")
    model = make_model(cfg.model, DigitsData())
    assert isinstance(model, Classifier)
    assert model.num_classes == 10
    assert model.class_names == tuple("abcdefghij")
    assert sum(model.hparams["class_counts"]) == 1266
    assert type(model.hparams["class_names"]) is list  # a checkpoint holds plain values


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_classes": None}, "model.num_classes: null"),
        ({"class_names": ["a"]}, "model.class_names: 1 names for 3 classes"),
        ({"label_smoothing": 1.0}, r"model.label_smoothing: 1\.0; must be in"),
        ({"warmup_fraction": -0.1}, r"model.warmup_fraction: -0\.1; must be in"),
    ],
)
def test_a_wrong_setting_of_the_model_is_an_error(settings, message):
    with pytest.raises(ValueError, match=message):
        Classifier("small_cnn", **{"num_classes": 3, "image_size": 32, **settings})


@pytest.mark.parametrize(
    ("override", "error", "message"),
    [
        ("data.batch_size=many", DataError, r"^data\.batch_size: 'many'"),
        ("model.name=resnet19", NetworkError, r"^model\.name: no network 'resnet19'"),
        ("model.loss=hinge", ValueError, r"^model\.loss: 'hinge'"),
    ],
)
def test_a_wrong_value_in_the_config_is_one_clear_error(
    tmp_path, override, error, message
):
    with pytest.raises(error, match=message) as caught:
        fit(tmp_path, override)
    context = caught.value.__context__
    assert context is None or context.__cause__ is not caught.value  # no circle


def test_what_a_broken_target_raises_names_it(tmp_path):
    with pytest.raises(InstantiationException, match="no_such_class"):
        fit(tmp_path, "data._target_=sweeper.vision.digits.no_such_class")


@pytest.mark.parametrize("num_classes", [2, 3, 8])
def test_a_step_returns_what_callbacks_need(num_classes):
    model = Classifier("small_cnn", num_classes=num_classes, image_size=16)
    model.log = model.log_dict = lambda *_, **__: None
    batch = {
        "images": torch.randn(4, 3, 16, 16),
        "labels": torch.tensor([0, 1, 1, 0]),
        "indices": torch.arange(4),
    }
    for step in (model.training_step, model.validation_step, model.test_step):
        outputs = step(batch, 0)
        assert outputs["logits"].shape == (4, num_classes)
        assert outputs["indices"] is batch["indices"]
        assert not outputs["logits"].requires_grad
    accuracies = model.accuracies["val_split"].compute()
    assert (accuracies["val/acc_top5"] == 1) or num_classes > 5
