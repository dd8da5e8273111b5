"""Models of timm as chains: timm's weights, outputs and gradients, and what trains on them."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from specimens import CLASSES, batch, recipe_of
from torch import Tensor, nn

from locbench.costs.counts import flops_by_part, parameter_counts
from locbench.costs.memory.trace import peak_bytes
from locbench.errors import UsageError
from locbench.learning.learner import Learner, build_learner
from locbench.networks import timm_models
from locbench.networks.chain import Chain, build_chain
from locbench.networks.pretrained import library_of, library_state, load_state
from locbench.spec.arguments import cost_recipe
from locbench.spec.networks import NETWORKS
from locbench.spec.recipe import Recipe
from locbench.training.optimizer import make_optimizer

SMALL = [
    ("resnet18", 32, {}),
    ("vit_tiny_patch16_224", 32, {"img_size": 32}),
    ("convnext_atto", 64, {}),
    ("mobilenetv3_small_050", 64, {}),
    ("swin_s3_tiny_224", 64, {"img_size": 64, "drop_path_rate": 0.0}),
]
"""Models, sides of images, and what tells timm of these."""


def theirs(name: str, seed: int = 3, **options: Any) -> nn.Module:
    torch.manual_seed(seed)
    return timm.create_model(name, num_classes=CLASSES, **options)  # type: ignore[no-any-return]


def ours(name: str, side: int, seed: int = 3, drop_path: float = 0.0) -> Chain:
    torch.manual_seed(seed)
    return build_chain(f"timm:{name}", CLASSES, side, drop_path)


def recipe(network: str, method: str = "dgl", side: int = 32, **settings: Any) -> Recipe:
    options = settings.pop("options", {})
    settings = {"network": f"timm:{network}", "image_size": side, **settings}
    return recipe_of(method, options, **settings)


def learner(network: str, method: str = "dgl", side: int = 32, **settings: Any) -> Learner:
    return build_learner(recipe(network, method, side, **settings), CLASSES, side)


@pytest.mark.parametrize(("name", "side", "options"), SMALL)
def test_weights_outputs_and_gradients_are_timms(
    name: str, side: int, options: dict[str, Any]
) -> None:
    """Bit for bit, in training and evaluation, from the same seed."""
    model, chain = theirs(name, **options), ours(name, side)
    own = chain.state_dict()
    names = timm_models.timm_names(name, chain)
    assert names.keys() == model.state_dict().keys()
    assert sorted(names.values()) == sorted(own)
    for key, weights in model.state_dict().items():
        assert torch.equal(own[names[key]], weights), key
    images = torch.randn(3, 3, side, side)
    for net in (model.train(), chain.train()):
        net(images).square().sum().backward()
    gradients = {key: each.grad for key, each in chain.named_parameters()}
    for key, each in model.named_parameters():
        found = gradients[names[key]]
        assert (each.grad is None) == (found is None)
        assert each.grad is None or torch.equal(each.grad, found), key
    for key, weights in model.state_dict().items():  # BatchNorm's statistics have moved alike
        assert torch.equal(chain.state_dict()[names[key]], weights), key
    assert torch.equal(chain.eval()(images), model.eval()(images))


def test_stochastic_depth_draws_what_timm_draws() -> None:
    model = theirs("convnext_atto", drop_path_rate=0.5).train()
    chain = ours("convnext_atto", 64, drop_path=0.5).train()
    images = torch.randn(8, 3, 64, 64)
    outputs = []
    for net in (model, chain, chain):
        torch.manual_seed(len(outputs) // 2)
        outputs.append(net(images))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[1], outputs[2])


def test_the_first_question_draws_nothing() -> None:
    """Whether timm was asked before decides no random number."""
    for cached in (timm_models.facts, timm_models._cuts, timm_models._described, timm_models._copy):
        cached.cache_clear()  # type: ignore[attr-defined]
    first, second = ours("resnet18", 32), ours("resnet18", 32)
    for left, right in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(left, right)


@pytest.mark.parametrize(
    ("name", "layers", "stages", "millions"),
    [
        ("resnet18", 9, (1, 2, 2, 2, 2), 11.69),
        ("resnet50", 17, (1, 3, 4, 6, 3), 25.56),
        ("vit_small_patch16_224", 13, (1, 12), 22.05),
        ("convnext_tiny", 19, (1, 3, 3, 9, 3), 28.59),
        ("regnetx_002", 14, (1, 1, 1, 4, 7), 2.68),
    ],
)
def test_layers_and_parameters(
    name: str, layers: int, stages: tuple[int, ...], millions: float
) -> None:
    """Blocks per stage as the papers have them; parameters as timm's table prints them."""
    with torch.device("meta"):
        chain = build_chain(f"timm:{name}", 1000, 224)
    assert NETWORKS[f"timm:{name}"].units == len(chain.units) == layers
    numbers = [spec.stage for spec in chain.specs]
    assert tuple(numbers.count(stage) for stage in range(max(numbers) + 1)) == stages
    assert round(sum(each.numel() for each in chain.parameters()) / 1e6, 2) == millions


