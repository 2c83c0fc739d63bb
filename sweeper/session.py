"""One start of a sweep from its plan to the files that it leaves."""

from sweeper import driver, store, sweep_run
from sweeper.live import Display
from sweeper.plan import Plan
from sweeper.trial import Stop, Sweep


def run(
    plan: Plan, *, cluster: driver.ClusterOptions, display: Display
) -> tuple[Sweep, Stop]:
    """Drive the sweep, then write its tables, its report and its W&B run.

    Raises:
        SweeperError: what `driver.drive` raises.
    """
    stop = driver.drive(plan, cluster=cluster, display=display)
    sweep = store.load_sweep(plan.folder)
    driver.write_leaderboard(sweep)
    sweep_run.record(sweep, stop)
    return sweep, stop
