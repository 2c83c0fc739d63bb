"""What a sweep looks like on terminals of several widths, in pipes and as JSON."""

import html
import io
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.live import Live

from sweeper.journal.record import Failure, State, Sweep
from sweeper.protocol import FailureKind, Params
from sweeper.reporting import html_report, status, tables
from sweeper.statistics.leaderboard import best
from tests.helpers import attempt, make_sweep, make_trial

NAN = math.nan
ESCAPE = "\x1b"
POINTS: list[Params] = [
    {
        "model": name,
        "model.learning_rate": rate,
        "data.batch_size": size,
        "variant": "smooth",
    }
    for name, rate, size in (
        ("resnet18", 1e-3, 64),
        ("efficientnet_b0_with_a_long_name", 0.000123456789, 128),
        ("resnet50", 1e-4, 32),
        ("[red]resnet34[/red]", 1e-2, 64),
    )
]


def _sweep(folder: Path) -> Sweep:
    trials = [
        make_trial(0, POINTS[0], {1: 0.5, 2: 0.75}, seed=1),
        make_trial(1, POINTS[0], {1: 0.5, 2: 0.7}, seed=2),
        make_trial(2, POINTS[1], {1: 0.9}, state=State.PRUNED),
        make_trial(3, POINTS[2], {1: 0.25, 2: NAN}, state=State.RUNNING),
        make_trial(4, POINTS[3], {}, state=State.FAILED),
    ]
    made = make_sweep(folder, *trials, baseline={"model": "resnet18"})
    return replace(made, is_running=True)


def _text(view: RenderableType, width: int, *, is_terminal: bool = False) -> str:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=is_terminal)
    console.print(view)
    return file.getvalue()


@pytest.mark.parametrize("width", [40, 80, 120, 200])
@pytest.mark.parametrize("view", [status.status_view, tables.leaderboard_view])
def test_a_view_fits_and_names_every_trial_in_whole(  # type: ignore[no-untyped-def]
    tmp_path: Path, width: int, view
) -> None:
    sweep = _sweep(tmp_path)
    text = _text(view(sweep), width)
    assert max(cell_len(line) for line in text.splitlines()) <= width
    for trial in (sweep.trials[0], *sweep.trials[2:]):
        assert trial.id in text
    assert "0.725" in text  # the mean over the baseline's seeds
    assert "baseline" in text
    joined = "".join(text.split())
    assert "efficientnet_b0_with_a_long_name" in joined
    assert "nan" not in text.lower()


@pytest.mark.parametrize("width", [40, 80, 200])
def test_markup_of_a_user_stays_text(tmp_path: Path, width: int) -> None:
    text = "".join(_text(status.status_view(_sweep(tmp_path)), width).split())
    assert "[red]resnet34[/red]" in text


@pytest.mark.parametrize("width", [40, 200])
def test_control_characters_of_a_user_move_no_cursor(
    tmp_path: Path, width: int
) -> None:
    params: Params = {f"a{ESCAPE}[2J": f"b{ESCAPE}[31m\r\nc", "d": "[link=x]y"}
    trial = make_trial(0, params, 0.5, state=State.RUNNING)
    sweep = replace(make_sweep(tmp_path, trial), is_running=True)
    text = _text(status.status_view(sweep), width)
    assert ESCAPE not in text
    assert "\r" not in text


def test_a_wide_terminal_has_one_line_a_row(tmp_path: Path) -> None:
    text = _text(tables.leaderboard_view(_sweep(tmp_path)), 200)
    *table, verdict, chance = text.splitlines()
    assert len(table) == 5  # header and four suggestions
    assert verdict.startswith("no winner: each ran with one seed")
    assert chance.startswith("by chance alone the best of 3")
    assert "learning_rate" in text
    assert "model.learning_rate" not in text


