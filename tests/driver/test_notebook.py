"""Sweeps from Python, as tables, as folders, and compared."""

import io
import json
import math
from pathlib import Path

import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

import sweeper
from sweeper import cli
from sweeper.driver.notebook import SweepView
from sweeper.journal import store
from sweeper.journal.record import Sweep
from sweeper.reporting import export, trial_files
from sweeper.system.errors import SweeperError, SweepNotFoundError
from sweeper.system.paths import write_text
from tests import sweeps
from tests.helpers import journaled, make_sweep, make_trial


def test_public_names_are_those_of_all() -> None:
    assert sorted(sweeper.__all__) == sorted(sweeper._HOMES)
    for name in sweeper.__all__:
        assert getattr(sweeper, name) is not None
    assert set(sweeper.__all__) <= set(dir(sweeper))


def test_a_sweep_is_loaded_by_name_and_by_folder(tmp_path: Path) -> None:
    journaled(tmp_path)
    view = sweeper.load_sweep("toy", sweeps=tmp_path / "sweeps")
    assert view.name == "toy"
    assert view.best is not None
    assert view.best.params == {"x": 2}
    assert len(view.trials) == 3
    again = sweeper.load_sweep(tmp_path / "sweeps" / "toy")
    assert again.sweep == view.sweep == view.refresh().sweep
    with pytest.raises(SweepNotFoundError, match="did you mean 'toy'"):
        sweeper.load_sweep("tyo", sweeps=tmp_path / "sweeps")


def test_the_leaderboard_is_a_data_frame(tmp_path: Path) -> None:
    journaled(tmp_path)
    board = sweeper.load_sweep("toy", sweeps=tmp_path / "sweeps").leaderboard
    assert list(board.index) == [1, 2, 3]
    assert list(board["x"]) == [2, 3, 1]
    assert list(board["value"]) == [0.75, 0.5, 0.25]


def test_a_sweep_without_trials_has_empty_tables(tmp_path: Path) -> None:
    view = SweepView(make_sweep(tmp_path))
    assert view.best is None
    assert len(view.leaderboard) == len(view.curves) == 0
    assert "0 trials" in view._repr_html_()
    assert repr(view) == "<sweep toy: new, 0 trials>"


def test_a_view_in_a_notebook_escapes_what_users_wrote(tmp_path: Path) -> None:
    view = SweepView(sweeps.make_sweep(tmp_path, sweeps.make_trials(30)))
    html = view._repr_html_()
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "and 10 more suggestions" in html


def test_curves_have_one_line_an_epoch(tmp_path: Path) -> None:
    trial = make_trial(0, {"x": 1}, {1: 0.5, 2: math.nan})
    curves = export.curves(make_sweep(tmp_path, trial))
    assert list(curves["epoch"]) == [1, 2]
    assert curves["value"].isna().tolist() == [False, True]


def _mixed(folder: Path) -> Sweep:
    points = [{"x": 1, "y": None}, {"x": "a", "y": True}, {"x": 0.5, "y": "b"}]
    trials = [make_trial(i, p, 0.1 * i) for i, p in enumerate(points)]  # type: ignore[arg-type]
    return make_sweep(folder, *trials)


@pytest.mark.parametrize("name", ["leaderboard", "trials", "curves"])
def test_a_table_of_mixed_types_survives_parquet(tmp_path: Path, name: str) -> None:
    frame = export.storable(export.FRAMES[name](_mixed(tmp_path)))
    out = io.BytesIO()
    frame.to_parquet(out)
    assert len(pd.read_parquet(out)) == 3


# ---- commands


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_export_writes_each_format(tmp_path: Path, form: str) -> None:
    journaled(tmp_path)
    file = tmp_path / f"out.{form}"
    words = ["export", "toy", "--format", form, "--output", str(file)]
    assert cli.main([*words, "--sweeps", str(tmp_path / "sweeps")]) == 0
    frame = {
        "csv": pd.read_csv,
        "json": lambda f: pd.DataFrame(json.loads(f.read_text())),
        "parquet": pd.read_parquet,
    }[form](file)
    assert list(frame["value"]) == [0.75, 0.5, 0.25]
    assert list(frame["x"]) == [2, 3, 1]


