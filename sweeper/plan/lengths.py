"""For how many epochs the trials of a sweep trained, and would train now.

An override says it in the experiment file; a config file of the project may say it,
too, and may have been edited since.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sweeper.experiment.defaults import EPOCHS
from sweeper.journal import store
from sweeper.journal.record import State, TrialRecord
from sweeper.plan.plan import Plan
from sweeper.project.points import composer, configs
from sweeper.system.errors import ExperimentChangedError
from sweeper.system.paths import SweepPaths, TrialPaths

LINE = re.compile(r"( *)([\w./-]+):(?: (.*))?$")


def compare(plan: Plan) -> Plan:
    """Return the plan with the trials that train on, since their config says so now.

    Raises:
        ExperimentChangedError: the config has fewer epochs than trials have trained
            for: new trials would be ranked beside longer ones.
    """
    paths = SweepPaths(plan.folder)
    if not any(paths.folder.glob("trials/*/config.yaml")):
        return plan
    trials = store.Reader(plan.experiment, plan.folder).sweep().trials
    started = {trial.id: trial for trial in trials if trial.values}
    trained = {name: _trained(paths.trial(name)) for name in started}
    keys = {
        key
        for name, found in trained.items()
        for key, count in found.items()
        if _is_length(key) or count == max(started[name].values)
    }
    outgrown = []
    for trial, now in _lengths(plan, list(started.values())):
        before = trained[trial.id]
        for key in keys & before.keys() & now.keys():
            if now[key] < before[key]:
                raise ExperimentChangedError(
                    f"{plan.experiment.config}: {key} is {now[key]} now; trial "
                    f"{trial.id} of {plan.folder} trained with {before[key]}, and "
                    "shorter trials would be ranked beside it; undo the change, or "
                    "start a new sweep: --fork NAME"
                )
            if now[key] > before[key] and trial.state is State.COMPLETE:
                outgrown.append(trial.id)
    return replace(plan, outgrown=frozenset(outgrown))


def _is_length(key: str) -> bool:
    """Return whether a key surely is of the training, not such as `warmup.epochs`."""
    return key.rpartition(".")[2] == EPOCHS[0]


def _lengths(
    plan: Plan, trials: list[TrialRecord]
) -> Iterator[tuple[TrialRecord, Mapping[str, int]]]:
    """Yield each trial with the epochs of the config that it would have now."""
    loaded = plan.experiment
    points = [trial.params for trial in trials]
    made = configs(composer(loaded), loaded, plan.space, points)
    for trial, (_, config) in zip(trials, made, strict=True):
        yield trial, dict(_of_config(config, config))


def _of_config(
    node: Mapping[str, object], root: Mapping[str, object], prefix: str = ""
) -> Iterator[tuple[str, int]]:
    for name, value in node.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from _of_config(value, root, f"{key}.")
        elif name in EPOCHS:
            number = _resolved(root, key) if isinstance(value, str) else value
            if type(number) is int:
                yield key, number


def _resolved(config: Mapping[str, object], key: str) -> object:
    try:
        return OmegaConf.select(OmegaConf.create(dict(config)), key)
    except OmegaConfBaseException:  # a value that only the trial's process knows
        return None


def _trained(paths: TrialPaths) -> dict[str, int]:
    """Return the epochs of the config that a trial was started with last.

    It looks at lines, since a parser of YAML takes seconds for some hundred trials.
    """
    found: dict[str, int] = {}
    parents: list[str] = []
    text = paths.config.read_text(encoding="utf-8") if paths.config.exists() else ""
    for line in text.splitlines():
        if matched := LINE.match(line):
            indent, name, value = matched.groups(default="")
            parents[len(indent) // 2 :] = [name]
            if name in EPOCHS and value.isdecimal():
                found[".".join(parents)] = int(value)
    return found
