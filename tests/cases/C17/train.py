"""A project that trains with any strategy and number of devices."""

import hydra
import lightning as L
from omegaconf import DictConfig
from toy import QUIET, DieOnce, Net, digest, loaders, note


@hydra.main(config_path="conf", config_name="config", version_base="1.3")
def main(cfg: DictConfig) -> None:
    L.seed_everything(cfg.seed)
    settings = {
        **QUIET,
        "devices": cfg.devices,
        "strategy": cfg.strategy,
        "num_nodes": cfg.num_nodes,
        "callbacks": [DieOnce(1)],
    }
    net = Net(cfg.lr)
    trainer = L.Trainer(max_epochs=cfg.epochs, **settings)
    trainer.fit(net, *loaders())
    note(steps=trainer.global_step, weights=digest(net))


if __name__ == "__main__":
    main()
