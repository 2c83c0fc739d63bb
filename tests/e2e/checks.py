"""What must hold for a sweep that was cut, compared with the same sweep uncut."""

import json
from collections import Counter
from pathlib import Path

from sweeper.storage import records, store
from sweeper.trial import State

COMPLETE = 1  # Optuna's numbers of states and operations, as a journal has them
MOVE, REPORT = 6, 7


def check(whole: Path, cut: Path, trials: int, epochs: int) -> None:
    """All checks of one finished sweep.

    Args:
        whole: folder of the sweep that was not cut.
        cut: folder of the one that was.
        trials: how many both have, of `epochs` epochs each.
    """
    check_leaderboard(whole, cut)
    check_trials(cut, trials, epochs)
    check_journal(cut, trials)
    check_metrics(whole, cut)
    check_wandb(cut)
    check_temporaries(cut)


def check_leaderboard(whole: Path, cut: Path) -> None:
    """Every point, value, rank and id is the same to the last bit."""
    name = "leaderboard.csv"
    assert (cut / name).read_text() == (whole / name).read_text()
    suggested = [
        [(t.params, t.seed) for t in store.load_sweep(folder).trials]
        for folder in (whole, cut)
    ]
    assert suggested[0] == suggested[1]


def check_trials(cut: Path, trials: int, epochs: int) -> None:
    """Each trial is complete with every epoch, and none has failed by itself."""
    found = store.load_sweep(cut).trials
    assert len(found) == trials
    for trial in found:
        assert trial.state is State.COMPLETE, trial
        assert list(trial.values) == list(range(1, epochs + 1)), trial
        assert {f.kind for f in trial.failures} <= {"lost"}, trial.failures


def check_journal(cut: Path, trials: int) -> None:
    """Each trial ended once, and an epoch that was reported twice had one value."""
    part = records.whole_part(cut / "journal.jsonl")
    assert not part.damage, part.damage
    found = [json.loads(line) for line in part.lines]
    ends = Counter(
        r["trial_id"] for r in found if r["op_code"] == MOVE and r["state"] == COMPLETE
    )
    assert ends == dict.fromkeys(range(trials), 1), ends
    values: dict[tuple[int, int], float] = {}
    for record in found:
        if record["op_code"] == REPORT:
            value = record["intermediate_value"]
            key = (record["trial_id"], record["step"])
            assert values.setdefault(key, value) == value, record


def check_metrics(whole: Path, cut: Path) -> None:
    """Every logged scalar of every epoch is the same, but for times."""
    for folder in (whole / "trials").iterdir():
        lines = {}
        for side in (whole, cut):
            text = (side / "trials" / folder.name / "metrics.jsonl").read_text()
            rows = [json.loads(line) for line in text.splitlines()]
            lines[side] = {
                row["epoch"]: {k: v for k, v in row.items() if "time" not in k}
                for row in rows
            }
        assert lines[whole] == lines[cut], folder.name


def check_wandb(cut: Path) -> None:
    """A run belongs to the one trial whose id it has."""
    for folder in (cut / "trials").iterdir():
        for run in (folder / "wandb").glob("*run-*"):
            assert run.name.endswith(folder.name), run


def check_temporaries(cut: Path) -> None:
    """Nothing half-written is left."""
    left = [path for path in cut.rglob("*") if path.name.endswith((".tmp", ".new"))]
    assert not left, left
