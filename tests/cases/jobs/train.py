"""A job that writes down what Hydra gives it."""

import json
import logging
import os
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_original_cwd
from omegaconf import DictConfig, OmegaConf

import sweeper


@hydra.main(config_path="conf", config_name="config", version_base="1.1")
def main(config: DictConfig) -> float:
    """Write what is seen, and report once where it is a trial."""
    logging.getLogger("job").info("at work")
    job = HydraConfig.get()
    seen = {
        "is_in_output_dir": Path.cwd() == Path(job.runtime.output_dir),
        "original": get_original_cwd(),
        "mark": os.environ["JOB_MARK"],
        "mode": str(job.mode),
        "version_base": job.runtime.version_base,
        "name": config.name,
        "choices": OmegaConf.to_container(job.runtime.choices),
        "words": list(job.overrides.task),
    }
    (Path(config.out) / "seen.json").write_text(json.dumps(seen))
    if "SWEEPER_TRIAL" in os.environ:
        own = OmegaConf.to_container(config, resolve=True)
        (Path(config.out) / "own.json").write_text(json.dumps(own))
        sweeper.report(1, {"score": config.lr})
    if config.tag == "raise":
        raise ValueError("no")
    return config.lr * 2


if __name__ == "__main__":
    main()
