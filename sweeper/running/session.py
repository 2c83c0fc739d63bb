"""One start of a sweep from its plan to the files that it leaves."""

from sweeper.planning.plan import Plan
from sweeper.running import driver
from sweeper.stop import Stop
from sweeper.storage import store
from sweeper.trial import Sweep
from sweeper.views import sweep_run
from sweeper.views.live import Display


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
