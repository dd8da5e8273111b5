"""Swin Transformers, compared with timm's models and with counts by hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import timm
import torch
from specimens import CLASSES, recipe_of
from timm.layers import DropPath, set_fused_attn, use_fused_attn
from timm.models.swin_transformer import SwinTransformer, SwinTransformerBlock
from torch import Tensor, nn

from locbench.errors import UsageError
from locbench.learning.learner import build_learner
from locbench.networks.chain import Chain, build_chain
from locbench.networks.flops import forward_flops
from locbench.spec.networks import NETWORKS, check_side, units_per_module
from locbench.spec.partition import partition_of

SWINS = [name for name in NETWORKS if NETWORKS[name].transformer]
SHALLOW, DEEP = (2, 2, 6, 2), (2, 2, 18, 2)


def on_meta(network: str, classes: int = CLASSES, side: int | None = None) -> Chain:
    shape = NETWORKS[network].transformer
    assert shape is not None
    with torch.device("meta"):
        return build_chain(network, classes, side or shape.side)


def count(net: nn.Module) -> int:
    return sum(each.numel() for each in net.parameters())


@pytest.mark.parametrize(
    ("network", "of_ten", "of_hundred"),
    [
        ("swin-tiny", 27_527_044, 27_596_254),
        ("swin-base", 86_888_834, 86_981_084),
        ("swin-large", 195_010_846, 195_149_176),
    ],
)
def test_parameters(network: str, of_ten: int, of_hundred: int) -> None:
    assert count(on_meta(network, 10)) == of_ten
    assert count(on_meta(network, 100)) == of_hundred


@pytest.mark.parametrize("network", ["swin-tiny", "swin-base", "swin-large"])
def test_shapes_are_those_of_timms_models(network: str) -> None:
    """Names, shapes and order of the layers that timm has under the pretrained name."""
    info = NETWORKS[network].transformer
    assert info is not None
    theirs = timm.create_model(info.weights.partition(".")[0], num_classes=CLASSES)
    ours = [each.shape for unit in on_meta(network).units for each in unit.parameters()]
    assert ours == [each.shape for unit in units_of(theirs) for each in unit.parameters()]


def units_of(model: nn.Module) -> Iterator[nn.ModuleList]:
    """Yield timm's layers as the paper groups them: patch embedding.

    Each block, with a merging that follows it.
    """
    yield nn.ModuleList([model.patch_embed])
    for index, stage in enumerate(model.layers):
        for place, block in enumerate(stage.blocks):
            ends = place == len(stage.blocks) - 1 and index + 1 < len(model.layers)
            yield nn.ModuleList([block, model.layers[index + 1].downsample] if ends else [block])


def copied(model: nn.Module, chain: Chain) -> Chain:
    """Give a chain a model's weights, parameter by parameter in the order of the units."""
    theirs = [each for unit in units_of(model) for each in unit.parameters()]
    theirs += [*model.norm.parameters(), *model.head.parameters()]
    with torch.no_grad():
        for ours, other in zip(chain.parameters(), theirs, strict=True):
            ours.copy_(other)
    return chain


def test_tiny_is_timms_model_bit_for_bit() -> None:
    torch.manual_seed(0)
    model = timm.create_model("swin_tiny_patch4_window7_224", num_classes=CLASSES).eval()
    chain = copied(model, build_chain("swin-tiny", CLASSES, 224)).eval()
    images = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        x, y = images, images
        for unit, theirs in zip(chain.units, units_of(model), strict=True):
            x = unit(x)
            for layer in theirs:
                y = layer(y)
            assert torch.equal(x.permute(0, 2, 3, 1), y)
        assert torch.equal(chain(images), model(images))


def micro(side: int, depths: tuple[int, ...] = SHALLOW, drop_path: float = 0.0) -> SwinTransformer:
    return SwinTransformer(
        img_size=side,
        embed_dim=24,
        depths=depths,
        num_heads=(1, 2, 4, 8),
        window_size=4,
        num_classes=CLASSES,
        drop_path_rate=drop_path,
    )


