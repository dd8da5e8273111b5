"""Operations of a training step."""

from __future__ import annotations

import msgspec
from specimens import recipe

from locbench.costs.time_estimate import training_macs
from locbench.networks.chain import build_chain
from locbench.networks.flops import forward_flops


def test_operations_of_training() -> None:
    network = forward_flops(lambda: build_chain("resnet8", 10, 16), (3, 16, 16)).macs
    assert training_macs(recipe("bp")) == 3 * network
    assert training_macs(recipe("bp+checkpointed")) == 4 * network
    heads = training_macs(recipe("dgl")) - 3 * network
    assert heads > 0
    assert heads % 3 == 0
    assert (
        training_macs(msgspec.structs.replace(recipe("dgl"), memory="lean")) == 4 * network + heads
    )
    # Cascades bring one more set of auxiliary nets, of all windows but those at the network's ends.
    assert training_macs(recipe("hpff+dgl", pff=0)) > 4 * network + heads
    assert training_macs(recipe("hpff+dgl", pff=0, engine="recompute")) == (
        training_macs(recipe("hpff+dgl", pff=0)) + 5 * network
    )
