"""Specs of single trials of the small projects in tests/cases."""

from pathlib import Path

from sweeper.protocol import TrialSpec


def spec_of(
    project: Path,
    *overrides: str,
    config: str = "conf/config.yaml",
    target: str = "train:main",
    metric: str = "score",
    number: int = 0,
) -> TrialSpec:
    """Return the spec of a trial of a project, without W&B."""
    folder = project / "sweeps" / "sweep" / "trials" / f"trial{number}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    return TrialSpec(
        id=folder.name,
        number=number,
        sweep="sweep",
        target=target,
        config=str(project / config),
        overrides=overrides,
        params={},
        seed=1,
        folder=str(folder),
        project=str(project),
        metric=metric,
        mode="max",
        wandb={"mode": "none"},
    )