@pytest.mark.parametrize(("name", "side", "options"), SMALL)
def test_maps_of_local_layers(name: str, side: int, options: dict[str, Any]) -> None:
    chain, x = ours(name, side).eval(), torch.randn(2, 3, side, side)
    with torch.no_grad():
        for unit, spec in zip(chain.units, chain.specs, strict=True):
            x = unit(x)
            assert spec.map_of(x).shape == (2, spec.channels, spec.side, spec.side)


def test_tokens_are_a_map_row_by_row() -> None:
    """The class token is left out, and its gradient is zero."""
    layout = ours("vit_tiny_patch16_224", 48).specs[0].layout
    assert layout is not None
    tokens = torch.randn(2, 1 + 9, 192, requires_grad=True)
    maps = layout.map_of(tokens)
    for row in range(3):
        for column in range(3):
            assert torch.equal(maps[:, :, row, column], tokens[:, 1 + 3 * row + column])
    weights = torch.randn(2, 192, 3, 3)
    (maps * weights).sum().backward()
    assert tokens.grad is not None
    assert torch.equal(layout.laid_out(weights), tokens.grad)
    assert not tokens.grad[:, 0].any()


@pytest.mark.parametrize("modules", [1, 2, 5, 13])
def test_cut_anywhere(modules: int) -> None:
    """Modules one after the other are the network, whatever K, and learn from their own losses."""
    net = learner("vit_tiny_patch16_224", modules=modules)
    images, targets = batch(4, 32, torch.float32)
    with torch.no_grad():
        x = images
        for index in range(modules):
            x = net.run_module(index, x)
        assert torch.equal(x, net.chain(images))
    output = net.step(images, targets)
    assert output.losses.shape == (modules,)
    assert output.losses.isfinite().all()
    assert all(each.grad is not None for each in net.parameters())


def test_an_auxiliary_net_sees_the_map_and_trains_the_module() -> None:
    """Compared with autograd through the tokens."""
    net = learner("vit_tiny_patch16_224", modules=4).double()
    images, targets = batch(4, 32)
    net.step(images, targets)
    found = [each.grad for each in net.module_parameters(1)]
    x = images
    with torch.no_grad():
        x = net.run_module(0, x)
    tokens = net.run_module(1, x)
    maps = tokens[:, 1:].transpose(1, 2).reshape(4, 192, 2, 2)
    branch = next(iter(net.independents["1"].branches))  # type: ignore[arg-type, union-attr]
    scores = branch(maps)
    loss = nn.functional.cross_entropy(scores, targets.labels)
    expected = torch.autograd.grad(loss, net.module_parameters(1))
    for left, right in zip(found, expected, strict=True):
        assert left is not None
        torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-12)


