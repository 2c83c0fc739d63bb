"""What is read from the outputs of a validation step."""

import pytest
import torch

from sweeper.trial.correctness import ValidationPass

LABELS = torch.tensor([0, 1, 2])
LOGITS = torch.eye(3)[[0, 2, 2]]


@pytest.mark.parametrize(
    "outputs",
    [
        {"logits": LOGITS, "labels": LABELS},
        {"preds": LOGITS.argmax(1), "targets": LABELS},
        {"correct": torch.tensor([True, False, True]), "y": LABELS},
        {"loss": torch.tensor(1.0), "correct": torch.tensor([1, 0, 1])},
    ],
)
def test_correctness_is_read_from_any_of_these(
    outputs: dict[str, torch.Tensor],
) -> None:
    validation = ValidationPass()
    validation.add(outputs)
    validation.add(outputs)
    assert validation.correct() == "101101"
    assert bool(validation.order()) is (len(outputs) == 2 and "loss" not in outputs)


@pytest.mark.parametrize(
    "outputs",
    [
        None,
        torch.tensor(1.0),
        {"loss": torch.tensor(1.0)},
        {"logits": LOGITS},
        {"logits": LOGITS, "labels": LABELS[:2]},
        {"logits": LOGITS[None], "labels": LABELS},
    ],
)
def test_a_batch_that_does_not_say_voids_the_pass(outputs: object) -> None:
    validation = ValidationPass()
    validation.add({"correct": torch.tensor([1.0])})
    validation.add(outputs)
    assert validation.correct() == ""
