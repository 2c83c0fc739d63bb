"""Whole sweeps made without training, for the tests of the views."""

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from sweeper.journal.record import Attempt, Cause, Failure, State, Sweep, TrialRecord
from sweeper.protocol import FailureKind, Params, TrialSpec
from sweeper.system.identity import trial_id
from tests.helpers import make_experiment

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
SCRIPT = "<script>document.title='run'</script>"
MODELS = ("resnet18", "resnet50", SCRIPT)


def make_trials(
    count: int, *, epochs: int = 12, models: tuple[str, ...] = MODELS
) -> tuple[TrialRecord, ...]:
    """Trials over model, rate and batch size; some are cut, some are pruned."""
    rng = np.random.default_rng(0)
    trials = []
    for number in range(count):
        params: Params = {
            "model": models[number % len(models)],
            "model.learning_rate": float(f"{10 ** rng.uniform(-5, -2):.7g}"),
            "data.batch_size": int(rng.choice([32, 64, 128])),
        }
        trials.append(_trial(number, params, rng, epochs=epochs))
    return tuple(trials)


def _trial(
    number: int, params: Params, rng: np.random.Generator, *, epochs: int
) -> TrialRecord:
    rate = float(str(params["model.learning_rate"]))
    top = 0.95 - 0.05 * abs(math.log10(rate) + 3.3) + float(rng.normal(0, 0.01))
    is_pruned = number % 4 == 3
    last = epochs // 3 if is_pruned else epochs
    values = {e: top * (1 - math.exp(-e / 3)) for e in range(1, last + 1)}
    begin = NOON + timedelta(seconds=40 * (number // 4))
    busy = 12.0 if is_pruned else 30.0
    attempts = [Attempt(slot=f"s-{number % 4}", started_at=begin, busy_seconds=busy)]
    if number % 7 == 2:
        again = begin + timedelta(seconds=15)
        lost = Failure(kind=FailureKind.LOST, message="the process died", step=3)
        first = replace(attempts[0], busy_seconds=9.0, cause=Cause.FAILED, failure=lost)
        second = Attempt(slot="s-9", started_at=again, busy_seconds=busy - 9.0)
        attempts = [first, second]
    return TrialRecord(
        number=number,
        id=trial_id(params, seed=number),
        params=params,
        seed=number,
        state=State.PRUNED if is_pruned else State.COMPLETE,
        values=values,
        attempts=tuple(attempts),
    )


def make_sweep(folder: Path, trials: tuple[TrialRecord, ...], **keys: object) -> Sweep:
    """A sweep of these trials."""
    content: dict[str, object] = {
        "notes": f"Does the big model need a smaller rate? {SCRIPT}",
        "search_space": {
            "model": [1],
            "model.learning_rate": [1],
            "data.batch_size": [1],
        },
        "objective": {"metric": "val/acc_top1", "mode": "max"},
    }
    loaded = make_experiment(folder, **{**content, **keys})
    return Sweep(experiment=loaded, trials=trials, folder=folder / "sweeps" / "toy")


def two_objectives(folder: Path) -> Sweep:
    """A sweep of accuracy against a latency that grows with the batch and the model."""
    made = []
    for trial in make_trials(24, models=("resnet18", "resnet50", "small_cnn")):
        slow = {"resnet18": 4.0, "resnet50": 9.0, "small_cnn": 1.5}
        batch = float(str(trial.params["data.batch_size"]))
        latency = slow[str(trial.params["model"])] * (0.6 + batch / 128)
        worth = {"resnet18": 0.0, "resnet50": 0.02, "small_cnn": -0.05}
        level = worth[str(trial.params["model"])]
        values = {epoch: value + level for epoch, value in trial.values.items()}
        others = dict.fromkeys(values, (latency,))
        made.append(replace(trial, values=values, others=others))
    latency_ms = {"metric": "latency_ms", "mode": "min"}
    return make_sweep(
        folder,
        tuple(made),
        notes="How much accuracy does a millisecond buy?",
        objective=[{"metric": "val/acc_top1", "mode": "max"}, latency_ms],
    )


def all_failed(folder: Path) -> Sweep:
    """A sweep of which nothing came, with tracebacks of two kinds."""
    made = []
    for trial in make_trials(6, epochs=2):
        message = f"RuntimeError: size {trial.number} of {SCRIPT}"
        failure = Failure(kind=FailureKind.ERROR, message=message)
        attempt = replace(
            trial.attempts[0], cause=Cause.FAILED, failure=failure, busy_seconds=2.0
        )
        failed = replace(trial, state=State.FAILED, values={}, attempts=(attempt,))
        made.append(failed)
    sweep = make_sweep(folder, tuple(made))
    for trial in made:
        line = 10 + trial.number % 2
        error = sweep.paths.trial(trial.id).error
        error.parent.mkdir(parents=True)
        error.write_text(
            f'Traceback\n  File "net.py", line {line}, in forward\n    x\n'
            f"RuntimeError: size {trial.number}\n"
        )
    return sweep


def write_files(sweep: Sweep, trials: tuple[TrialRecord, ...]) -> None:
    """Config, spec, checkpoint and pictures of each trial."""
    for trial in trials:
        paths = sweep.paths.trial(trial.id)
        paths.artifacts.mkdir(parents=True)
        paths.checkpoints.mkdir()
        paths.best.write_bytes(b"weights")
        config = {**trial.params, "note": SCRIPT}
        paths.config.write_text(yaml.safe_dump(config))
        paths.spec.write_text(_spec(trial, paths.folder).to_json())
        Image.effect_noise((900, 700), 60).save(paths.artifacts / "samples_worst.png")
        (paths.artifacts / "broken.png").write_bytes(b"no picture")
        counts = [[30, 2], [1, 40]]
        matrix = {"epoch": 3, "classes": ["7", "<b>17</b>"], "counts": counts}
        (paths.artifacts / "confusion_matrix.json").write_text(json.dumps(matrix))


def _spec(trial: TrialRecord, folder: Path) -> TrialSpec:
    return TrialSpec(
        id=trial.id,
        number=trial.number,
        sweep="toy",
        target="sweeper.vision.train:train",
        config="/project/conf/train.yaml",
        overrides=tuple(f"{key}={value}" for key, value in trial.params.items()),
        params=trial.params,
        seed=trial.seed,
        folder=str(folder),
        project="/project",
        metric="val/acc_top1",
        mode="max",
    )


# Experiment files as text: the least, and one with most keys.
SMALLEST = "search_space: {x: [1, 2]}\nobjective: {metric: acc}\n"
FULL = """\
name: lr_sweep
notes: "Does the big model need a smaller learning rate? a: b"
target: sweeper.vision.train:train
config: conf/train.yaml
overrides: [trainer.max_epochs=20]
search_space:
  model: resnet18, resnet50
  model.learning_rate: tag(log, interval(1e-5, 1e-2))
  data.batch_size: [32, 64, 128]
  model.head: [{depth: 2, widths: [8, 1e-3]}, null, true, '1e-3', 'null', 0x1f]
variants:
  plain: [transforms=default]
  smooth: [transforms=strong, model.label_smoothing=0.1]
where: "not (model == 'resnet50' and data.batch_size > 64)"
baseline:
  {model: resnet18, model.learning_rate: 1e-3, data.batch_size: 64, model.head: null,
   variant: plain}
seeds: [42, 43, 44]
objective: {metric: val/acc_top1, mode: max}
search: tpe
scheduler: {_target_: optuna.pruners.MedianPruner, n_warmup_steps: 2}
budget: {trials: 40, gpu_hours: 12, wall_hours: 8}
resources: {gpus: 0.25, cpus: auto, accelerator: T4}
retry: {oom: 2, lost: 3, error: 0}
wandb: {project: jersey-numbers, mode: auto, tags: [phase-13]}
env: {OMP_NUM_THREADS: 1, MODE: "on"}
chdir: false
"""
