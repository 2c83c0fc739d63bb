"""One training from one config: data, model, callbacks, loggers and trainer.

The config groups under conf/ choose all parts. The output folder is the config's
`paths.output_dir`; a second call with the same folder resumes from the last checkpoint.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import hydra
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.pytorch import (
    LightningDataModule,
    LightningModule,
    Trainer,
    seed_everything,
)
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import DictConfig

from sweeper.vision.heap import keep_freed_memory
from sweeper.vision.registry import check_names

PACKAGE = Path(__file__).resolve().parent.parent
CONF = PACKAGE / "conf" if (PACKAGE / "conf").is_dir() else PACKAGE.parent / "conf"

# Keys of the model's config that are read from the data if they are null.
FROM_DATA = ("num_classes", "class_names", "class_counts", "image_size")

# Regular expressions of warnings that are irrelevant for this project's trainings.
IRRELEVANT = (
    # Lightning's own use of torch's tree utilities.
    r"`isinstance\(treespec, LeafSpec\)` is deprecated.*",
    # Small data sets are decoded once and need no loader workers.
    r".*does not have many workers which may be a bottleneck.*",
    # A training of few batches logs few lines; that is expected.
    r"The number of training batches \(\d+\) is smaller than the logging interval.*",
    # The training is meant to join a run that is open already.
    r"There is a wandb run already in progress.*",
    # 16-mixed: the scaler skips the first steps until it has a scale for the loss.
    r"Detected call of `lr_scheduler.step\(\)` before `optimizer.step\(\)`.*",
    # The folder is the same at each start, so that a training can resume.
    r"Checkpoint directory .* exists and is not empty.*",
)


def train(cfg: DictConfig) -> None:
    """Fit the model of a composed config, then test its best epoch if `cfg.test`."""
    check_names()
    keep_freed_memory()
    seed_everything(cfg.seed, workers=True, verbose=False)
    data = cast(LightningDataModule, make(cfg.data))
    data.prepare_data()
    data.setup("fit")
    model = make_model(cfg.model, data)
    callbacks = parts(cfg.get("callbacks"))
    loggers = parts(cfg.get("logging"))
    make_trainer = cast(Callable[..., Trainer], make(cfg.trainer, _partial_=True))
    with without_irrelevant_warnings():
        trainer = make_trainer(callbacks=callbacks, logger=loggers)
        last = Path(cfg.paths.output_dir, "checkpoints", "last.ckpt")
        ckpt_path = "last" if last.exists() else None
        trainer.fit(model, datamodule=data, ckpt_path=ckpt_path)
        if cfg.get("test"):
            trainer.test(model, datamodule=data, ckpt_path=best_checkpoint(trainer))


def make(node: DictConfig, **arguments: object) -> object:
    """Instantiate a config node; unwrap a ValueError that its class raises.

    Raises:
        ValueError: the object's own error about an argument, without Hydra's wrapper.
    """
    try:
        return instantiate(node, **arguments)
    except InstantiationException as error:
        cause = error.__cause__
        if not isinstance(cause, ValueError):
            raise
    raise cause  # outside of except, so that Hydra's error is not its context


def make_model(node: DictConfig, data: LightningDataModule) -> LightningModule:
    """Make the model; keys of `FROM_DATA` that are null are read from the data."""
    unset = [key for key in FROM_DATA if key in node and node[key] is None]
    known = {key: getattr(data, key) for key in unset if hasattr(data, key)}
    return cast(LightningModule, make(node, _convert_="all", **known))


def parts(group: DictConfig | None) -> list[object]:
    """Instantiate the nodes of a group; null nodes are left out."""
    nodes = (group or {}).values()
    return [make(node) for node in nodes if node is not None]


def best_checkpoint(trainer: Trainer) -> str | None:
    """Return the path of the best epoch's checkpoint; None if there is none."""
    paths = [
        callback.best_model_path
        for callback in trainer.checkpoint_callbacks
        if isinstance(callback, ModelCheckpoint) and callback.best_model_path
    ]
    return paths[0] if paths else None


@contextmanager
def without_irrelevant_warnings() -> Iterator[None]:
    """Ignore the warnings of `IRRELEVANT`."""
    with warnings.catch_warnings():
        for message in IRRELEVANT:
            warnings.filterwarnings("ignore", message=message)
        yield


@hydra.main(config_path=str(CONF), config_name="train", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Train with Hydra: `python -m sweeper.vision.train model=resnet50 ...`."""
    train(cfg)


if __name__ == "__main__":
    main()
