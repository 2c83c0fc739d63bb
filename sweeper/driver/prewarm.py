"""The zygote of a driver's node, started before the plan is made.

Its imports are the longest step before the first trial.
"""

from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from sweeper.project import zygote_client
from sweeper.protocol import Imported

if TYPE_CHECKING:
    from sweeper.experiment.definition import Experiment


class Prewarm:
    """A zygote that imports torch and Lightning while the plan is made.

    It ends with the `with` block, or with this process.

    Attributes:
        zygote: socket of the zygote of this node.
    """

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self.zygote = self._stack.enter_context(zygote_client.launched())
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def prepare(self, experiment: "Experiment") -> None:
        """Order the import of the experiment's target."""
        from sweeper.system import wandb

        if experiment.env:  # libraries may read a variable at their import
            self._stack.close()
            self.zygote = self._stack.enter_context(zygote_client.launched())
        has_runs = wandb.mode(experiment.wandb.mode) != "none"
        ordered = zygote_client.order(
            self.zygote,
            project=experiment.project,
            target=experiment.target,
            modules=["wandb"] if has_runs else [],
            timeout_seconds=experiment.timeout,
        )
        self._imported = self._stack.enter_context(ordered)

    def await_import(self) -> Imported:
        """Wait until the zygote has imported the target; return the result.

        Raises:
            OSError: the zygote has ended.
        """
        return zygote_client.await_import(self._imported)
