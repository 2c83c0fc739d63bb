"""Images a second of one, two and four trials that share a machine's cores.

The same files, the same augmentations (padded crop, flip, brightness and contrast) and
the same float batches, normalised: torchvision's ImageFolder with two loader workers a
trial, as people write it and in its best form, beside sweeper's decoded map with whole
batches. A trial is a process of its own that stays between rounds, so that what counts
is neither its start nor the batches that waited while it slept.
"""

import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench import reasons
from bench.page import Goal, Section, table

NUM_IMAGES, SIZE, CLASSES = 2000, 64, 10
BATCH, PADDING, LIGHT = 64, 4, 0.2
SETTLE, SECONDS = 1.0, 2.0  # batches of a pause are used up; then it counts
TRIALS = (1, 2, 4)
WAYS = ("ImageFolder", "ImageFolder, best form", "sweeper")


def render(folder: Path) -> None:
    """Write JPEG files in both layouts: a folder a class, and one annotations file."""
    import numpy as np
    from PIL import Image

    drawn = np.random.default_rng(0)
    lines = []
    for number in range(NUM_IMAGES):
        label = f"{number % CLASSES}"
        path = folder / "train" / label / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        small = drawn.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(small).resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(path)
        lines.append(json.dumps({"image": f"{label}/{path.name}", "suffix": label}))
    (folder / "train" / "annotations.jsonl").write_text("\n".join(lines) + "\n")


def image_folder(folder: Path, *, is_best: bool) -> Iterator[int]:
    """Batch sizes of a loader as its documentation shows it."""
    import torch
    from torch.utils.data import DataLoader
    from torchvision import io, transforms
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    if is_best:
        steps = v2.Compose(
            [
                v2.Resize(SIZE, antialias=True),
                v2.RandomCrop(SIZE, padding=PADDING),
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(brightness=LIGHT, contrast=LIGHT),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(mean, std),
            ]
        )
        read = io.decode_image
    else:
        steps = transforms.Compose(
            [
                transforms.Resize(SIZE),
                transforms.RandomCrop(SIZE, padding=PADDING),
                transforms.RandomHorizontalFlip(),
                transforms.ColorJitter(brightness=LIGHT, contrast=LIGHT),
                transforms.ToTensor(),
                transforms.Normalize(mean, std),
            ]
        )
        read = None
    given = {} if read is None else {"loader": read}
    data = ImageFolder(str(folder / "train"), steps, **given)
    loader = DataLoader(
        data, BATCH, shuffle=True, num_workers=2, persistent_workers=True
    )
    while True:
        for images, _ in loader:
            yield len(images)


def sweeper(folder: Path) -> Iterator[int]:
    """Batch sizes of sweeper's data module in a process as its trainings set it up."""
    from sweeper.vision.batched import BatchedCrop, BatchedFlip, BatchedLight
    from sweeper.vision.heap import keep_freed_memory
    from sweeper.vision.jersey import JerseyData

    keep_freed_memory()

    data = JerseyData(
        root=folder,
        image_size=SIZE,
        batch_size=BATCH,
        num_workers=0,
        cache_images="map",
        augmentations=[
            BatchedCrop(PADDING),
            BatchedFlip(),
            BatchedLight(LIGHT, LIGHT),
        ],
    )
    dataset = data._dataset("train", _rows(data))
    loader = data._loader(dataset, shuffle=True)
    while True:
        for batch in loader:
            yield len(batch["images"])


def _rows(data: object) -> object:
    from sweeper.vision import annotations

    rows = data.rows("train")
    data.class_names = annotations.class_names(rows)
    return rows


def count(way: str, folder: Path) -> None:
    """For each line of input, a span of the clock: images a second within it."""
    import torch

    torch.set_num_threads(1)
    if way == "sweeper":
        batches = sweeper(folder)
    else:
        batches = image_folder(folder, is_best=way != "ImageFolder")
    next(batches)
    print("ready", flush=True)
    for line in sys.stdin:
        begin, end = map(float, line.split())
        images = 0
        while (now := time.monotonic()) < end:
            size = next(batches)
            images += size if now >= begin else 0
        print(images / (time.monotonic() - begin), flush=True)


class Trials:
    """Processes that read the same data in the same way."""

    def __init__(self, way: str, folder: Path) -> None:
        command = [sys.executable, "-m", "bench.data", way, str(folder)]
        self.way = way
        self.processes = [
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for _ in range(max(TRIALS))
        ]
        for process in self.processes:
            self._answer(process, of="ready\n")

    def _answer(self, process: "subprocess.Popen[str]", *, of: str = "") -> str:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line or (of and line != of):
            raise RuntimeError(f"{self.way}: no batch")
        return line

    def measure(self, trials: int) -> float:
        """Images a second in sum over a span in which that many read."""
        begin = time.monotonic() + SETTLE
        for process in self.processes[:trials]:
            assert process.stdin is not None
            process.stdin.write(f"{begin} {begin + SECONDS}\n")
            process.stdin.flush()
        return sum(float(self._answer(each)) for each in self.processes[:trials])

    def close(self) -> None:
        """End them; their loaders' workers go with them."""
        for process in self.processes:
            process.communicate()


def section(rounds: int) -> Section:
    """Each way with each number of trials, `rounds` times in turn."""
    found: dict[tuple[str, int], list[float]] = {}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        render(folder)
        ways = [Trials(way, folder) for way in WAYS]
        for each in ways:
            stack.callback(each.close)
        for _ in range(rounds):
            for trials in TRIALS:
                for each in ways:
                    rate = each.measure(trials)
                    found.setdefault((each.way, trials), []).append(rate)
                    print(f"data: {each.way}, {trials} trials: {rate:.0f}", flush=True)
    rows = []
    for way in WAYS:
        medians = [statistics.median(found[way, trials]) for trials in TRIALS]
        rows.append([way, *(f"{median:.0f}" for median in medians)])
    most = max(TRIALS)
    pairs = zip(found["sweeper", most], found["ImageFolder", most], strict=True)
    goal = Goal(
        text=f"images a second of {most} trials beside ImageFolder's",
        value=statistics.median(mine / theirs for mine, theirs in pairs),
        limit=20,
        reason=reasons.DATA,
        is_floor=True,
    )
    head = ["images a second in sum", *(f"{trials} trials" for trials in TRIALS)]
    return Section(
        title=f"Data ({NUM_IMAGES} JPEG files of {SIZE} px, batches of {BATCH})",
        lines=table(head, rows),
        goals=[goal],
    )


if __name__ == "__main__":
    count(sys.argv[1], Path(sys.argv[2]))
