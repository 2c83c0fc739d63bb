"""One attempt's share in the W&B run of its trial.

It passes on what the project logs, but for what earlier attempts have logged; where
the project logs nothing to W&B it logs each reported epoch itself. The project cannot
close it: how the trial ended is written last.
"""

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from sweeper.callbacks.wandb_rows import GLOBAL_STEP, Rows
from sweeper.trial import TrialSpec


class TrialRun:
    """The open run of this process's trial.

    Args:
        run: a `wandb.Run`.
        earlier: history of all earlier fragments.
        reported: what earlier attempts measured, by epoch; a kill may have kept some
            of it from W&B.
    """

    def __init__(
        self,
        spec: TrialSpec,
        run: Any,
        *,
        earlier: Iterable[Mapping[str, object]],
        reported: Mapping[int, Mapping[str, float]],
    ) -> None:
        self._spec = spec
        self._run = run
        self._held = Rows(earlier)
        self._waiting = dict(reported)
        self._lost = frozenset(reported)  # perhaps, with the attempt that logged them
        self._is_logged_by_project = False
        self._has_trainer = False
        self._config: Mapping[str, object] = {}
        self._log = run.log
        self._finish = run._finish
        self._join()
        self._first: int | None = max(self._held.next_step, run.step) or None
        run.define_metric(self._objective, summary=self._summary_kinds)
        run.summary.update({"status": "running", "stop_reason": ""})

    @property
    def _objective(self) -> str:
        return self._spec.metric.replace(".", "\\.")  # a dot would be a path

    @property
    def _summary_kinds(self) -> str:
        return f"{self._spec.mode},last"

    def _join(self) -> None:
        """Have everything that this process does with W&B end up in this run."""
        wandb = sys.modules["wandb"]

        def log(
            data: Mapping[str, object],
            step: int | None = None,
            commit: bool | None = None,
        ) -> None:
            self._is_logged_by_project = True
            new = self._held.new(data, step=step)
            if new or not data:
                self._write(new, step=step, commit=commit)

        def init(*_: object, **arguments: Any) -> Any:
            self._run.config.update(
                arguments.get("config") or {}, allow_val_change=True
            )
            return self._run

        self._run.log = log
        self._run._finish = lambda exit_code=None: None
        vars(wandb).update(log=log, init=init)

    def _write(
        self,
        row: Mapping[str, object],
        *,
        step: int | None = None,
        commit: bool | None = None,
    ) -> None:
        """Log a row; the first one behind the last step of earlier fragments."""
        if step is None and self._first is not None:
            step, commit = self._first, commit is not False
        self._first = None
        self._log(row, step=step, commit=commit)

    def describe(self, config: Mapping[str, object]) -> None:
        """Give the run its config."""
        self._config = config
        self._run.config.update(config, allow_val_change=True)

    def use_trainer(self, *, has_logger: bool) -> None:
        """Plot over Lightning's global step, as its own logger does.

        Args:
            has_logger: whether the Trainer logs to W&B by itself.
        """
        if self._has_trainer:
            return
        self._has_trainer = True
        self._is_logged_by_project = self._is_logged_by_project or has_logger
        self._plot_over(GLOBAL_STEP)
        self._flush(self._waiting)

    def _plot_over(self, axis: str) -> None:
        self._run.define_metric(axis)
        self._run.define_metric("*", step_metric=axis, step_sync=True)
        self._run.define_metric(
            self._objective, step_metric=axis, summary=self._summary_kinds
        )

    def report(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Take one epoch; of a plain loop its row follows with the next one.

        By then the loop has logged to W&B by itself, if it ever does.
        """
        self._waiting[epoch] = metrics
        if self._has_trainer:
            self._flush(self._waiting)
        else:
            self._flush([known for known in self._waiting if known != epoch])

    def _flush(self, epochs: Iterable[int]) -> None:
        """Log waiting epochs where the run does not hold them."""
        for epoch in list(epochs):
            self._log_epoch(epoch, self._waiting.pop(epoch))

    def _log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        row: dict[str, object] = {"epoch": epoch, **metrics}
        metric = self._spec.metric
        if metric in row and metric not in self._held.new(row):
            return  # the whole epoch is there
        if self._is_logged_by_project:
            # Only what a kill has lost; Lightning's loggers count epochs from 0.
            if GLOBAL_STEP not in metrics or epoch not in self._lost:
                return
            known = self._held.keys | {self._spec.metric, GLOBAL_STEP}
            row = {k: v for k, v in metrics.items() if k in known}
            row["epoch"] = epoch - 1
        new = self._held.new(row)
        if new:
            if not self._has_trainer and GLOBAL_STEP not in new:
                self._plot_over("epoch")
            self._write(new)
            self._held.add(new)

    def leave(self) -> None:
        """Hand over what waits, at the end of a program; its trial closes the run."""
        self._flush(self._waiting)

    def close(
        self,
        *,
        status: str,
        stop_reason: str,
        best: tuple[int, float] | None,
        others: Mapping[str, float],
        last: float | None,
        peak_memory_mib: float,
    ) -> None:
        """Close the run with what came of the trial.

        Args:
            status: "complete", "pruned", "paused" or "failed".
            best: epoch and value over all attempts; a summary of `define_metric`
                starts anew with each fragment.
            others: of that epoch, the objectives after the first one.
            last: the objective's newest value.
        """
        self._flush(self._waiting)
        self._run.config.update(self._config, allow_val_change=True)
        summary: dict[str, object] = {
            "status": status,
            "stop_reason": stop_reason,
            "peak_memory_mib": peak_memory_mib,
        }
        if best is not None:
            metric = self._spec.metric
            summary |= {f"best/{metric}": best[1], "best/epoch": best[0]}
            summary |= {f"best/{name}": value for name, value in others.items()}
            summary[metric] = {self._spec.mode: best[1], "last": last}
        self._run.summary.update(summary)
        self._finish(exit_code=1 if status == "failed" else 0)