def test_a_narrow_terminal_has_the_point_below_the_value(tmp_path: Path) -> None:
    lines = _text(tables.leaderboard_view(_sweep(tmp_path)), 60).splitlines()
    assert lines[1].split()[:2] == ["1", "0.9"]
    assert "model=efficientnet" in lines[2]


def test_the_headline_has_counts_and_the_best_so_far(tmp_path: Path) -> None:
    sweep = _sweep(tmp_path)
    line = _text(status.status_view(sweep), 200).splitlines()[0]
    assert "toy: running" in line
    assert "1 running, 2 complete, 1 pruned, 1 failed" in line
    assert f"best 0.9 ({sweep.trials[2].id}, epoch 1)" in line


def test_running_trials_show_their_last_report(tmp_path: Path) -> None:
    trial = make_trial(0, {"x": 1}, {1: 0.9, 7: 0.25}, state=State.RUNNING)
    sweep = replace(make_sweep(tmp_path, trial), is_running=True)
    text = _text(status.status_view(sweep), 80)
    line = next(line for line in text.splitlines() if line.startswith(trial.id))
    assert line.split() == [trial.id, "7", "0.25", "x=1"]


def test_a_sweep_that_no_driver_runs_has_waiting_trials(tmp_path: Path) -> None:
    sweep = replace(_sweep(tmp_path), is_running=False)
    line, *_ = text = _text(status.status_view(sweep), 200).splitlines()
    assert line.startswith("toy: interrupted  1 waiting, 2 complete, 1 pruned")
    assert not any("running" in line for line in text)
    shown = status.status_json(sweep)["trials"]
    assert [trial["state"] for trial in shown][3] == "waiting"  # type: ignore[index,union-attr]


def test_means_of_steps_are_marked_wherever_they_are_shown(tmp_path: Path) -> None:
    made = _sweep(tmp_path)
    means = tuple(replace(trial, is_mean=True) for trial in made.trials)
    sweep = replace(made, trials=means)
    mark = "is logged per step: each value is the mean of an epoch's steps"
    for view in (status.status_view, tables.leaderboard_view):
        assert _text(view(sweep), 200).count(mark) == 1
        assert mark not in _text(view(made), 200)
    assert mark in html.unescape(html_report.render(sweep))
    assert mark not in html.unescape(html_report.render(made))


def test_rows_over_the_limit_are_counted(tmp_path: Path) -> None:
    text = _text(tables.leaderboard_view(_sweep(tmp_path), max_rows=1), 120)
    assert "... 3 more" in text


@pytest.mark.parametrize("width", [1, 20, 40, 80])
def test_an_empty_sweep_and_a_tiny_terminal_have_a_view(
    tmp_path: Path, width: int
) -> None:
    assert _text(status.status_view(make_sweep(tmp_path)), width)
    assert _text(status.status_view(_sweep(tmp_path)), width)


def test_a_thousand_trials_are_drawn_on_one_screen(tmp_path: Path) -> None:
    values = dict.fromkeys(range(1, 11), 0.1)
    trials = [make_trial(i, {"x": i, "y": 0.5}, values) for i in range(1000)]
    sweep = make_sweep(tmp_path, *trials)
    text = _text(status.status_view(sweep, max_rows=12), 80)
    assert "1000 complete" in text
    assert "... 988 more" in text
    assert len(text.splitlines()) < 24


# ---- where events go


@pytest.mark.parametrize("line", ["3f9a epoch 4 val/acc 0.913", "[red]" + "x" * 300])
def test_a_pipe_gets_one_plain_line_an_event(tmp_path: Path, line: str) -> None:
    file = io.StringIO()
    with status.display(Console(file=file, width=40), quiet=False) as display:
        display.event(line)
        display.update(_sweep(tmp_path))
        display.event(f"two\nlines {ESCAPE}[31m")
    assert file.getvalue().splitlines() == [line, "two lines  [31m"]


def test_quiet_shows_nothing(tmp_path: Path) -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True)
    with status.display(console, quiet=True) as display:
        display.event("an event")
        display.update(_sweep(tmp_path))
    assert file.getvalue() == ""


