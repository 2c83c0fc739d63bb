"""One ranking over several sweeps, and a sweep as a section of a log."""

from dataclasses import replace
from pathlib import Path

import pytest

from sweeper.journal.record import Sweep
from sweeper.reporting import export, tables
from sweeper.system.errors import SweeperError
from tests import sweeps
from tests.helpers import make_sweep, make_trial


def _sweep(folder: Path, name: str, *values: float, mode: str = "max") -> Sweep:
    folder.mkdir(exist_ok=True)
    trials = [make_trial(i, {"x": i}, v) for i, v in enumerate(values)]
    objective = {"metric": "acc", "mode": mode}
    return make_sweep(folder, *trials, name=name, objective=objective)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("max", ["b", "a", "a", "b"]), ("min", ["b", "a", "a", "b"][::-1])],
)
def test_a_ranking_is_over_all_sweeps(
    tmp_path: Path, mode: str, expected: list[str]
) -> None:
    first = _sweep(tmp_path / "a", "a", 0.5, 0.7, mode=mode)
    second = _sweep(tmp_path / "b", "b", 0.9, 0.1, mode=mode)
    ranked = tables.rank_all([first, second])
    assert [sweep.experiment.name for sweep, _ in ranked] == expected


def test_other_objectives_are_not_ranked_together(tmp_path: Path) -> None:
    first = _sweep(tmp_path / "a", "a", 0.5)
    second = _sweep(tmp_path / "b", "b", 0.5, mode="min")
    with pytest.raises(SweeperError, match=r"a and b: .*acc \(max\) and acc \(min\)"):
        tables.rank_all([first, second])


def test_a_ranking_in_markdown_has_one_line_a_suggestion(tmp_path: Path) -> None:
    ranked = tables.ranking([_sweep(tmp_path / "a", "a|b"[:1], 0.5, 0.7)])
    head, rule, first, second = tables.markdown_table(*ranked).splitlines()
    assert head.startswith("| rank | sweep | acc (max)")
    assert len({line.count("|") for line in (head, rule, first, second)}) == 1
    assert "x=1" in first


def test_a_section_says_what_was_asked_found_and_kept(tmp_path: Path) -> None:
    trials = sweeps.make_trials(8)
    sweep = sweeps.make_sweep(tmp_path, trials)
    sweeps.write_files(sweep, trials)
    text = export.section(sweep)
    assert text.startswith("# toy\n\nDoes the big model need a smaller rate?")
    for title in ("## Findings", "## Artefacts", "## How to repeat"):
        assert title in text
    assert "2 of 8 trials stopped early" in text
    assert text.count("checkpoints/best.ckpt") == export.MAX_REPEATED
    assert text.count("python -m sweeper train") == export.MAX_REPEATED


def test_a_section_of_failures_says_why(tmp_path: Path) -> None:
    text = export.section(sweeps.all_failed(tmp_path))
    assert "no trial has a value" in text
    assert "How to repeat" not in text


def test_a_section_says_where_values_are_means_of_steps(tmp_path: Path) -> None:
    made = sweeps.make_sweep(tmp_path, sweeps.make_trials(2))
    means = tuple(replace(trial, is_mean=True) for trial in made.trials)
    mark = "is logged per step: each value is the mean of an epoch's steps"
    assert mark in export.section(replace(made, trials=means))
    assert mark not in export.section(made)
