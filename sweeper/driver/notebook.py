"""Functions to run a sweep, train one trial and read the results from Python."""

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from sweeper import exit_codes
from sweeper.experiment import defaults
from sweeper.journal import store
from sweeper.journal.record import Sweep, TrialRecord
from sweeper.reporting import status
from sweeper.reporting.status import sweep_state
from sweeper.statistics.leaderboard import best, front_trials
from sweeper.system.errors import SweeperError
from sweeper.system.paths import default_sweeps
from sweeper.system.text import value_cell

if TYPE_CHECKING:
    import pandas as pd

MAX_ROWS = 20  # rows of the leaderboard below a notebook cell


@dataclass(frozen=True, slots=True)
class SweepView:
    """A snapshot of a sweep, with its results as trials and DataFrames."""

    sweep: Sweep

    @property
    def name(self) -> str:
        """The name of the sweep."""
        return self.sweep.experiment.name

    @property
    def folder(self) -> Path:
        """The folder of the sweep."""
        return self.sweep.folder

    @property
    def trials(self) -> tuple[TrialRecord, ...]:
        """Every trial, by number."""
        return self.sweep.trials

    @property
    def best(self) -> TrialRecord | None:
        """The best trial of the best suggestion; None before the first value.

        With several objectives, the trial of the front that is best by the first.
        """
        return best(self.sweep)

    @property
    def front(self) -> tuple[TrialRecord, ...]:
        """A trial of each suggestion on the Pareto front; () with one objective."""
        return front_trials(self.sweep)

    @property
    def leaderboard(self) -> "pd.DataFrame":
        """One row per suggestion, best first, indexed by rank."""
        from sweeper.reporting import export

        return export.leaderboard(self.sweep)

    @property
    def curves(self) -> "pd.DataFrame":
        """One row per epoch of a trial: id, epoch, value of the objective."""
        from sweeper.reporting import export

        return export.curves(self.sweep)

    def refresh(self) -> "SweepView":
        """Return a new snapshot of the sweep."""
        return SweepView(store.load_sweep(self.folder))

    def write_report(self) -> Path:
        """Write `report.html` and return its path."""
        from sweeper.reporting import html_report

        html_report.write(self.sweep)
        return self.sweep.paths.report

    def __repr__(self) -> str:
        state = sweep_state(self.sweep)
        return f"<sweep {self.name}: {state}, {len(self.trials)} trials>"

    def _repr_html_(self) -> str:
        frame = self.leaderboard.head(MAX_ROWS)
        shown = frame.map(value_cell).to_html(escape=True, border=0)
        hidden = len(self.leaderboard) - len(frame)
        more = f"<p>and {hidden} more suggestions</p>" if hidden > 0 else ""
        state = sweep_state(self.sweep)
        head = f"<b>{escape(self.name)}</b> {state}, {len(self.trials)} trials"
        return f"<div>{head}{shown}{more}</div>"


def load_sweep(name: str | Path, *, sweeps: str | Path | None = None) -> SweepView:
    """Load a sweep.

    Args:
        name: name or folder of the sweep.
        sweeps: folder of all sweeps; None for this project's folder.

    Raises:
        SweepNotFoundError: there is no such sweep.
    """
    folder = Path(name)
    if not (folder / "experiment.yaml").exists():
        folder = Path(sweeps or default_sweeps()) / name
    return SweepView(store.load_sweep(folder))


def run(
    file: str | Path,
    *overrides: str,
    sweeps: str | Path | None = None,
    address: str = "",
    quiet: bool = False,
) -> SweepView:
    """Run a sweep, or resume it, as `sweeper run` does.

    Args:
        file: the experiment file.
        overrides: `key=value`, as on the command line.
        sweeps: folder of all sweeps; None for the folder of the file's project.
        address: address of a running Ray cluster, "auto" for this machine's; ""
            starts one.
        quiet: print no events.

    Raises:
        SweeperError: the sweep cannot run; the message says how to fix it.
    """
    from sweeper.driver.prewarm import Prewarm

    with Prewarm() as prewarm:
        from sweeper.plan import plan as planning

        folder = Path(sweeps or default_sweeps(Path(file)))
        plan = planning.make_plan(Path(file), overrides, sweeps=folder)
        prewarm.prepare(plan.experiment)
        from sweeper.driver import (
            driver,
        )  # imports Ray while the zygote imports the target
        from sweeper.driver.cluster import ClusterOptions

        # One plain line per event, also in a notebook, where a cell keeps its output.
        console = Console(highlight=False, soft_wrap=True, force_jupyter=False)
        options = ClusterOptions(address=address)
        with status.display(console, quiet=quiet, total=plan.num_trials) as display:
            sweep, _ = driver.run(
                plan, prewarm=prewarm, options=options, display=display
            )
    return SweepView(sweep)


def train(
    *overrides: str,
    config: str | Path = defaults.CONFIG,
    target: str = "",
    metric: str = defaults.METRIC,
    mode: str = "max",
    wandb: str = "auto",
    sweeps: str | Path | None = None,
) -> Path:
    """Train one trial in this process, or resume it; return its folder.

    Raises:
        SweeperError: the config is wrong, or the training failed.
    """
    from sweeper.driver import training

    spec = training.make_spec(
        overrides,
        config=Path(config),
        target=target,
        metric=metric,
        mode=mode,
        wandb_mode=wandb,
        sweeps=Path(sweeps or default_sweeps(Path(config))),
    )
    code = training.train(spec)
    if code == exit_codes.FAILED_TRIALS:
        raise SweeperError(f"{spec.folder}: the training failed; see error.txt there")
    return Path(spec.folder)
