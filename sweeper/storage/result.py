"""What a trial's folder says of its row, so that a lost journal can be rebuilt.

It reads and writes files of one trial's folder; it never touches a journal.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeper.host import metrics_file
from sweeper.host.paths import TrialPaths, write_text
from sweeper.storage.attributes import OTHERS, named
from sweeper.trial import TrialSpec


def save(row: FrozenTrial, paths: TrialPaths) -> None:
    """Write the final row of a trial beside what it made."""
    data = {
        "number": row.number,
        "state": row.state.name,
        "values": row.values,
        "params": row.params,
        "epochs": {str(epoch): v for epoch, v in row.intermediate_values.items()},
        "attributes": row.user_attrs,
    }
    write_text(paths.result, json.dumps(data, sort_keys=True))


def read(paths: TrialPaths) -> tuple[int, FrozenTrial] | None:
    """Number and row of a trial as its folder has it; None where it says nothing.

    A trial that has not ended is WAITING with the epochs that it logged: it goes on
    from its checkpoint.
    """
    return _final(paths) or _unfinished(paths)


def _final(paths: TrialPaths) -> tuple[int, FrozenTrial] | None:
    data = _json(paths.result)
    if data is None:
        return None
    row = create_trial(
        state=TrialState[data["state"]],
        values=data["values"],
        params=data["params"],
        distributions=_distributions(data["params"]),
        user_attrs=data["attributes"],
        intermediate_values={int(e): v for e, v in data["epochs"].items()},
    )
    return data["number"], row


def _unfinished(paths: TrialPaths) -> tuple[int, FrozenTrial] | None:
    if _json(paths.spec) is None:
        return None
    spec = TrialSpec.from_json(paths.spec.read_text(encoding="utf-8"))
    names = (spec.metric, *spec.more_metrics)
    measured = {
        epoch: [float(logged[name]) for name in names]
        for epoch, logged in metrics_file.epochs(paths.metrics).items()
        if all(name in logged for name in names)
    }
    row = create_trial(
        state=TrialState.WAITING,
        params=dict(spec.params),
        distributions=_distributions(spec.params),
        user_attrs={
            **named(spec.id, spec.params, seed=spec.seed, place=spec.lineage),
            **{
                f"{OTHERS}{e}": values[1:]
                for e, values in measured.items()
                if names[1:]
            },
        },
        intermediate_values={epoch: values[0] for epoch, values in measured.items()},
    )
    return spec.number, row


def _distributions(params: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    """The space of a lost row may have changed; its point has not."""
    return {name: CategoricalDistribution((value,)) for name, value in params.items()}


def _json(path: Path) -> dict[str, Any] | None:
    """A file of ours; None where it is missing or is none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None
