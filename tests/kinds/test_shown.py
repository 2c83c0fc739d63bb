"""Numbers and words that are shown: no secret, no collision, no stale state."""

import csv
import io
import json
import shlex
from pathlib import Path

import pytest
import yaml

from sweeper import cli
from sweeper.journal.record import Demand
from sweeper.journal.spec import command
from sweeper.packing import packing
from sweeper.packing.packing import Node
from sweeper.plan import estimate, preflight
from sweeper.plan.plan import make_plan
from sweeper.project.points import representatives
from sweeper.protocol import TrialSpec
from sweeper.reporting import export, tables
from sweeper.statistics.leaderboard import rank
from sweeper.system import metrics_file, redaction
from sweeper.system.text import value_cell
from tests.cases.harness import run_case
from tests.helpers import make_sweep, make_trial


@pytest.mark.parametrize(
    ("name", "value", "config"),
    [
        ("SORT_KEY", "accuracy", {"monitor": "val/accuracy"}),
        ("PARTITION_KEY", "val/acc_top1_of_all_players", {"m": "val/acc_top1_of_all"}),
        ("PAD_TOKEN", "<|endoftext|>", {"pad": "<|endoftext|>"}),
        (
            "GOOGLE_APPLICATION_CREDENTIALS",
            "/home/me/gcp.json",
            {"c": "/home/me/gcp.json"},
        ),
        ("DB_PASSWORD", "accuracy", {"monitor": "val_accuracy_of_all"}),
        ("HOME_KEY", "resnet18", {"model": "resnet18"}),
    ],
)
def test_a_config_keeps_what_is_no_secret(
    name: str, value: str, config: dict[str, str]
) -> None:
    hidden = dict.fromkeys(redaction.secrets({name: value}), redaction.HIDDEN)
    assert redaction.redacted(config, hidden) == config


@pytest.mark.parametrize(
    ("name", "value", "config", "shown"),
    [
        ("WANDB_API_KEY", "0123456789abcdef", "a=0123456789abcdef0", "a=***0"),
        ("HF_TOKEN", "hf_a1B2c3D4e5F6g7H8", "hf_a1B2c3D4e5F6g7H8", "***"),
        ("DB_PASSWORD", "hunter22", "pg://me:hunter22@host", "pg://me:***@host"),
        ("OPENAI_KEY", "sk-4f5e6d7c8b9a0123", "x_sk-4f5e6d7c8b9a0123", "x_***"),
    ],
)
def test_a_secret_is_hidden_wherever_it_is(
    name: str, value: str, config: str, shown: str
) -> None:
    hidden = dict.fromkeys(redaction.secrets({name: value}), redaction.HIDDEN)
    assert redaction.redacted({"a": [config]}, hidden) == {"a": [shown]}


NAMES = ("rank", "value", "std", "id", "ids", "seed", "state", "epoch", "param.value")


def test_no_parameter_takes_the_place_of_a_column(tmp_path: Path) -> None:
    params = {name: index for index, name in enumerate(NAMES)}
    trials = tuple(
        make_trial(number, {**params, "value": number}, score)
        for number, score in enumerate((0.25, 0.75))
    )
    sweep = make_sweep(tmp_path, *trials)
    for table in (export.leaderboard(sweep), export.trials(sweep)):
        shown = table.reset_index()
        assert shown.columns.is_unique
        assert sorted(shown["value"]) == [0.25, 0.75]
        stored = export.storable(table)
        assert len(json.loads(stored.to_json(orient="records"))) == 2
        stored.to_parquet(tmp_path / "table.parquet")
    header, *lines = csv.reader(io.StringIO(tables.to_csv(sweep, rank(sweep))))
    assert len(header) == len(set(header))
    best = dict(zip(header, lines[0], strict=True))
    assert (best["value"], best["param.param.value"]) == ("0.75", "1")
    assert best["param.rank"] == "0"


def test_values_of_several_types_are_told_apart(tmp_path: Path) -> None:
    values = (None, "null", "sqrt", 2, "2", 2.0, True, "true", 0.5, -0.0)
    shown = [value_cell(value) for value in values]
    assert len(set(shown)) == len(values), shown
    trials = tuple(
        make_trial(number, {"x": value}, float(number))
        for number, value in enumerate(values)
    )
    sweep = make_sweep(tmp_path, *trials)
    stored = export.storable(export.trials(sweep))
    stored.to_parquet(tmp_path / "table.parquet")
    assert sorted(stored["x"]) == sorted(shown)


