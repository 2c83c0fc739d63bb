"""One attempt's share in the W&B run of its trial.

It passes on what the project logs, except for what earlier attempts have logged; where
the project logs nothing to W&B it logs each reported epoch itself. The project cannot
close it: how the trial ended is written last. A failure of W&B never ends a training.
"""

import functools
import logging
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ParamSpec

from sweeper.callbacks.wandb_rows import GLOBAL_STEP, PART, Rows
from sweeper.trial import TrialSpec

log = logging.getLogger(__name__)

P = ParamSpec("P")
OpenRun = Callable[[Mapping[str, Any]], tuple[Any, list[Mapping[str, object]]]]


def _never_ends_the_training(method: Callable[P, None]) -> Callable[P, None]:
    """Turn a failure of W&B into one warning, and into silence after it."""

    @functools.wraps(method)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        run = args[0]
        assert isinstance(run, TrialRun)  # noqa: S101  # the decorator is for methods
        if run.is_broken:
            return
        try:
            method(*args, **kwargs)
        except Exception as error:  # whatever W&B raises, the training goes first
            run.give_up(error)

    return guarded


class TrialRun:
    """The W&B run of this process's trial, opened when it is first needed.

    A project's own logger may say which W&B project the run belongs to; so the run is
    opened by the project's first `wandb.init`, else at the first reported epoch.

    Args:
        open_run: opens the run and returns it with the rows of all earlier fragments;
            its argument is what the project passed to `wandb.init`.
        reported: what earlier attempts measured, by epoch; a kill may have kept some
            of it from W&B.
    """

    def __init__(
        self,
        spec: TrialSpec,
        open_run: OpenRun,
        *,
        reported: Mapping[int, Mapping[str, float]],
    ) -> None:
        self._spec = spec
        self._open_run = open_run
        self._run: Any = None
        self.is_broken = False
        self._held = Rows()
        self._waiting = dict(reported)
        self._lost = frozenset(reported)  # perhaps, with the attempt that logged them
        self._is_logged_by_project = False
        self._has_trainer = False
        self._config: Mapping[str, object] = {}
        self._first: int | None = None
        self._num_inits = 0
        self._num_fits = 0
        self._is_finished = False  # by the project: its next init is a run of its own
        self._offset = 0  # of the steps that the project counts, in this part
        self._next_step = 0
        self._is_row_open = False
        self._wandb = sys.modules["wandb"]
        self._originals = {name: vars(self._wandb)[name] for name in ("log", "init")}
        self._join()

    @property
    def _objective(self) -> str:
        return self._spec.metric.replace(".", "\\.")  # a dot would be a path

    @property
    def _summary_kinds(self) -> str:
        return f"{self._spec.mode},last"

    @property
    def _part(self) -> int:
        """Number of the run or fit of the project that rows belong to now, from 0."""
        return max(self._num_inits - 1, self._num_fits - 1, 0)

    def _join(self) -> None:
        """Have everything that this process does with W&B end up in this run."""
        vars(self._wandb).update(log=self._project_log, init=self._project_init)

    def give_up(self, error: Exception) -> None:
        """Log nothing more in this start, and say so once."""
        self.is_broken = True
        log.warning(
            "W&B failed (%s: %s): this start logs nothing more to W&B; metrics.jsonl "
            "has every epoch, and the next start of the trial adds what is missing",
            type(error).__name__,
            error,
        )

    def _opened(self, asked: Mapping[str, Any]) -> Any:
        """Return the open run; open it with what the project asked for."""
        if self._run is not None:
            return self._run
        vars(self._wandb).update(self._originals)
        try:
            run, earlier = self._open_run(asked)
        finally:
            self._join()
        self._run, self._held = run, Rows(earlier)
        self._log, self._finish = run.log, run._finish
        run.log = self._project_log
        run._finish = self._project_finish
        self._first = max(self._held.next_step, run.step) or None
        if self._has_trainer:
            self._plot_over(GLOBAL_STEP)
        else:
            run.define_metric(self._objective, summary=self._summary_kinds)
        run.summary.update({"status": "running", "stop_reason": ""})
        run.config.update(self._config, allow_val_change=True)
        if self._has_trainer:
            self._flush(self._waiting)
        return run

    def _project_init(self, *_: object, **arguments: Any) -> Any:
        """Stand in for `wandb.init`: every run of the project is the trial's run."""
        is_separate = self._is_finished or arguments.get("reinit") is True
        if self._num_inits and is_separate:
            self._begin_part()
        self._num_inits += self._num_inits == 0 or is_separate
        self._is_finished = False
        if not self.is_broken:
            try:
                run = self._opened(arguments)
                run.config.update(arguments.get("config") or {}, allow_val_change=True)
                new_tags = set(arguments.get("tags") or ()) - set(run.tags or ())
                if new_tags:
                    run.tags = (*(run.tags or ()), *sorted(new_tags))
            except Exception as error:  # as for the guarded methods
                self.give_up(error)
        if self._run is None:
            return self._originals["init"](mode="disabled")
        return self._run

    def _begin_part(self) -> None:
        """Keep the rows of the project's next run or fit apart from those before."""
        self._offset = self._next_step
        if self._num_inits == 1:
            log.info(
                "W&B: the target opens several runs; all of their rows are in the "
                "trial's one run, with their number from 1 on in the column %r",
                PART,
            )

    @_never_ends_the_training
    def _project_finish(self, exit_code: int | None = None) -> None:
        """Stand in for `run.finish`: complete the row that W&B still holds open."""
        self._is_finished = True
        if self._is_row_open:
            self._log({}, commit=True)

    def _project_log(
        self,
        data: Mapping[str, object],
        step: int | None = None,
        commit: bool | None = None,
    ) -> None:
        """Stand in for `wandb.log` and `run.log`: write what the run does not hold."""
        if self.is_broken:
            return
        self._is_logged_by_project = True
        try:
            self._opened({})
            place = None if step is None else self._offset + step
            row = {**data, PART: self._part} if self._part and data else data
            new = self._held.new(row, step=place)
            self._next_step = 1 + max(self._next_step, place or 0)
            if new or not data:
                self._write(new, step=self._allowed(place), commit=commit)
        except (OSError, self._wandb.Error) as error:
            self.give_up(error)

    def _allowed(self, step: int | None) -> int | None:
        """Return a step at which W&B keeps a row: those before its newest are lost."""
        is_behind = step is not None and self._part and step < self._run.step
        return None if is_behind else step

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
        self._is_row_open = not (step is None if commit is None else commit)
        self._log(row, step=step, commit=commit)

    @_never_ends_the_training
    def describe(self, config: Mapping[str, object]) -> None:
        """Give the run its config."""
        self._config = config
        if self._run is not None:
            self._run.config.update(config, allow_val_change=True)

    @_never_ends_the_training
    def use_trainer(self, *, has_logger: bool, fit: int) -> None:
        """Plot over Lightning's global step, as its own logger does.

        Called at the start of each fit.

        Args:
            has_logger: whether the Trainer logs to W&B by itself.
            fit: its number among the trial's fits, from 1.
        """
        self._num_fits = fit
        if self._has_trainer:
            return
        self._has_trainer = True
        self._is_logged_by_project = self._is_logged_by_project or has_logger
        if self._run is not None:
            self._plot_over(GLOBAL_STEP)
            self._flush(self._waiting)

    def _plot_over(self, axis: str) -> None:
        self._run.define_metric(axis)
        self._run.define_metric("*", step_metric=axis, step_sync=True)
        self._run.define_metric(
            self._objective, step_metric=axis, summary=self._summary_kinds
        )

    @_never_ends_the_training
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
        waiting = list(epochs)
        if waiting:
            self._opened({})  # which may log some of them
        for epoch in waiting:
            if epoch in self._waiting:
                self._log_epoch(epoch, self._waiting.pop(epoch))

    def _log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        row: dict[str, object] = {**metrics, "epoch": epoch}
        if self._part:
            row[PART] = self._part
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

    @_never_ends_the_training
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
        """Close the run with the result of the trial; W&B is as it was before.

        Args:
            status: "complete", "pruned", "paused" or "failed".
            best: epoch and value over all attempts; a summary of `define_metric`
                starts anew with each fragment.
            others: of that epoch, the objectives after the first one.
            last: the objective's newest value.
        """
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
        self._close(summary, exit_code=1 if status == "failed" else 0)
        vars(self._wandb).update(self._originals)

    @_never_ends_the_training
    def _close(self, summary: Mapping[str, object], *, exit_code: int) -> None:
        self._flush(self._waiting)
        run = self._opened({})
        run.config.update(self._config, allow_val_change=True)
        run.summary.update(summary)
        self._finish(exit_code=exit_code)
