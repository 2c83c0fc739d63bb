"""The project's config as a test composes it."""

from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

CONF = Path(__file__).resolve().parents[2] / "conf"


def composed(folder: Path, *overrides: str) -> DictConfig:
    """conf/train.yaml with data and output below `folder`."""
    fixed = [f"paths.output_dir={folder}/out", f"paths.data_dir={folder}/data"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", [*fixed, *overrides])
