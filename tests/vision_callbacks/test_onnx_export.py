"""The file that is left computes what the best checkpoint does."""

import json

import numpy as np
import onnxruntime
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from sweeper.vision.callbacks.ema import EMA
from sweeper.vision.callbacks.onnx_export import OnnxError, OnnxExport, check, export
from sweeper.vision.network import build_network
from sweeper.vision.predict import load_classifier
from tests.vision_callbacks.fitting import fit

pytestmark = pytest.mark.slow


def test_the_file_computes_the_best_checkpoint_for_any_batch(tmp_path):
    best = ModelCheckpoint(tmp_path, filename="best", monitor="val/loss", mode="max")
    fit([EMA(), best, OnnxExport(str(tmp_path))], tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    classifier = load_classifier(tmp_path / "best.ckpt")
    for size in (1, 2, 7):
        images = torch.randn(size, 3, 8, 8)
        (found,) = session.run(None, {"images": images.numpy()})
        with torch.inference_mode():
            np.testing.assert_allclose(found, classifier(images).numpy(), atol=1e-4)
    names = session.get_modelmeta().custom_metadata_map["class_names"]
    assert json.loads(names) == ["0", "1", "2"]
    assert [path.name for path in tmp_path.glob("*onnx*")] == ["model.onnx"]


def test_another_network_than_the_file_s_is_an_error(tmp_path):
    one, two = (
        build_network("small_cnn", num_classes=3, image_size=8).eval() for _ in "ab"
    )
    export(one, tmp_path / "model.onnx", image_size=8, names=("a", "b", "c"))
    with pytest.raises(OnnxError, match=r"differ from torch's by .*=null"):
        check(two, tmp_path / "model.onnx", torch.ones(2, 3, 8, 8))