@pytest.mark.parametrize("side", [32, 64, 128])
@pytest.mark.parametrize("step", [0.0, 1 / 64])
@pytest.mark.parametrize(
    ("network", "depths"), [("swin-micro", SHALLOW), ("swin-micro-deep", DEEP)]
)
def test_micro_is_timms_model_forward_and_backward(
    network: str, depths: tuple[int, ...], side: int, step: float
) -> None:
    """In training mode, where both leave out the same blocks.

    The rates are such that timm's float32 does not round.
    """
    torch.manual_seed(0)
    drop_path = step * (sum(depths) - 1)
    model = micro(side, depths, drop_path)
    chain = copied(model, build_chain(network, CLASSES, side, drop_path))
    images, labels = torch.randn(2, 3, side, side), torch.arange(2)
    outputs = []
    for net in (model, chain):
        torch.manual_seed(7)
        outputs.append(net.train()(images))
        nn.functional.cross_entropy(outputs[-1], labels).backward()
    assert torch.equal(*outputs)
    theirs = [each.grad for unit in units_of(model) for each in unit.parameters()]
    theirs += [each.grad for part in (model.norm, model.head) for each in part.parameters()]
    for (name, ours), other in zip(chain.named_parameters(), theirs, strict=True):
        assert ours.grad is not None
        assert torch.equal(ours.grad, other), name


def rates(net: nn.Module) -> list[tuple[float, ...]]:
    blocks = [each for each in net.modules() if isinstance(each, SwinTransformerBlock)]
    pairs = [(each.drop_path1, each.drop_path2) for each in blocks]
    return [
        tuple(path.drop_prob if isinstance(path, DropPath) else 0.0 for path in pair)
        for pair in pairs
    ]


@pytest.mark.parametrize(
    ("network", "rate"), [("swin-tiny", 0.2), ("swin-base", 0.5), ("swin-large", 0.2)]
)
def test_drop_path_rises_over_the_blocks_as_in_timm(network: str, rate: float) -> None:
    shape = NETWORKS[network].transformer
    assert shape is not None
    with torch.device("meta"):
        found = rates(build_chain(network, CLASSES, shape.side, rate))
    expected = rates(micro(64, shape.depths, rate))
    assert len(found) == len(expected) == sum(shape.depths)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-7)
    assert (found[0], found[-1]) == ((0.0, 0.0), (pytest.approx(rate), pytest.approx(rate)))


def test_a_block_is_left_out_in_training_alone() -> None:
    torch.manual_seed(0)
    chain = build_chain("swin-micro", CLASSES, 32, 0.9)
    images = torch.randn(4, 3, 32, 32)
    plain = build_chain("swin-micro", CLASSES, 32)
    plain.load_state_dict(chain.state_dict())
    assert torch.equal(chain.eval()(images), plain.eval()(images))
    assert not torch.equal(chain.train()(images), plain(images))


def test_attention_is_materialised_whatever_timms_default() -> None:
    before = use_fused_attn(), use_fused_attn(experimental=True)
    set_fused_attn(True, experimental=True)
    try:
        blocks = [
            each
            for each in on_meta("swin-micro").modules()
            if isinstance(each, SwinTransformerBlock)
        ]
    finally:
        set_fused_attn(*before)
    assert len(blocks) == 12
    assert not any(each.attn.fused_attn for each in blocks)


# Blocks per module, and the map that each module but the last gives (Pathak et al. 2023, Table 1
# and section 3.1).
TABLE_1: dict[tuple[str, int], tuple[tuple[int, ...], list[tuple[int, int, int]]]] = {
    ("swin-tiny", 2): ((2, 10), [(192, 28, 28)]),
    ("swin-tiny", 4): ((2, 2, 2, 6), [(192, 28, 28), (384, 14, 14), (384, 14, 14)]),
    ("swin-base", 2): ((8, 16), [(512, 24, 24)]),
    ("swin-base", 4): ((2, 6, 8, 8), [(256, 48, 48), (512, 24, 24), (512, 24, 24)]),
    ("swin-large", 2): ((8, 16), [(768, 14, 14)]),
    ("swin-large", 4): ((2, 6, 8, 8), [(384, 28, 28), (768, 14, 14), (768, 14, 14)]),
}