def test_tensorboard_reads_each_trial_with_its_parameters(tmp_path: Path) -> None:
    journaled(tmp_path)
    words = ["export", "toy", "--format", "tensorboard"]
    for _ in range(2):  # the second time replaces the first
        assert cli.main([*words, "--sweeps", str(tmp_path / "sweeps")]) == 0
    folder = tmp_path / "sweeps" / "toy" / "tensorboard"
    best = {}
    for trial in folder.iterdir():
        events = EventAccumulator(str(trial)).Reload()
        assert [e.step for e in events.Scalars("acc")] == [1]
        best[trial.name] = events.Scalars("best/acc")[0].value
        plugin = events.summary_metadata["_hparams_/session_start_info"].plugin_data
        info = HParamsPluginData.FromString(plugin.content).session_start_info
        assert {"x", "seed"} == set(info.hparams)
    assert sorted(best.values()) == [0.25, 0.5, 0.75]


def test_parquet_is_not_written_to_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journaled(tmp_path)
    words = ["export", "toy", "--format", "parquet"]
    assert cli.main([*words, "--sweeps", str(tmp_path / "sweeps")]) == 2
    assert "--output FILE" in capsys.readouterr().err


def test_an_exported_trial_stands_alone(tmp_path: Path) -> None:
    trials = sweeps.make_trials(2)
    sweep = sweeps.make_sweep(tmp_path, trials)
    sweeps.write_files(sweep, trials)
    onnx = sweep.paths.trial(trials[0].id).artifacts / "model.onnx"
    onnx.write_bytes(b"graph")
    target = tmp_path / "out"
    names = export.copy(sweep, trials[0], target)
    assert sorted(names) == sorted(path.name for path in target.iterdir())
    assert {"best.ckpt", "config.yaml", "model.onnx", "README.md"} <= set(names)
    card = (target / "README.md").read_text()
    assert "python -m sweeper train model=resnet18" in card
    assert "at epoch 12" in card
    with pytest.raises(SweeperError, match="nothing is overwritten"):
        export.copy(sweep, trials[0], target)


def test_a_trial_without_a_checkpoint_is_not_exported(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path, make_trial(0, {"x": 1}, 0.5))
    with pytest.raises(SweepNotFoundError, match="no checkpoint"):
        export.copy(sweep, sweep.trials[0], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_diff_shows_what_differs_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journaled(tmp_path)
    sweep = store.load_sweep(tmp_path / "sweeps" / "toy")
    for trial in sweep.trials:
        text = f"model: {{x: {trial.params['x']}, same: 1}}\nseed: 42\n"
        write_text(sweep.paths.trial(trial.id).config, text)
    words = ["diff", "toy/best", "toy/0", "--sweeps", str(tmp_path / "sweeps")]
    assert cli.main(words) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["model.x", "2", "1"] in lines
    assert ["best", "acc", "0.75", "0.25"] in lines
    assert not any("same" in line or "seed" in line for line in lines)


@pytest.mark.parametrize("text", ["", "- 1", "{a", "a: [1, {b: 2}]", "{}", "1"])
def test_a_config_of_any_form_can_be_compared(tmp_path: Path, text: str) -> None:
    sweep = make_sweep(tmp_path, make_trial(0, {"x": 1}, 0.5))
    paths = sweep.paths.trial(sweep.trials[0].id)
    write_text(paths.config, text)
    assert trial_files.differences(trial_files.config(paths), {}) is not None


def test_report_writes_a_page_and_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journaled(tmp_path)
    words = ["report", "toy", "--open", "no", "--sweeps", str(tmp_path / "sweeps")]
    assert cli.main(words) == 0
    page = Path(capsys.readouterr().out.strip())
    assert page == tmp_path / "sweeps" / "toy" / "report.html"
    assert "<title>toy</title>" in page.read_text()


def test_report_of_several_sweeps_is_one_ranking(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journaled(tmp_path)
    words = ["report", "toy", str(tmp_path / "sweeps" / "toy")]
    words += ["--sweeps", str(tmp_path / "sweeps")]
    assert cli.main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in lines[1:]] == [
        value for value in ("0.75", "0.5", "0.25") for _ in range(2)
    ]
    assert cli.main([*words, "--md"]) == 0
    text = capsys.readouterr().out
    assert text.count("# toy\n") == 2
    assert text.count("## Findings") == 2
    assert "| rank | sweep |" in text
    assert not (tmp_path / "sweeps" / "toy" / "report.html").exists()


def test_watch_of_a_sweep_that_has_ended_prints_it_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journaled(tmp_path)
    words = ["status", "toy", "--watch", "--sweeps", str(tmp_path / "sweeps")]
    assert cli.main(words) == 0
    assert capsys.readouterr().out.count("toy: finished") == 1
