"""Ray Tune, as its documentation shows; `reuse` keeps its actors."""

import sys
import tempfile
from pathlib import Path

from ray import tune


def trial(config: dict[str, float]) -> None:
    import work

    context = tune.get_context()
    folder = Path(config["out"]) / str(context.get_trial_id())

    def report(epoch: int, value: float) -> None:
        with tempfile.TemporaryDirectory() as saved:
            (Path(saved) / "epoch").write_text(str(epoch))
            checkpoint = tune.Checkpoint.from_directory(saved)
            tune.report({"acc": value, "epoch": epoch}, checkpoint=checkpoint)

    work.fit(folder, width=int(config["width"]), rate=config["rate"], report=report)


if __name__ == "__main__":
    out = Path(sys.argv[1])
    tuner = tune.Tuner(
        tune.with_resources(trial, {"cpu": 1}),
        param_space={
            "width": tune.grid_search([16, 32, 48, 64]),
            "rate": tune.grid_search([1e-3, 2e-3, 5e-3, 1e-2]),
            "out": str(out),
        },
        tune_config=tune.TuneConfig(
            metric="acc", mode="max", reuse_actors=sys.argv[2] == "reuse"
        ),
        run_config=tune.RunConfig(storage_path=str(out / "ray"), verbose=0),
    )
    found = tuner.fit()
    assert len(found) == 16