@pytest.mark.parametrize(("network", "modules"), TABLE_1)
def test_published_splits(network: str, modules: int) -> None:
    """Counted in the modules themselves, not in the catalogue."""
    blocks, maps = TABLE_1[network, modules]
    chosen = recipe_of("swin-reconstruction", {}, network=network, modules=modules)
    chain, ranges = on_meta(network), partition_of(chosen).ranges
    x = torch.empty(1, 3, chosen.side, chosen.side, device="meta")
    counts, shapes = [], []
    for each in ranges:
        units = [chain.units[index] for index in each]
        counts.append(
            sum(
                isinstance(layer, SwinTransformerBlock)
                for unit in units
                for layer in unit.modules()
            )
        )
        for unit in units:
            x = unit(x)
        shapes.append(tuple(x.shape[1:]))
    assert tuple(counts) == blocks
    assert shapes[:-1] == maps
    assert chain.head(x).shape == (1, CLASSES)


def test_parameters_of_modules() -> None:
    """Swin-T, K = 4, without the patch embedding, the last norm and the classifier."""
    chain = on_meta("swin-tiny")
    ranges = partition_of(
        recipe_of("swin-reconstruction", {}, network="swin-tiny", modules=4)
    ).ranges
    found = [sum(count(chain.units[index]) for index in each if index) for each in ranges]
    assert found == [299_190, 1_188_204, 3_552_984, 22_472_544]
    outside = 48 * 96 + 96 + 2 * 96 + 2 * 768 + 768 * CLASSES + CLASSES
    assert sum(found) + outside == count(chain)


@pytest.mark.parametrize("network", SWINS)
def test_cuts_come_after_pairs_of_blocks(network: str) -> None:
    """A module holds whole pairs of a plain and a shifted window while there are enough pairs."""
    pairs = (NETWORKS[network].units - 1) // 2
    for modules in range(1, pairs + 1):
        first, *others = units_per_module(network, modules)
        assert [(first - 1) % 2, *(each % 2 for each in others)] == [0] * modules
        assert first + sum(others) == NETWORKS[network].units
        assert min(first, *others, 2) > 1
    assert units_per_module(network, None) == (1,) * NETWORKS[network].units


@pytest.mark.parametrize(
    ("network", "modules", "expected"),
    [
        ("swin-micro", 3, (5, 4, 4)),  # 6 pairs
        ("swin-tiny", 5, (3, 2, 2, 2, 4)),  # four modules of a pair, one of two
        ("swin-tiny", 6, (3, 2, 2, 2, 2, 2)),
        ("swin-base", 8, (3, 2, 2, 2, 4, 4, 4, 4)),  # 12 pairs
    ],
)
def test_unpublished_splits_are_even_in_pairs(
    network: str, modules: int, expected: tuple[int, ...]
) -> None:
    """Smaller modules first, as for the other networks.

    The patch embedding counts with the first.
    """
    assert units_per_module(network, modules) == expected


def test_modules_run_in_order_are_the_network() -> None:
    learner = build_learner(
        recipe_of("swin-reconstruction", {}, network="swin-micro", modules=4), CLASSES, 64
    )
    x = images = torch.randn(2, 3, 64, 64)
    for index in range(4):
        x, features = (
            (learner.run_module(index, x), None)
            if index == 3
            else learner.run_module_with_features(index, x)
        )
        assert (features is None) == (index == 3)
    assert torch.equal(x, learner.chain(images))


@pytest.mark.parametrize(
    ("network", "side"),
    [
        ("swin-tiny", 224),
        ("swin-tiny", 448),
        ("swin-base", 384),
        ("swin-large", 224),
        ("swin-micro", 32),
        ("swin-micro", 64),
        ("swin-micro-deep", 256),
        ("resnet8", 33),
    ],
)
def test_image_sizes_that_fit(network: str, side: int) -> None:
    check_side(network, side)


