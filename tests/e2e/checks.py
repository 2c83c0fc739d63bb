"""What must hold for a sweep that was cut, compared with the same sweep uncut."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from sweeper.journal import journal_file, store
from sweeper.journal.record import State
from sweeper.journal.spec import run_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A sweep that was cut and ended, and the one to compare it with."""

    whole: Path
    folder: Path
    trials: int
    epochs: int


COMPLETE = 1  # Optuna's numbers of states and operations, as a journal has them
MOVE, REPORT = 6, 7


def check_leaderboard(cut: Cut) -> None:
    """Every point, value, rank and id is the same to the last bit."""
    name = "leaderboard.csv"
    assert (cut.folder / name).read_text() == (cut.whole / name).read_text()
    suggested = [
        [(t.params, t.seed) for t in store.load_sweep(folder).trials]
        for folder in (cut.whole, cut.folder)
    ]
    assert suggested[0] == suggested[1]


def check_trials(cut: Cut) -> None:
    """Each trial is complete with every epoch, and none has failed by itself."""
    found = store.load_sweep(cut.folder).trials
    assert len(found) == cut.trials
    for trial in found:
        assert trial.state is State.COMPLETE, trial
        assert list(trial.values) == list(range(1, cut.epochs + 1)), trial
        assert {f.kind for f in trial.failures} <= {"lost"}, trial.failures


def check_journal(cut: Cut) -> None:
    """Each trial ended once; an epoch that was reported twice had one value."""
    journal = cut.folder / "journal.jsonl"
    part = journal_file.whole_part(journal)
    assert not part.damage, part.damage
    found = [json.loads(line) for line in part.lines]
    ends = Counter(
        r["trial_id"] for r in found if r["op_code"] == MOVE and r["state"] == COMPLETE
    )
    assert ends == dict.fromkeys(range(cut.trials), 1), ends
    values: dict[tuple[int, int], float] = {}
    for record in found:
        if record["op_code"] == REPORT:
            value = record["intermediate_value"]
            key = (record["trial_id"], record["step"])
            assert values.setdefault(key, value) == value, record


def check_metrics(cut: Cut) -> None:
    """Every logged scalar of every epoch is the same, but for times."""
    for folder in (cut.whole / "trials").iterdir():
        lines = {}
        for side in (cut.whole, cut.folder):
            text = (side / "trials" / folder.name / "metrics.jsonl").read_text()
            rows = [json.loads(line) for line in text.splitlines()]
            lines[side] = {
                row["epoch"]: {k: v for k, v in row.items() if "time" not in k}
                for row in rows
            }
        assert lines[cut.whole] == lines[cut.folder], folder.name


def check_wandb(cut: Cut) -> None:
    """All starts of a trial are one run of W&B, and no other trial's."""
    uid = store.load_sweep(cut.folder).uid
    for folder in (cut.folder / "trials").iterdir():
        for run in (folder / "wandb").glob("*run-*"):
            assert run.name.endswith(f"-{run_id(folder.name, uid)}"), run


def check_temporaries(cut: Cut) -> None:
    """Nothing half-written is left."""
    left = [
        path for path in cut.folder.rglob("*") if path.name.endswith((".tmp", ".new"))
    ]
    assert not left, left


CHECKS = (
    check_leaderboard,
    check_trials,
    check_journal,
    check_metrics,
    check_wandb,
    check_temporaries,
)


def check(whole: Path, cut: Path, trials: int, epochs: int) -> None:
    """All checks of one finished sweep.

    Args:
        whole: folder of the sweep that was not cut.
        cut: folder of the one that was.
        trials: how many both have, of `epochs` epochs each.
    """
    for each in CHECKS:
        each(Cut(whole=whole, folder=cut, trials=trials, epochs=epochs))