METHODS = [
    "predsim",
    "infopro",
    "head",
    "pgl+head",
    "hpff+infopro",
    "pff+dgl",
    "swin-reconstruction",
    "checkpointed+bp",
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_s3_tiny_224", "convnext_atto"])
def test_a_step_of_every_method(name: str, method: str) -> None:
    net = learner(name, method, 64, modules=None if method.endswith("bp") else 3)
    images, targets = batch(4, 64, torch.float32)
    for guided in (False, True):
        output = net.step(images, targets, guided=guided)
        assert output.losses.isfinite().all()
    assert all(each.grad is not None for each in net.chain.parameters())


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_lean_memory_gives_the_same_gradients(name: str) -> None:
    images, targets = batch(4, 32)
    plain, lean = (learner(name, modules=3, memory=memory).double() for memory in ("plain", "lean"))
    for net in (plain, lean):
        net.step(images, targets)
    for (key, left), (_, right) in zip(
        plain.named_parameters(), lean.named_parameters(), strict=True
    ):
        assert left.grad is not None
        torch.testing.assert_close(left.grad, right.grad, rtol=1e-8, atol=1e-11, msg=key)


def of_imagenet(network: str, method: str, **options: Any) -> Recipe:
    settings = {"network": network, "method": method, "options": options, "modules": 4}
    return cost_recipe({**settings, "image_size": 224, "batch_size": 32})


@pytest.mark.parametrize(
    ("method", "options"), [("bp", {}), ("dgl", {}), ("auglocal", {"depth": 3})]
)
def test_timms_resnet_costs_what_torchvisions_does(method: str, options: dict[str, Any]) -> None:
    """The same architecture: parameters, operations and predicted bytes, AugLocal's copies too."""
    left = of_imagenet("timm:resnet34", method, **options)
    right = of_imagenet("resnet34", method, **options)
    assert parameter_counts(left) == parameter_counts(right)
    assert flops_by_part(left) == flops_by_part(right)
    assert peak_bytes(left) == peak_bytes(right)


@pytest.mark.parametrize(
    ("name", "macs"), [("resnet18", 1.8), ("vit_small_patch16_224", 4.6), ("convnext_tiny", 4.5)]
)
def test_costs_at_224_pixels(name: str, macs: float) -> None:
    """Operations as their papers print them, of attention too; a batch beyond any memory."""
    settings = {"network": f"timm:{name}", "image_size": 224, "batch_size": 4096, "modules": 4}
    local, whole = (cost_recipe({**settings, "method": method}) for method in ("dgl", "bp"))
    assert round(flops_by_part(whole).network.macs / 1e9, 1) == macs
    assert 10e9 < peak_bytes(local) < 0.75 * peak_bytes(whole)


@pytest.mark.parametrize("name", ["resnet18", "vit_small_patch16_224", "convnext_tiny"])
def test_a_step_at_224_pixels(name: str) -> None:
    chosen = recipe(name, side=224, modules=3)
    net = build_learner(chosen, CLASSES, 224)
    output = net.step(*batch(2, 224, torch.float32))
    make_optimizer(net, chosen).step()
    assert output.losses.isfinite().all()
    assert all(each.isfinite().all() for each in net.parameters())


@pytest.mark.parametrize(
    ("name", "side"), [("resnet18", 32), ("resnet50", 32), ("convnext_atto", 64)]
)
def test_a_step_of_auglocal(name: str, side: int) -> None:
    net = learner(name, "auglocal", side, modules=4, options={"depth": 3})
    output = net.step(*batch(4, side, torch.float32))
    assert output.losses.isfinite().all()
    assert all(each.grad is not None for each in net.parameters())


@pytest.mark.parametrize("name", ["resnet50", "resnext50_32x4d", "convnextv2_atto"])
def test_copies_have_the_form_of_the_blocks(name: str) -> None:
    """Widths and strides as between two blocks of the network give a block of the same shapes."""
    with torch.device("meta"):
        specs = build_chain(f"timm:{name}", CLASSES, 64).specs
        model = timm.create_model(name)
    blocks = [model.get_submodule(each.path) for each in timm_models.blocks_of(model)]
    for before, spec, block in zip(specs, specs[1:], blocks, strict=False):
        if name.startswith("convnext"):  # its blocks change nothing, layers between them do
            before = spec
        copy = spec.clone(before.channels, spec.channels, before.side // spec.side)
        assert shapes(copy) == shapes(block)
        assert all(not each.is_meta for each in copy.parameters())


def shapes(net: nn.Module) -> dict[str, torch.Size]:
    return {name: each.shape for name, each in net.state_dict().items()}


@pytest.mark.parametrize(
    ("name", "side", "message", "remedy"),
    [
        ("", 32, "names no model", "resnet18"),
        ("resnet81", 32, "no model 'resnet81'", "'timm:resnet"),
        ("no such thing at all", 32, "no model", "list_models"),
        ("vgg11", 32, "looked for: blocks, layers, stages", "vit_small_patch16_224"),
        ("inception_v3", 299, "looked for: blocks, layers, stages", "resnet18"),
        ("hrnet_w18", 224, "cannot be cut", "resnet18"),
        ("xcit_nano_12_p16_224", 224, "more than one tensor passes", "resnet18"),
        ("levit_128s", 224, "another path in training", "resnet18"),
        ("vit_tiny_patch16_224", 40, "patches of 16 pixels", "image_size=224"),
        ("convnext_atto", 8, "does not take images of 8 pixels", "image_size=224"),
    ],
)
def test_what_is_refused(name: str, side: int, message: str, remedy: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        recipe(name, side=side)
    assert remedy in str(caught.value.remedy)


def test_what_does_not_go_together() -> None:
    with pytest.raises(UsageError, match="has no rule for those of timm:vit_tiny"):
        recipe("vit_tiny_patch16_224", "auglocal")
    with pytest.raises(UsageError, match="has no rule for those of timm:seresnet18"):
        recipe("seresnet18", "auglocal")
    with pytest.raises(UsageError, match="by a mean of"):
        recipe("vit_tiny_patch16_224", augmentation="swin")
    with pytest.raises(UsageError, match="9 local layers and cannot be cut into 10"):
        recipe("resnet18", modules=10)


@pytest.mark.parametrize(
    ("name", "side", "classifier"),
    [
        ("resnet18", 32, "fc."),
        ("vit_tiny_patch16_224", 32, "head."),
        ("convnext_atto", 64, "head.fc."),
    ],
)
def test_weights_come_and_go_under_timms_names(name: str, side: int, classifier: str) -> None:
    """All but the classifier's; a transformer's positions are scaled to the images."""
    model, chain = theirs(name, seed=8), ours(name, side)
    before = {key: each.clone() for key, each in library_state(chain, f"timm:{name}").items()}
    load_state(chain, f"timm:{name}", model.state_dict())
    after = library_state(chain, f"timm:{name}")
    assert library_of(f"timm:{name}") == "timm"
    for key, weights in model.state_dict().items():
        if key == "pos_embed":
            assert after[key].shape == (1, 5, 192)
            assert torch.equal(after[key][:, 0], weights[:, 0])
            assert not torch.equal(after[key], before[key])
        else:
            kept: Tensor = before[key] if key.startswith(classifier) else weights
            assert torch.equal(after[key], kept), key