def test_a_metric_called_epoch_does_not_move_the_row(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    metrics_file.append(path, 3, {"epoch": 17.0, "acc": 0.5})
    assert metrics_file.epochs(path) == {3: {"acc": 0.5}}


@pytest.mark.parametrize(
    "space",
    [
        {"pair": "zip(net=choice(small, large), net.lr=choice(0.1, 0.2))"},
        {
            "net": ["small", "large"],
            "net.lr": {"values": [0.1], "when": "net == 'small'"},
        },
        {"variant": ["narrow", "wide"]},
    ],
)
def test_the_preflight_remembers_each_choice_apart(
    tmp_path: Path, space: dict[str, object]
) -> None:
    classic = Path(__file__).parents[1] / "strangers" / "classic"
    content = {
        "project": str(classic),
        "target": "run:main",
        "config": "configs/main.yaml",
        "env": {"PROJECT_ROOT": str(classic)},
        "search_space": space,
        "objective": {"metric": "val_loss", "mode": "min"},
    }
    if "variant" in space:
        content["search_space"] = {"net.lr": [0.1]}
        content["variants"] = {"narrow": ["net=small"], "wide": ["net=large"]}
    (tmp_path / "classic.yaml").write_text(yaml.safe_dump(content))
    plan = make_plan(tmp_path / "classic.yaml", (), sweeps=tmp_path / "sweeps")
    points = representatives(plan.space)
    assert len(points) == 2
    assert len({preflight.choice_key(plan, point) for point in points}) == 2


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.e2e
def test_a_finished_sweep_is_not_said_to_run(tmp_path: Path) -> None:
    """The report is written by the driver itself, which holds the sweep's lock."""
    sweep = run_case("wandb_runs", tmp_path, "wandb=none", experiment="silent.yaml")
    assert sweep.code == 0, sweep.output
    report = (sweep.folder / "report.html").read_text()
    assert "2 complete (finished)" in report
    (repeat,) = [line for line in sweep.output.splitlines() if " repeat " in line]
    assert repeat.count("kill_in=") == 1, repeat


def test_measured_epochs_are_those_of_a_trial_alone_on_its_card() -> None:
    node = Node(cpus=4.0, gpus=1, accelerator="T4", device_bytes=15 * 2**30)

    def seconds(gpus: float) -> float:
        made = estimate.forecast(
            ["k"],
            demand=lambda _: Demand(cpus=1.0, gpus=gpus, accelerator="T4"),
            predictions={},
            measured={"k": 10.0},
            card=packing.find_card("T4"),
            nodes=[node],
            given=estimate.Given(epochs=3),
        )
        return made.lines[0].seconds

    assert seconds(1.0) == 30.0
    assert seconds(0.25) == 60.0  # four that keep a card busy for half of the time


def test_unknown_disk_is_not_shown_as_none_at_all() -> None:
    made = estimate.forecast(
        ["k"],
        demand=lambda _: Demand(cpus=1.0),
        predictions={},
        measured={},
        card=None,
        nodes=[Node(cpus=4.0)],
        given=estimate.Given(),
    )
    assert made.disk_bytes is None


@pytest.mark.parametrize(
    ("config", "space", "epochs"),
    [
        ("trainer: {max_epochs: 3}\nwarmup: {epochs: 1}\nlr: 0.1\n", {"lr": [1, 2]}, 3),
        ("epochs: 4\nlr: 0.1\n", {"lr": [1, 2]}, 4),
        ("epochs: 4\nlr: 0.1\n", {"epochs": [2, 7]}, 7),
        ("lr: 0.1\n", {"lr": [1, 2]}, 0),
    ],
)
def test_a_plan_has_the_epochs_of_the_config(
    tmp_path: Path, config: str, space: dict[str, list[int]], epochs: int
) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "config.yaml").write_text(config)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "train.py").write_text("def main(cfg):\n    return cfg.lr\n")
    content = {
        "target": "train:main",
        "config": "conf/config.yaml",
        "search_space": space,
        "objective": {"metric": "loss"},
    }
    (tmp_path / "exp.yaml").write_text(yaml.safe_dump(content))
    plan = make_plan(tmp_path / "exp.yaml", (), sweeps=tmp_path / "sweeps")
    assert plan.epochs == epochs


def test_the_command_of_a_trial_has_its_seed_and_its_threads() -> None:
    spec = TrialSpec(
        id="0123456789",
        number=0,
        sweep="s",
        target="train:main",
        config="/project/conf/config.yaml",
        overrides=("lr=1", "lr=2"),
        params={"lr": 2},
        seed=7,
        folder="/sweeps/s/trials/0123456789",
        project="/project",
        metric="loss",
        mode="min",
        threads=3,
        chdir=True,
    )
    words = shlex.split(command(spec))
    options = cli.parse([*words[3:], "--wandb", "none"])
    assert (options.seed, options.threads, options.chdir) == (7, 3, True)
    assert options.overrides == ["lr=2"]