@pytest.mark.parametrize(
    ("network", "side"),
    [
        ("swin-tiny", 32),  # a map of 8 tokens and a window of 7
        ("swin-tiny", 225),
        ("swin-tiny", 384),  # 96 tokens
        ("swin-base", 224),  # 56 tokens and a window of 12
        ("swin-micro", 16),  # 4, 2, 1 tokens and none
        ("swin-micro", 96),  # 24, 12, 6 tokens and a window of 4
        ("swin-micro", 100),
    ],
)
def test_image_sizes_that_no_window_divides_are_refused(network: str, side: int) -> None:
    with pytest.raises(UsageError, match=f"images of {side} pixels") as refused:
        check_side(network, side)
    assert str(NETWORKS[network].transformer.side) in refused.value.remedy  # type: ignore[union-attr]
    with pytest.raises(UsageError, match="divide"):
        recipe_of("bp", {}, network=network, image_size=side)


def test_the_size_that_is_recommended_is_accepted() -> None:
    for network in SWINS:
        with pytest.raises(UsageError) as refused:
            check_side(network, 100)
        sizes = [
            int(word.strip(",."))
            for word in refused.value.remedy.split()
            if word.strip(",.").isdigit()
        ]
        assert len(sizes) == 2
        for each in (*sizes, 2 * sizes[0]):
            check_side(network, each)


def test_a_transformer_trains_at_its_own_size_unless_told_otherwise() -> None:
    assert recipe_of("bp", {}, network="swin-tiny").side == 224
    assert recipe_of("bp", {}, network="swin-base").side == 384
    assert recipe_of("bp", {}, network="swin-micro", image_size=32).side == 32


def test_drop_path_is_for_transformers() -> None:
    with pytest.raises(UsageError, match="drop_path is for transformers"):
        recipe_of("bp", {}, drop_path=0.1)
    with pytest.raises(UsageError, match="timm has no weights of ResNet-8"):
        recipe_of("bp", {}, init="pretrained")


def test_maps_keep_their_channels_last_in_memory() -> None:
    """So that nothing is copied between the layers."""
    chain, x = build_chain("swin-micro", CLASSES, 64), torch.randn(2, 3, 64, 64)
    chain = chain.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for unit in chain.units:
        x = unit(x)
        assert x.is_contiguous(memory_format=torch.channels_last)


def test_initial_weights_are_the_pipelines() -> None:
    """Truncated normal of deviation 0.02 for linear layers and position biases.

    Biases 0, norms 1 and 0.
    """
    torch.manual_seed(0)
    chain = build_chain("swin-micro", CLASSES, 64)
    for name, each in chain.named_parameters():
        layer = chain.get_submodule(name.rpartition(".")[0])
        if name.endswith("relative_position_bias_table") or (
            isinstance(layer, nn.Linear) and each.ndim == 2
        ):
            # Five standard errors of a standard deviation.
            tolerance = 5 * 0.02 / (2 * each.numel()) ** 0.5
            assert each.std().item() == pytest.approx(0.02, abs=tolerance), name
        elif isinstance(layer, nn.LayerNorm) and name.endswith("weight"):
            assert each.eq(1).all(), name
        elif isinstance(layer, nn.Linear | nn.LayerNorm):
            assert each.eq(0).all(), name


def test_networks_start_alike_whatever_the_method_and_drop_path() -> None:
    def weights(method: str, **settings: float | int) -> dict[str, Tensor]:
        made = recipe_of(method, {}, network="swin-micro", **settings)
        return build_learner(made, CLASSES, 64).chain.state_dict()

    expected = weights("bp")
    for found in (
        weights("swin-infopro", modules=4),
        weights("swin-greedy", modules=2, drop_path=0.2),
    ):
        assert all(torch.equal(each, found[name]) for name, each in expected.items())
    assert not all(
        torch.equal(each, weights("bp", seed=1)[name]) for name, each in expected.items()
    )


def test_operations_of_tiny_by_formula() -> None:
    """4.5 G in Table 1: 12 h w C^2 + 2 M^2 h w C per block (Liu et al. 2021, eq. 2, and MLP)."""
    tokens, macs = 56 * 56, 56 * 56 * 96 * 48
    for stage, depth in enumerate(SHALLOW):
        channels = 96 * 2**stage
        macs += depth * tokens * (12 * channels**2 + 2 * 49 * channels)
        if stage < 3:
            tokens //= 4
            macs += tokens * 8 * channels**2
    macs += 768 * 1000
    assert forward_flops(lambda: build_chain("swin-tiny", 1000, 224), (3, 224, 224)).macs == macs
    assert round(macs / 1e9, 1) == 4.5
