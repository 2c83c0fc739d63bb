"""Logical cards: shares by predicted memory, and what follows when it ran out."""

import json
from pathlib import Path

import pytest

from sweeper.journal import store
from sweeper.packing import packing
from tests.e2e.harness import LOOP, ROOT, driver, status

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

EXPERIMENT = """
name: loop
target: loop:train
config: conf/loop.yaml
project: {project}
overrides: [epochs=2, sleep=0.3, behaviour=need_1.0]
search_space: {{rate: [0.1, 0.2, 0.3]}}
objective: {{metric: acc, mode: max}}
resources: {{gpus: 0.25, cpus: 0.25}}
retry: {{oom: 0, lost: 0}}
wandb: none
"""


@pytest.mark.long
def test_the_ladder_is_climbed_over_a_kill_and_never_a_rung_too_many(
    tmp_path: Path,
) -> None:
    """A quarter and a half are too small; what runs beside a whole card's trial waits.

    No retry is allowed, and none is used up.
    """
    sweeps, file = tmp_path / "sweeps", tmp_path / "loop.yaml"
    file.write_text(EXPERIMENT.format(project=LOOP))
    run = (file, "--num-cpus", 4, "--num-gpus", 1, "--sweeps", sweeps)
    with driver(*run, output=tmp_path / "out") as first:
        first.wait_for("out of memory", count=3)
        first.kill()
        first.process.wait()
        first.assert_gone()
    with driver(*run, output=tmp_path / "out") as again:
        assert again.wait() == 0, again.output.read_text()
    trials = status("loop", sweeps)["trials"]
    assert {trial["state"] for trial in trials} == {"complete"}
    for trial in trials:
        kinds = [failure["kind"] for failure in trial["failures"]]
        assert kinds == ["oom", "oom"]
        shares = (sweeps / "loop" / "trials" / trial["id"] / "shares").read_text()
        seen = list(map(float, shares.split()))
        assert seen == sorted(seen)
        assert set(seen) == {0.25, 0.5, 1.0}


CARD = "T4:1.55"  # so small that the four kinds of trials differ in their shares
CARDS = 2
DIGITS = """
name: packed
project: {project}
overrides: [data=digits, trainer=cpu, trainer.max_epochs=1, callbacks=none,
  logging=none, +trainer.limit_train_batches=1, +trainer.limit_val_batches=1,
  +callbacks.where._target_=tests.e2e.whereabouts.Whereabouts]
search_space: {{model: 'small_cnn, resnet18', data.batch_size: [64, 1024]}}
seeds: [1, 2]
objective: {{metric: val/acc_top1, mode: max}}
resources: {{gpus: auto, accelerator: T4}}
wandb: none
"""


@pytest.mark.long
def test_cards_are_filled_by_predicted_memory_and_never_overfilled(
    tmp_path: Path,
) -> None:
    """Whole cards, halves and thirds through Ray on two logical cards."""
    sweeps, file = tmp_path / "sweeps", tmp_path / "packed.yaml"
    file.write_text(DIGITS.format(project=ROOT))
    run = (file, "--num-cpus", 8, "--num-gpus", CARDS, "--card", CARD)
    with driver(*run, "--sweeps", sweeps, output=tmp_path / "out") as first:
        assert first.wait() == 0, first.output.read_text()
    found = store.load_sweep(sweeps / "packed")
    predicted = json.loads(found.paths.memory.read_text())["predictions"]
    card = packing.find_card(CARD)
    assert card is not None
    stays = []
    for trial in found.trials:
        peak = predicted[trial.memory_key]["peak_bytes"]
        count = packing.slots(peak, device_bytes=card.device_bytes)
        assert trial.demand.gpus == packing.share(count)
        assert trial.demand.accelerator == "T4"
        folder = found.paths.trial(trial.id).folder
        stays.append(json.loads((folder / "whereabouts.json").read_text()))
        assert stays[-1][1] == trial.demand.gpus
    assert sorted(share for _, share, _, _ in stays) == [
        *(2 * [0.3333]),
        *(4 * [0.5]),
        *(2 * [1.0]),
    ]
    assert len({card for card, *_ in stays}) == CARDS
    most = 0
    for place, _, moment, _ in stays:
        there = [s for c, s, b, e in stays if c == place and b <= moment < e]
        assert sum(there) <= 1.0
        assert len(there) <= packing.per_card(min(there))
        most = max(most, len(there))
    assert most >= 2
