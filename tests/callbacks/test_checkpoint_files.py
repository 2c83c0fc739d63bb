"""A checkpoint that lost bytes is not resumed from, but the one before it."""

import logging
from pathlib import Path

import pytest
import torch

from sweeper.system import metrics_file
from sweeper.system.paths import drop_torn_tail
from sweeper.trial.exact_resume import checkpoint_files


def _two(folder: Path) -> bytes:
    """Two saved checkpoints; the bytes of the last one."""
    for epoch in (1, 2):
        content = {"epoch": epoch, "weights": torch.arange(3.0)}
        checkpoint_files.commit(checkpoint_files.stage(content, folder))
    return (folder / checkpoint_files.LAST).read_bytes()


def test_a_last_checkpoint_cut_at_any_byte_gives_way_to_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = _two(tmp_path)
    last = tmp_path / checkpoint_files.LAST
    assert checkpoint_files.newest(tmp_path) == last
    caplog.set_level(logging.ERROR)
    for length in range(len(whole)):
        last.write_bytes(whole[:length])
        assert not checkpoint_files.is_whole(last), length
    caplog.set_level(logging.WARNING)
    found = checkpoint_files.newest(tmp_path)
    assert found == tmp_path / checkpoint_files.PREVIOUS
    assert torch.load(found)["epoch"] == 1
    assert "last.ckpt is damaged; resuming from the one before it" in caplog.text


def test_bytes_that_a_power_cut_left_zero_are_noticed(tmp_path: Path) -> None:
    whole = _two(tmp_path)
    last = tmp_path / checkpoint_files.LAST
    for start in range(0, len(whole), 64):
        rest = whole[start + 64 :]
        zeros = b"\0" * len(whole[start : start + 64])
        damaged = whole[:start] + zeros + rest
        last.write_bytes(damaged)
        if checkpoint_files.is_whole(last):  # padding, or zeros before
            loaded = torch.load(last)
            assert loaded["epoch"] == 2
            assert torch.equal(loaded["weights"], torch.arange(3.0))


def test_a_kill_between_the_two_renames_leaves_the_one_before(tmp_path: Path) -> None:
    _two(tmp_path)
    (tmp_path / checkpoint_files.LAST).rename(tmp_path / checkpoint_files.PREVIOUS)
    assert checkpoint_files.newest(tmp_path) == tmp_path / checkpoint_files.PREVIOUS


def test_two_torn_checkpoints_are_none(tmp_path: Path) -> None:
    _two(tmp_path)
    for name in (checkpoint_files.LAST, checkpoint_files.PREVIOUS):
        (tmp_path / name).write_bytes(b"PK")
    assert checkpoint_files.newest(tmp_path) is None


def test_metrics_cut_at_any_byte_lose_at_most_their_last_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    for epoch in (1, 2, 3):
        metrics_file.append(path, epoch, {"acc": epoch / 10})
    whole = path.read_bytes()
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        lines = whole[:length].count(b"\n")
        drop_torn_tail(path)  # as each attempt does before it writes
        metrics_file.append(path, 9, {"acc": 0.9})
        assert list(metrics_file.epochs(path)) == [*range(1, lines + 1), 9], length
