"""A training step with sweeper's defaults beside a plain one, and a save's cost.

ResNet18 at 64 px on one thread, through Lightning's Trainer in all cases.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from bench import reasons
from bench.page import ROOT, Goal, Section, table

SIZE, BATCH, CLASSES = 64, 64, 42
EPOCH_IMAGES = 2000
WARM, COUNTED = 2, 8  # batches
SAVES = 4


def loader(batches: int) -> Any:
    """Made-up batches in the form of `sweeper.vision.dataset`."""
    import torch
    from torch.utils.data import DataLoader

    class Made(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return batches

        def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
            made = torch.Generator().manual_seed(index)
            return {
                "images": torch.randn(BATCH, 3, SIZE, SIZE, generator=made),
                "labels": torch.randint(CLASSES, (BATCH,), generator=made),
                "indices": torch.arange(BATCH),
            }

    return DataLoader(Made(), batch_size=None)


def _config(*overrides: str) -> Any:
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("train", list(overrides))


def _parts(*overrides: str) -> tuple[Any, Any]:
    """The model and the trainer's maker of composed configs."""
    from hydra.utils import instantiate

    config = _config(*overrides)
    config.model.num_classes, config.model.image_size = CLASSES, SIZE
    config.trainer.default_root_dir = "."
    return instantiate(config.model), instantiate(config.trainer, _partial_=True)


PLAIN = ("model.channels_last=false", "model.fused=false", "trainer=cpu")
WAYS = {"plain": PLAIN, "sweeper": ()}


def step(way: str) -> dict[str, float]:
    """Images a second of training steps."""
    import torch
    from lightning.pytorch.callbacks import Callback

    torch.set_num_threads(1)
    times: list[float] = []

    class Clock(Callback):
        def on_train_batch_end(self, *_: object) -> None:
            times.append(time.perf_counter())

    model, make = _parts("model=resnet18", "model.pretrained=false", *WAYS[way])
    trainer = make(callbacks=[Clock()], max_epochs=1)
    trainer.fit(model, loader(WARM + COUNTED))
    assert trainer.global_step == WARM + COUNTED
    seconds = (times[-1] - times[WARM - 1]) / COUNTED
    return {
        "images": BATCH / seconds,
        "loss": float(trainer.logged_metrics["train/loss_step"]),
    }


def checkpoint(_: str) -> dict[str, float]:
    """Seconds that an exact-resume checkpoint keeps a training from going on."""
    import torch

    from sweeper.protocol import TrialSpec
    from sweeper.trial import active_trial, worker
    from sweeper.trial.active_trial import ActiveTrial
    from sweeper.trial.exact_resume import saver

    torch.set_num_threads(1)
    spent: list[float] = []
    original = saver.Saver._save

    def timed(self: Any, *given: Any) -> None:
        begin = time.perf_counter()
        original(self, *given)
        spent.append(time.perf_counter() - begin)

    saver.Saver._save = timed  # type: ignore[method-assign]  # a clock around it
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        spec = TrialSpec(
            id="0123456789",
            number=0,
            sweep="bench",
            target="bench:none",
            config=str(ROOT / "conf" / "train.yaml"),
            overrides=(),
            params={},
            seed=0,
            folder=folder,
            project=folder,
            metric="train/loss",
            mode="min",
            wandb={"mode": "disabled"},
        )
        trial = ActiveTrial(spec=spec)
        worker.prepare(spec, trial.paths)
        active_trial.activate(trial)
        model, make = _parts("model=resnet18", "model.pretrained=false")
        trainer = make(max_epochs=SAVES + 1)
        trainer.fit(model, loader(1))
        active_trial.activate(None)
        last = trial.paths.resume / "last.ckpt"
        size = last.stat().st_size
        assert trainer.current_epoch == SAVES + 1
        assert len(spent) == SAVES
    return {"seconds": statistics.median(spent), "bytes": float(size)}


def measure(way: str) -> dict[str, float]:
    """One way in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.training", way],
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def section(rounds: int) -> Section:
    """Both steps and the save, `rounds` times in turn."""
    found: dict[str, list[dict[str, float]]] = {}
    for _ in range(rounds):
        for way in (*WAYS, "checkpoint"):
            found.setdefault(way, []).append(measure(way))
            print(f"training: {way}: {found[way][-1]}", flush=True)
    rates = {way: statistics.median(f["images"] for f in found[way]) for way in WAYS}
    pairs = list(zip(found["sweeper"], found["plain"], strict=True))
    gain = statistics.median(mine["images"] / plain["images"] for mine, plain in pairs)
    for mine, plain in pairs:
        assert abs(mine["loss"] - plain["loss"]) < 0.05 * plain["loss"], (mine, plain)
    saves = zip(found["checkpoint"], found["sweeper"], strict=True)
    share = statistics.median(
        100 * save["seconds"] / (EPOCH_IMAGES / mine["images"]) for save, mine in saves
    )
    seconds = statistics.median(f["seconds"] for f in found["checkpoint"])
    size = found["checkpoint"][0]["bytes"] / 1e6
    rows = [
        ["plain: fp32, contiguous, AdamW", f"{rates['plain']:.0f}", "1"],
        ["sweeper's defaults", f"{rates['sweeper']:.0f}", f"{gain:.2f}"],
    ]
    lines = table(["ResNet18, 64 px, one thread", "images/s", "/ plain"], rows)
    lines += [
        "",
        f"An exact-resume checkpoint ({size:.0f} MB) keeps the training waiting for "
        f"{seconds:.3f} s: {share:.2f} % of an epoch of {EPOCH_IMAGES} images.",
    ]
    goals = [
        Goal(
            text="training step beside the plain one",
            value=gain,
            limit=1.5,
            is_floor=True,
            reason=reasons.TRAINING,
        ),
        Goal(
            text=f"checkpoint, of an epoch of {EPOCH_IMAGES} images",
            value=share,
            limit=3,
            unit="%",
        ),
    ]
    return Section(title="Training", lines=lines, goals=goals)


if __name__ == "__main__":
    way = sys.argv[1]
    print(json.dumps(checkpoint(way) if way == "checkpoint" else step(way)))