@pytest.mark.parametrize("width", [40, 200])
def test_a_terminal_keeps_events_above_a_table_that_goes_away(
    tmp_path: Path, width: int
) -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=width, height=30)
    with status.display(console, quiet=False) as display:
        display.update(_sweep(tmp_path))
        display.event("[b]one[/b]")
    text = file.getvalue()
    assert "[b]one[/b]" in text
    assert "0.725" in text
    assert text.rindex(f"{ESCAPE}[?25h") > text.rindex("one")  # the cursor is back


def test_an_unchanged_sweep_is_not_drawn_again(tmp_path: Path) -> None:
    terminal = Live(console=Console(file=io.StringIO(), force_terminal=True))
    screen = status.Screen(terminal)
    sweep = _sweep(tmp_path)
    screen.update(sweep)
    shown = terminal.renderable
    screen.update(replace(sweep, trials=(*sweep.trials,)))
    assert terminal.renderable is shown
    screen.update(replace(sweep, trials=sweep.trials[:-1]))
    assert terminal.renderable is not shown


# ---- as JSON


def test_status_as_json_has_no_nan_and_every_trial(tmp_path: Path) -> None:
    trial = make_trial(0, {"x": 1}, {1: 0.5, 2: NAN, 3: math.inf})
    data = status.status_json(make_sweep(tmp_path, trial))
    text = json.dumps(data, allow_nan=False)
    (shown,) = json.loads(text)["trials"]
    assert data["name"] == "toy"
    assert shown["epochs"] == {"1": 0.5, "2": None, "3": None}
    assert {"number", "id", "state", "params", "seed", "value", "starts"} <= set(shown)


def test_a_failed_trial_has_epochs_and_a_reason_but_no_value(tmp_path: Path) -> None:
    failure = Failure(kind=FailureKind.OOM, message="CUDA out of memory", step=1)
    made = make_trial(0, {"x": 1}, 0.5, state=State.FAILED)
    sweep = make_sweep(tmp_path, replace(made, attempts=(attempt(failure=failure),)))
    (shown,) = json.loads(json.dumps(status.status_json(sweep)))["trials"]
    assert shown["value"] is None
    assert shown["epochs"] == {"1": 0.5}
    assert shown["failures"] == [
        {"kind": "oom", "message": "CUDA out of memory", "step": 1}
    ]


@pytest.mark.parametrize(
    ("states", "is_running", "state"),
    [
        ("", False, "new"),
        ("", True, "running"),
        ("complete running", True, "running"),
        ("complete pruned failed", False, "finished"),
        ("complete waiting", False, "interrupted"),
        ("complete running", False, "interrupted"),  # its driver was killed
    ],
)
def test_the_state_of_a_sweep(
    tmp_path: Path, states: str, is_running: bool, state: str
) -> None:
    trials = [
        make_trial(i, {"x": i}, 0.5, state=State(name))
        for i, name in enumerate(states.split())
    ]
    made = make_sweep(tmp_path, *trials)
    sweep = replace(made, is_running=is_running)
    assert status.sweep_state(sweep) == state
    assert status.status_json(sweep)["state"] == state


def test_best_as_json_names_a_checkpoint_that_exists(tmp_path: Path) -> None:
    sweep = _sweep(tmp_path)
    trial = best(sweep)
    assert trial is not None
    before = status.best_json(sweep, trial)
    assert before["checkpoint"] is None
    paths = sweep.paths.trial(trial.id)
    paths.resume.mkdir(parents=True)
    paths.last.touch()
    assert status.best_json(sweep, trial)["checkpoint"] == str(paths.last)
    paths.best.touch()
    after = status.best_json(sweep, trial)
    assert after["checkpoint"] == str(paths.best)
    assert (after["value"], after["id"], after["folder"]) == (
        0.9,
        trial.id,
        str(paths.folder),
    )
    assert after["params"] == dict(trial.params)
