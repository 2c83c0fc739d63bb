"""Sweeps on a Ray cluster that somebody else has started."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from tests.e2e.harness import LOOP, driver, results

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.long]

FILE = f"""
name: loop
target: loop:train
config: conf/loop.yaml
project: {LOOP}
overrides: [epochs=3, sleep=0.5]
search_space: {{rate: [0.1, 0.2]}}
objective: {{metric: acc, mode: max}}
resources: {{gpus: 0, cpus: %s}}
wandb: none
"""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A head node with one core; it connects no process to itself."""
    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    yield started
    started.shutdown()


def test_two_sweeps_of_one_name_share_a_cluster(
    cluster: Cluster, tmp_path: Path
) -> None:
    file = tmp_path / "loop.yaml"
    file.write_text(FILE % 1)
    places = [tmp_path / "mine", tmp_path / "yours"]
    options = ("--address", cluster.address)
    with (
        driver(file, *options, "--sweeps", places[0], output=tmp_path / "a") as mine,
        driver(file, *options, "--sweeps", places[1], output=tmp_path / "b") as yours,
    ):
        assert mine.wait() == 0, mine.tail()
        assert yours.wait() == 0, yours.tail()
    for place in places:
        assert {len(epochs) for epochs in results("loop", place).values()} == {3}


def test_a_sweep_whose_node_is_gone_says_so_and_continues_when_it_is_back(
    cluster: Cluster, tmp_path: Path
) -> None:
    file = tmp_path / "loop.yaml"
    file.write_text(FILE % 3)
    node = cluster.add_node(num_cpus=4)
    options = ("--address", cluster.address, "--sweeps", tmp_path / "sweeps")
    with driver(file, *options, output=tmp_path / "out") as running:
        running.wait_for(" epoch ")
        cluster.remove_node(node, allow_graceful=False)
        running.wait_for("a node of the cluster is gone (4 CPU)")
        cluster.add_node(num_cpus=4)
        running.wait_for("the sweep continues")
        assert running.wait() == 0, running.tail()
    text = running.output.read_text()
    assert text.count("is gone") == 1, text
    assert {
        len(epochs) for epochs in results("loop", tmp_path / "sweeps").values()
    } == {3}
