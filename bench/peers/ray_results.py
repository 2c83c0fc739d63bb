"""Ray Tune with reuse_actors: trials that report ten times and do nothing else."""

import json
import os
import sys
import time
from pathlib import Path

os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = "2"

import ray
from ray import tune


def trial(config: dict[str, float]) -> None:
    for epoch in range(1, int(config["reports"]) + 1):
        tune.report({"acc": 0.5 + epoch / 100, "loss": 0.5, "epoch": epoch})


def main() -> None:
    out, count, reports = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    space = {"x": tune.grid_search(list(range(count))), "reports": reports}
    tuner = tune.Tuner(
        tune.with_resources(trial, {"cpu": 1}),
        param_space=space,
        tune_config=tune.TuneConfig(metric="acc", mode="max", reuse_actors=True),
        run_config=tune.RunConfig(name="ray", storage_path=str(out), verbose=0),
    )
    begin = time.perf_counter()
    found = tuner.fit()
    spent = time.perf_counter() - begin
    assert len(found) == count
    assert all(result.metrics["epoch"] == reports for result in found)
    begin = time.perf_counter()
    again = tune.Tuner.restore(str(out / "ray"), trial, resume_errored=True).fit()
    resumed = time.perf_counter() - begin
    assert len(again) == count
    files = [path for path in (out / "ray").rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    row = {"spent": spent, "resume_seconds": resumed, "size": size, "files": len(files)}
    print(json.dumps(row), flush=True)
    ray.shutdown()


if __name__ == "__main__":
    main()
