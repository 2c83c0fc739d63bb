"""The W&B run of a trial: one run over all of its attempts, in its sweep's group.

A project's own `WandbLogger` or `wandb.init` opens it, in the W&B project that it asks
for unless the experiment file names one; group, job type and id are sweeper's. Rows
that the project logs are passed on, except those of earlier attempts; where the project
logs nothing to W&B, each reported epoch is a row. The project cannot close the run: the
trial's result is written last. A failure of W&B never ends a training, and without a
server the run is offline.
"""

import functools
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ParamSpec

from sweeper.protocol import TrialSpec, parent_of
from sweeper.system import metrics_file, redaction, wandb
from sweeper.system.code_version import git
from sweeper.system.identity import trial_id
from sweeper.trial.wandb_rows import GLOBAL_STEP, PART, Rows

log = logging.getLogger(__name__)

FLUSH_SECONDS = 15.0  # in which the writer of a killed attempt brings its rows to disk
P = ParamSpec("P")


def start(spec: TrialSpec) -> "TrialRun | None":
    """Return the trial's run, to be opened when it is needed; None for `wandb: none`.

    From here on `wandb.init` and `wandb.log` of this process lead to that run.
    """
    chosen = str(spec.wandb["mode"])
    if chosen == "none":
        os.environ["WANDB_MODE"] = "disabled"
        return None
    import wandb  # noqa: F401  # the run finds it among the imported modules

    os.environ.update(environment(spec))
    warnings.filterwarnings("ignore", message="There is a wandb run already in")
    return TrialRun(spec)


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
        spec: of the trial, with the arguments of its run.
    """

    def __init__(self, spec: TrialSpec) -> None:
        reported = metrics_file.epochs(Path(spec.folder) / "metrics.jsonl")
        self._spec = spec
        self._run: Any = None
        self.is_broken = False
        self._held = Rows()
        self._waiting: dict[int, Mapping[str, float]] = dict(reported)
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
            run, earlier = _open(self._spec, asked)
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


def _open(
    spec: TrialSpec, asked: Mapping[str, Any]
) -> tuple[Any, list[Mapping[str, object]]]:
    """Open the trial's run; return it with the rows of its earlier fragments.

    Args:
        asked: arguments that the project passed to `wandb.init`; {} without a call.
    """
    folder = Path(spec.folder)
    if (folder / "wandb").exists():
        wandb.await_writers(folder, wait_seconds=FLUSH_SECONDS)
    earlier = wandb.fragments(folder)
    is_offline = "offline" in (spec.wandb["mode"], asked.get("mode"))
    project, entity = wandb.destination(spec.wandb, asked, earlier)
    run = wandb.open_run(
        folder,
        "offline" if is_offline else "online",
        id=str(spec.wandb["id"]),
        project=project,
        entity=entity or None,
        group=str(spec.wandb["group"]),
        job_type="trial",
        name=str(spec.wandb["name"]),
        notes=str(spec.wandb["notes"]) or asked.get("notes") or None,
        tags=[*dict.fromkeys((*spec.wandb["tags"], *(asked.get("tags") or ())))],
    )
    return run, [row for fragment in earlier for row in fragment.rows]


def environment(spec: TrialSpec) -> dict[str, str]:
    """Return the variables that give the run to processes that the project starts."""
    return {
        **_named("WANDB_TAGS", ",".join(spec.wandb["tags"])),
        **_named("WANDB_PROJECT", spec.wandb["project"]),
        **_named("WANDB_ENTITY", spec.wandb["entity"]),
        "WANDB_RUN_ID": str(spec.wandb["id"]),
        "WANDB_RUN_GROUP": str(spec.wandb["group"]),
        "WANDB_JOB_TYPE": "trial",
        "WANDB_NAME": str(spec.wandb["name"]),
        "WANDB_NOTES": str(spec.wandb["notes"]),
        "WANDB_DIR": spec.folder,
        "WANDB_RESUME": "allow",
        "WANDB_SILENT": "true",
    }


def _named(variable: str, value: object) -> dict[str, str]:
    """Return a variable with its value; nothing for "", which W&B may refuse."""
    return {variable: str(value)} if value else {}


def description(spec: TrialSpec, config: Mapping[str, object]) -> dict[str, object]:
    """Return the run's config: nested, the swept keys flat, with the code's version.

    A key of the project's own is never overwritten.

    A swept group hides the nested config of its name, whose keys become dotted.

    Args:
        config: the trial's config, resolved.
    """
    nested: dict[str, object] = {}
    for key, value in config.items():
        if key in spec.params and isinstance(value, Mapping):
            nested.update({f"{key}.{name}": child for name, child in value.items()})
        else:
            nested[key] = value
    project = Path(spec.project)
    described = redaction.redacted(
        {
            "sweep": spec.sweep,
            "git_commit": git(project, "rev-parse", "HEAD").strip(),
            "git_dirty": bool(git(project, "status", "--porcelain")),
            **nested,
            **swept(spec),
        },
        wandb.hidden(),
    )
    assert isinstance(described, dict)  # noqa: S101  # a mapping stays one
    return described


def swept(spec: TrialSpec) -> dict[str, object]:
    """Return the swept keys, seed and point, flat: for tables and parallel plots."""
    return {
        "seed": spec.seed,
        "point": trial_id(spec.params, seed=0, parent=parent_of(spec.lineage)),
        **spec.params,
    }
