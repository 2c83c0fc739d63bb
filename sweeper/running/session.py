"""One start of a sweep from its plan to the files that it leaves."""

from sweeper.planning.plan import Plan
from sweeper.running import driver
from sweeper.running.ahead import Ahead
from sweeper.running.options import ClusterOptions
from sweeper.stop import Stop
from sweeper.trial import Sweep
from sweeper.views import sweep_run
from sweeper.views.live import Display


def run(
    plan: Plan,
    *,
    ahead: Ahead,
    cluster: ClusterOptions,
    display: Display,
    may_exit: bool = False,
) -> tuple[Sweep, Stop]:
    """Drive the sweep, then write its W&B run.

    Args:
        ahead: prepared for the plan's experiment.
        may_exit: whether a second signal may end this process.

    Raises:
        SweeperError: what `driver.drive` raises.
    """
    sweep, stop = driver.drive(
        plan, ahead=ahead, cluster=cluster, display=display, may_exit=may_exit
    )
    sweep_run.record(sweep, stop)
    return sweep, stop
