"""The trainer fits the machine, and says what it changes."""

import logging

import pytest
import torch

from sweeper.vision.trainer import make_trainer

T4 = {"accelerator": "gpu", "devices": 1, "precision": "16-mixed", "benchmark": True}


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Messages at WARNING and above."""
    found = (record for record in caplog.records if record.levelno >= logging.WARNING)
    return [record.getMessage() for record in found]


@pytest.fixture
def _without_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("_without_gpu")
def test_a_gpu_config_without_a_gpu_says_what_it_changes(caplog, tmp_path):
    trainer = make_trainer(**T4, default_root_dir=tmp_path)
    assert trainer.precision == "32-true"
    assert type(trainer.accelerator).__name__ == "CPUAccelerator"
    assert warnings_in(caplog) == [
        "trainer: no GPU on this machine: accelerator gpu -> cpu, "
        "precision 16-mixed -> 32-true, benchmark True -> False"
    ]


@pytest.mark.usefixtures("_without_gpu")
@pytest.mark.parametrize("settings", [{}, {"accelerator": "cpu"}])
@pytest.mark.parametrize(
    ("has_units", "precision"), [(True, "bf16-mixed"), (False, "32-true")]
)
def test_automatic_settings_without_a_gpu_are_repeatable_and_silent(
    caplog, tmp_path, monkeypatch, settings, has_units, precision
):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_units)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    trainer = make_trainer(**settings, default_root_dir=tmp_path)
    assert trainer.precision == precision
    assert torch.are_deterministic_algorithms_enabled()
    assert not warnings_in(caplog)


def test_without_callbacks_and_loggers_nothing_is_added(tmp_path):
    trainer = make_trainer(accelerator="cpu", default_root_dir=tmp_path)
    assert not trainer.checkpoint_callbacks
    assert not trainer.loggers
    assert trainer.progress_bar_callback is None
