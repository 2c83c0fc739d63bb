"""One training from one config: data, model, callbacks, loggers and trainer.

It chooses nothing itself; the groups under conf/ do. Its output folder is the
config's `paths.output_dir`, where a second call goes on from the last checkpoint.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hydra
from hydra.utils import instantiate
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import DictConfig

from sweeper.vision.data import ImageData

PACKAGE = Path(__file__).resolve().parent.parent
CONF = PACKAGE / "conf" if (PACKAGE / "conf").is_dir() else PACKAGE.parent / "conf"

# Keys of the model's config that, where they are null, are read from the data.
FROM_DATA = ("num_classes", "class_names", "class_counts", "image_size")

# Regular expressions of warnings that hold for no training of this project.
IRRELEVANT = (
    # Lightning's own use of torch's tree utilities.
    r"`isinstance\(treespec, LeafSpec\)` is deprecated.*",
    # Small data sets are decoded once and need no loader workers.
    r".*does not have many workers which may be a bottleneck.*",
    # Less than one batch of training is less than one line in the log.
    r"The number of training batches \(\d+\) is smaller than the logging interval.*",
    # A run that was opened before is meant to be joined.
    r"There is a wandb run already in progress.*",
    # 16-mixed: the first steps are skipped while the scale of the loss is found.
    r"Detected call of `lr_scheduler.step\(\)` before `optimizer.step\(\)`.*",
    # An exact resume is the reason for a fixed folder.
    r"Checkpoint directory .* exists and is not empty.*",
)


def train(cfg: DictConfig) -> None:
    """Fit the model of a composed config, then test its best epoch if `cfg.test`."""
    seed_everything(cfg.seed, workers=True, verbose=False)
    data: ImageData = instantiate(cfg.data)
    data.prepare_data()
    data.setup("fit")
    model = make_model(cfg.model, data)
    callbacks = parts(cfg.get("callbacks"))
    loggers = parts(cfg.get("logging"))
    make_trainer = instantiate(cfg.trainer, _partial_=True)
    with without_irrelevant_warnings():
        trainer: Trainer = make_trainer(callbacks=callbacks, logger=loggers)
        last = Path(cfg.paths.output_dir, "checkpoints", "last.ckpt")
        ckpt_path = "last" if last.exists() else None
        trainer.fit(model, datamodule=data, ckpt_path=ckpt_path)
        if cfg.get("test"):
            trainer.test(model, datamodule=data, ckpt_path=best_checkpoint(trainer))


def make_model(node: DictConfig, data: ImageData) -> LightningModule:
    """The model of a config, its nulls among `FROM_DATA` filled in from the data."""
    known = {
        key: getattr(data, key)
        for key in FROM_DATA
        if key in node and node[key] is None
    }
    model: LightningModule = instantiate(node, _convert_="all", **known)
    return model


def parts(group: DictConfig | None) -> list[object]:
    """The objects of a group that maps names to nodes; a null node is left out."""
    nodes = (group or {}).values()
    return [instantiate(node) for node in nodes if node is not None]


def best_checkpoint(trainer: Trainer) -> str | None:
    """Path of the best epoch's checkpoint; None stands for the weights at the end."""
    paths = [
        callback.best_model_path
        for callback in trainer.checkpoint_callbacks
        if isinstance(callback, ModelCheckpoint) and callback.best_model_path
    ]
    return paths[0] if paths else None


@contextmanager
def without_irrelevant_warnings() -> Iterator[None]:
    """Warnings as they are set outside, but for those of `IRRELEVANT`."""
    with warnings.catch_warnings():
        for message in IRRELEVANT:
            warnings.filterwarnings("ignore", message=message)
        yield


@hydra.main(config_path=str(CONF), config_name="train", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """`python -m sweeper.vision.train model=resnet50 ...`."""
    train(cfg)


if __name__ == "__main__":
    main()
