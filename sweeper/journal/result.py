"""A trial's record in its own folder, so that a lost journal can be rebuilt."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweeper.journal.frozen_trial import from_attrs, to_attrs
from sweeper.journal.record import State, TrialRecord
from sweeper.journal.study import with_report
from sweeper.protocol import TrialSpec
from sweeper.system import metrics_file
from sweeper.system.paths import TrialPaths, write_text


def save(record: TrialRecord, paths: TrialPaths) -> None:
    """Write the final record of a trial beside what it made."""
    data = {
        "number": record.number,
        "state": record.state,
        "values": record.result,
        "params": dict(record.params),
        "epochs": {str(epoch): value for epoch, value in record.values.items()},
        "attributes": to_attrs(record),
    }
    write_text(paths.result, json.dumps(data, sort_keys=True))


def read(paths: TrialPaths) -> TrialRecord | None:
    """Return the record that a trial's folder has; None if it has none.

    A trial that has not ended is WAITING with the epochs that it logged; it resumes
    from its checkpoint.
    """
    return _final(paths) or _unfinished(paths)


def _final(paths: TrialPaths) -> TrialRecord | None:
    data = _json(paths.result)
    if data is None:
        return None
    return from_attrs(
        data["attributes"],
        number=data["number"],
        state=State(data["state"]),
        params=data["params"],
        values={int(epoch): value for epoch, value in data["epochs"].items()},
        result=tuple(data["values"]),
    )


def _unfinished(paths: TrialPaths) -> TrialRecord | None:
    if _json(paths.spec) is None:
        return None
    spec = TrialSpec.from_json(paths.spec.read_text(encoding="utf-8"))
    names = (spec.metric, *spec.more_metrics)
    record = TrialRecord.new(spec.params, seed=spec.seed, lineage=spec.lineage)
    record = replace(record, number=spec.number)
    for epoch, logged in metrics_file.epochs(paths.metrics).items():
        if all(name in logged for name in names):
            values = [float(logged[name]) for name in names]
            record = replace(record, **with_report(record, epoch=epoch, values=values))
    return record


def _json(path: Path) -> dict[str, Any] | None:
    """Return the content of a file of ours; None if it is missing or damaged."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None
