"""Swin feature reconstruction's block, by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from specimens import CLASSES, assert_same, batch, gradients
from swin_specimens import INFOPRO, OURS, SIDE, block_of, learner, stepped, swin
from torch import Tensor, nn

from locbench.costs.counts import parameter_counts
from locbench.errors import UsageError
from locbench.learning.auxiliary.branch import AttachPoint, Targets
from locbench.learning.auxiliary.infopro import QuadrantDecoders
from locbench.learning.auxiliary.swin import decoder_of, deconvolution_factors, feature_target
from locbench.learning.learner import build_learner
from locbench.learning.losses import reconstruction, supervised_contrast
from locbench.learning.modules import build_branch
from locbench.networks.chain import LayerSpec
from locbench.spec.components import SharedStem
from locbench.spec.published_weights import reconstruction_weights

TARGETS = ("sigmoid-ln", "sigmoid", "minmax", "raw-mse")


# Weights


@pytest.mark.parametrize(
    ("modules", "expected"),
    [(2, [(3, 1)]), (3, [(3, 1), (1.5, 2.5)]), (4, [(3, 1), (2, 2), (1, 3)])],
)
@pytest.mark.parametrize("method", [OURS, INFOPRO])
def test_published_weights(method: str, modules: int, expected: list[tuple[float, float]]) -> None:
    net = learner(method, modules)
    blocks = [block_of(net, index) for index in range(modules - 1)]
    assert [(each.alpha, each.beta) for each in blocks] == [
        pytest.approx(pair) for pair in expected
    ]
    assert [each.weights for each in net.independents.values()] == [[1.0]] * (modules - 1)


def test_weights_of_greedy_losses() -> None:
    """Cross-entropy has weight 1, the contrastive loss the paper's beta."""
    assert [each.weights for each in learner("swin-greedy").independents.values()] == [[1.0]] * 3
    weights = [each.weights for each in learner("swin-contrast").independents.values()]
    assert weights == [[1.0], [2.0], [pytest.approx(3.0)]]


@pytest.mark.parametrize("modules", [1, 2, 3, 4, 6, 12])
def test_weights_are_linear_in_the_module(modules: int) -> None:
    """alpha_i = 3 (K - i) / (K - 1), beta_i = 1 + 3 (i - 1) / (K - 1), over i = 1 ... K - 1."""
    (alpha_first, alpha_last), (beta_first, beta_last) = reconstruction_weights(modules)
    last = max(1, modules - 1)
    span = max(1, modules - 1)
    assert (alpha_first, beta_first) == (3, 1)
    assert alpha_last == pytest.approx(3 * (modules - last) / span if modules > 1 else 3)
    assert beta_last == pytest.approx(1 + 3 * (last - 1) / span)


def test_weights_that_are_given_replace_the_published_ones() -> None:
    net = learner(OURS, reconstruction_weight=[5, 1], task_weight=[0, 4])
    assert [(each.alpha, each.beta) for each in (block_of(net, index) for index in range(3))] == [
        (5, 0),
        (3, 2),
        (1, 4),
    ]


OF_NO_USE = [
    ("swin-greedy", {"temperature": 0.5}),
    ("swin-greedy", {"feature_dim": 64}),
    ("swin-greedy", {"reconstruction_weight": [5, 1]}),
    ("swin-contrast", {"reconstruction_weight": [5, 1]}),
    ("swin-contrast", {"decoder": "linear"}),
    (INFOPRO, {"feature_target": "sigmoid"}),
]


@pytest.mark.parametrize(("method", "options"), OF_NO_USE, ids=str)
def test_options_that_a_method_has_no_use_for_are_refused(
    method: str, options: dict[str, Any]
) -> None:
    with pytest.raises(UsageError, match="has no option"):
        swin(method, **options)


def test_recipes_that_train_the_same_have_one_key() -> None:
    """Only deconvolutions have a width between them."""
    for method in (OURS, INFOPRO):
        for decoder in ("linear", "interp"):
            assert (
                swin(method, decoder=decoder, decoder_width=64).key
                == swin(method, decoder=decoder).key
            )
        assert swin(method, decoder_width=64).key != swin(method).key
    assert swin("swin-greedy", task_weight=[1, 1]).key == swin("swin-greedy").key
    assert swin("swin-contrast", task_weight=[1, 3]).key == swin("swin-contrast").key
    assert swin(OURS, task_weight=[1, 3], reconstruction_weight=[3, 1]).key == swin(OURS).key
    assert (
        len({swin(method).key for method in (OURS, INFOPRO, "swin-greedy", "swin-contrast", "bp")})
        == 5
    )


# Losses and targets


def contrast_by_anchor(z: Tensor, labels: list[int], temperature: float) -> list[float]:
    """Return each anchor's loss by the definition, one exponential at a time."""
    found = []
    for a, anchor in enumerate(z):
        powers = {
            j: math.exp(float(anchor @ other) / temperature) for j, other in enumerate(z) if j != a
        }
        positives = [j for j in powers if labels[j] == labels[a]]
        terms = [math.log(powers[p] / sum(powers.values())) for p in positives]
        found.append(-sum(terms) / len(terms) if terms else 0.0)
    return found


@pytest.mark.parametrize(("temperature", "mean"), [(0.5, 0.458389581), (0.07, 0.033516756)])
def test_contrastive_loss(temperature: float, mean: float) -> None:
    z = torch.tensor([[1, 0], [0.8, 0.6], [0, 1], [-0.6, 0.8], [-1, 0]], dtype=torch.float64)
    labels = [0, 0, 1, 1, 2]
    anchors = contrast_by_anchor(z, labels, temperature)
    if temperature == 0.5:
        assert anchors == pytest.approx(
            [0.254665709, 0.648661592, 0.729533632, 0.659086975, 0], abs=1e-9
        )
    assert sum(anchors) / 5 == pytest.approx(mean, abs=1e-9)
    found = supervised_contrast(z, torch.tensor(labels), temperature)
    assert found.item() == pytest.approx(mean, abs=1e-9)
    # Features need not be normalised before, and an anchor alone in its class has weight 1/5 of
    # nothing.
    assert supervised_contrast(3 * z, torch.tensor(labels), temperature).item() == pytest.approx(
        mean, abs=1e-9
    )


def test_contrastive_loss_without_any_pair_is_zero_and_has_a_gradient() -> None:
    z = torch.randn(4, 8, dtype=torch.float64, requires_grad=True)
    loss = supervised_contrast(z, torch.arange(4), 0.07)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert z.grad is not None
    assert z.grad.eq(0).all()


def test_feature_target_by_hand() -> None:
    x = torch.tensor([1.0, 2.0, 3.0, 6.0], dtype=torch.float64).view(1, 4, 1, 1)
    target = feature_target(x, "sigmoid-ln")
    assert target.flatten().tolist() == pytest.approx([0.2556, 0.3695, 0.5, 0.8325], abs=5e-5)
    assert reconstruction(target, target).item() == pytest.approx(0.593020, abs=5e-7)
    assert reconstruction(torch.full_like(target, 0.5), target).item() == pytest.approx(
        0.693147, abs=5e-7
    )


def test_layer_norm_of_the_target_is_over_channels_of_each_place() -> None:
    x = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    centred = x - x.mean(dim=1, keepdim=True)
    expected = 1 / (
        1 + torch.exp(-centred / (x.var(dim=1, keepdim=True, unbiased=False) + 1e-5).sqrt())
    )
    torch.testing.assert_close(feature_target(x, "sigmoid-ln"), expected)


def test_other_targets_by_hand() -> None:
    x = torch.tensor([[-2.0, 0.0], [2.0, 6.0]], dtype=torch.float64).view(2, 2, 1, 1)
    flat: Callable[[str], list[float]] = lambda kind: feature_target(x, kind).flatten().tolist()  # noqa: E731
    assert flat("minmax") == [0, 1, 0, 1]  # each image over its own range
    assert flat("raw-mse") == [-2, 0, 2, 6]
    assert flat("sigmoid") == pytest.approx([1 / (1 + math.exp(-each)) for each in (-2, 0, 2, 6)])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("kind", TARGETS)
def test_targets_are_finite_detached_and_in_range(kind: str, dtype: torch.dtype) -> None:
    features = (100 * torch.randn(3, 8, 4, 4)).to(dtype).requires_grad_()
    constant = torch.full((2, 8, 4, 4), 7.0, dtype=dtype)
    for x in (features, constant):
        before = x.detach().clone()
        target = feature_target(x, kind)
        assert target.isfinite().all()
        assert not target.requires_grad
        assert target.dtype == (torch.float64 if dtype is torch.float64 else torch.float32)
        assert kind == "raw-mse" or (target.min() >= 0 and target.max() <= 1)
        assert torch.equal(x.detach(), before)


def test_feature_target_does_not_depend_on_the_scale() -> None:
    x = torch.randn(2, 96, 4, 4, dtype=torch.float64)
    assert torch.allclose(
        feature_target(1000 * x, "sigmoid-ln"), feature_target(x, "sigmoid-ln"), atol=1e-5
    )


@pytest.mark.parametrize("prediction", [0.1, 0.5, 0.9])
def test_reconstruction_is_least_at_its_target(prediction: float) -> None:
    target = feature_target(torch.randn(2, 24, 4, 4, dtype=torch.float64), "sigmoid-ln")
    entropy = -(target * target.log() + (1 - target) * (1 - target).log()).mean()
    torch.testing.assert_close(reconstruction(target, target), entropy)
    assert reconstruction(torch.full_like(target, prediction), target) > entropy


def test_infopro_clamps_the_image() -> None:
    """Random erasing of the Swin pipeline writes Gaussian pixels."""
    net = learner(INFOPRO, 2)
    images, targets = batch(side=SIDE)
    assert targets.pixels is not None
    wild = targets.pixels.clone()
    wild[:, :, :8, :8] += torch.randn(6, 3, 8, 8, dtype=torch.float64) * 3
    assert wild.min() < 0 < 1 < wild.max()
    clamped = stepped(net, (images, Targets(targets.labels, wild.clamp(0, 1))))
    assert_same(stepped(net, (images, Targets(targets.labels, wild))), clamped)
    assert wild.max() > 1  # the caller's pixels are as they were
    block = block_of(net, 0)
    restored = torch.rand(6, 3, SIDE, SIDE, dtype=torch.float64)
    by_hand = F.binary_cross_entropy(restored, wild.clamp(0, 1))
    torch.testing.assert_close(
        block.reconstruction(restored, Targets(targets.labels, wild)), by_hand
    )


# Decoders


@pytest.mark.parametrize(
    ("scale", "factors"),
    [(1, ()), (2, (2,)), (4, (4,)), (8, (2, 4)), (16, (4, 4)), (32, (2, 4, 4))],
)
def test_factors_of_deconvolutions(scale: int, factors: tuple[int, ...]) -> None:
    assert deconvolution_factors(scale) == factors
    layers = decoder_of(SharedStem(decoder="deconv"), 12, 7, scale)
    convolutions = [each for each in layers if isinstance(each, nn.ConvTranspose2d)]
    assert tuple(each.kernel_size for each in convolutions) == tuple(
        (each, each) for each in factors
    )
    assert tuple(each.stride for each in convolutions) == tuple((each, each) for each in factors)
    assert all(each.out_channels == 256 for each in convolutions[:-1])


@pytest.mark.parametrize("scale", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("decoder", ["linear", "deconv", "interp"])
def test_decoders_scale_and_end_in_a_sigmoid(decoder: Any, scale: int) -> None:
    net = decoder_of(SharedStem(decoder=decoder), 6, 5, scale).eval()
    y = net(20 * torch.randn(2, 6, 3, 3))
    assert y.shape == (2, 5, 3 * scale, 3 * scale)
    assert 0 <= y.min() < y.max() <= 1
    raw = decoder_of(SharedStem(decoder=decoder, feature_target="raw-mse"), 6, 5, scale).eval()
    raw.load_state_dict(net.state_dict())
    x = torch.randn(2, 6, 3, 3)
    torch.testing.assert_close(raw(x).sigmoid(), net(x))


@pytest.mark.parametrize("scale", [0, 3, 6])
def test_decoders_scale_by_powers_of_two(scale: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        decoder_of(SharedStem(), 6, 5, scale)


def test_linear_decoder_is_one_linear_layer_per_token() -> None:
    """Each token gives an s x s patch of the target, as SimMIM's head does."""
    net = decoder_of(SharedStem(decoder="linear"), 6, 5, 4)
    x = torch.zeros(1, 6, 3, 3)
    quiet = net(x)
    x[0, :, 1, 2] = torch.randn(6)
    changed = (net(x) != quiet).any(dim=1)[0]
    expected = torch.zeros(12, 12, dtype=torch.bool)
    expected[4:8, 8:12] = True
    assert torch.equal(changed, expected)


SCALES = {
    ("swin-tiny", 2, OURS): [2],
    ("swin-tiny", 4, OURS): [2, 2, 1],
    ("swin-base", 2, OURS): [4],
    ("swin-large", 2, OURS): [4],
    ("swin-base", 4, OURS): [2, 2, 1],
    ("swin-large", 4, OURS): [2, 2, 1],
    ("swin-tiny", 2, INFOPRO): [8],
    ("swin-tiny", 4, INFOPRO): [8, 16, 16],
    ("swin-base", 2, INFOPRO): [16],
}
TARGET_CHANNELS = {
    ("swin-tiny", 2): [96],
    ("swin-tiny", 4): [96, 192, 384],
    ("swin-base", 2): [128],
    ("swin-large", 2): [192],
    ("swin-base", 4): [128, 256, 512],
    ("swin-large", 4): [192, 384, 768],
}


@pytest.mark.parametrize(("network", "modules", "method"), SCALES)
def test_side_factors_and_channels_of_targets(network: str, modules: int, method: str) -> None:
    """Read off what the decoders give for a module's output."""
    chosen = swin(method, modules, network)
    with torch.device("meta"):
        net = build_learner(chosen, CLASSES, chosen.side)
    sides, channels = [], []
    for index in range(modules - 1):
        spec = net.chain.specs[net.partition.ends[index]]
        block = block_of(net, index)
        restored = block(torch.empty(2, spec.channels, spec.side, spec.side, device="meta"))[1]
        sides.append(restored.shape[2] // spec.side)
        channels.append(restored.shape[1])
    assert sides == SCALES[network, modules, method]
    assert channels == (
        TARGET_CHANNELS[network, modules] if method == OURS else [3] * (modules - 1)
    )


def blocks_parameters(
    method: str, modules: int, network: str = "swin-tiny", **options: Any
) -> list[int]:
    chosen = swin(method, modules, network, **options)
    with torch.device("meta"):
        net = build_learner(chosen, CLASSES, chosen.side)
    return [
        sum(each.numel() for each in net.auxiliary_parameters(index))
        for index in range(modules - 1)
    ]


@pytest.mark.parametrize(
    ("method", "options", "expected"),
    [
        ("swin-contrast", {}, 178_880),
        (OURS, {"decoder": "linear"}, 216_128),
        (OURS, {"decoder": "deconv"}, 215_840),
        (OURS, {"decoder": "interp"}, 302_240),
        (INFOPRO, {"decoder": "linear"}, 197_504),
        (INFOPRO, {"decoder": "deconv"}, 290_243),
        (INFOPRO, {"decoder": "interp"}, 232_331),
        ("swin-greedy", {}, 178_880 - 97 * 128 + 97 * CLASSES),
    ],
    ids=str,
)
def test_parameters_of_the_first_block_of_tiny(
    method: str, options: dict[str, Any], expected: int
) -> None:
    assert blocks_parameters(method, 2, **options) == [expected]
    assert blocks_parameters(method, 4, **options)[0] == expected


def test_parameters_of_other_blocks() -> None:
    assert blocks_parameters(OURS, 4, decoder="linear")[1:] == [837_632, 763_520]
    assert blocks_parameters(OURS, 4, decoder="deconv")[1:] == [837_056, 763_520]
    assert blocks_parameters(OURS, 2, "swin-large") == [3_885_632]
    assert blocks_parameters(OURS, 2, "swin-base") == [1_738_496]
    chosen = swin(OURS, 4, "swin-tiny")
    expected = {"primary": 27_527_044, "auxiliary": 215_840 + 837_056 + 763_520}
    assert parameter_counts(chosen) == expected


def test_the_stem_is_layer_norm_convolution_batchnorm_relu() -> None:
    net = learner(OURS, 2)
    block = block_of(net, 0)
    x = torch.randn(4, 48, 4, 4, dtype=torch.float64)
    with torch.no_grad():
        for name, each in block.stem.named_parameters():
            if each.ndim == 1:
                each.copy_(torch.rand_like(each) + (0.5 if name.endswith("weight") else 0))
    stem = dict(block.stem.named_parameters())
    y = (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True, unbiased=False) + 1e-5).sqrt()
    y = y * stem["norm.weight"].view(-1, 1, 1) + stem["norm.bias"].view(-1, 1, 1)
    y = F.conv2d(y, stem["conv.weight"], padding=1)
    assert y.shape == (4, 24, 4, 4)
    places = (0, 2, 3)
    y = (y - y.mean(places, keepdim=True)) / (
        y.var(places, keepdim=True, unbiased=False) + 1e-5
    ).sqrt()
    y = F.relu(y * stem["bn.weight"].view(-1, 1, 1) + stem["bn.bias"].view(-1, 1, 1))
    torch.testing.assert_close(block.stem(x), y)
    (linear,) = [each for each in block.task.modules() if isinstance(each, nn.Linear)]
    torch.testing.assert_close(block.task(y), F.linear(y.mean((2, 3)), linear.weight, linear.bias))
    assert linear.out_features == 128


def test_widths_are_options() -> None:
    net = learner(OURS, 2, stem_width=1.0, decoder_width=40, feature_dim=16)
    block = block_of(net, 0)
    assert block.stem.conv.out_channels == 48
    assert block(torch.randn(2, 48, 4, 4, dtype=torch.float64))[0].shape == (2, 16)
    image = block_of(learner(INFOPRO, 2, decoder_width=40), 0)
    assert [
        each.out_channels
        for each in image.decoder.modules()
        if isinstance(each, nn.ConvTranspose2d)
    ] == [40, 3]


@pytest.mark.parametrize("weight", [1.0, 0.37])
def test_a_block_by_itself(weight: float) -> None:
    """Its two backward passes equal one through `forward` and `criterion`."""
    block = block_of(learner(OURS), 1)
    features = torch.randn(6, 96, 2, 2, dtype=torch.float64, requires_grad=True)
    source = torch.randn(6, 48, 4, 4, dtype=torch.float64)
    targets = Targets(torch.arange(6) % 3, None, source)
    loss = block.backward(features, targets, weight)
    assert features.grad is not None
    found = gradients(block) | {"features": features.grad.clone()}
    block.zero_grad()
    whole = block.criterion(block(features), targets)
    (gradient,) = torch.autograd.grad(weight * whole, features, retain_graph=True)
    (weight * whole).backward()  # type: ignore[no-untyped-call]
    assert_same(found, gradients(block) | {"features": gradient})
    assert loss.item() == pytest.approx(whole.item())
    assert not loss.requires_grad


def test_a_block_on_features_that_want_no_gradient() -> None:
    block = block_of(learner(OURS), 1)
    features = torch.randn(6, 96, 2, 2, dtype=torch.float64)
    block.backward(
        features,
        Targets(torch.arange(6) % 3, None, torch.randn(6, 48, 4, 4, dtype=torch.float64)),
        1.0,
    )
    assert features.grad is None
    assert all(each.grad is not None for each in block.parameters())


def test_cross_entropy_of_feature_targets_in_bfloat16() -> None:
    target = feature_target(torch.randn(2, 24, 4, 4).bfloat16(), "sigmoid-ln")
    restored = torch.rand(2, 24, 4, 4).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = reconstruction(restored, target)
    assert found.dtype == torch.float32
    p = restored.double()
    expected = -(
        target.double() * p.log().clamp(min=-100)
        + (1 - target.double()) * (1 - p).log().clamp(min=-100)
    )
    assert found.item() == pytest.approx(expected.mean().item(), rel=1e-5)


def test_quadrants_report_unrounded_losses_in_bfloat16() -> None:
    """HPFF's four decoders of the released code add up in float32."""
    branch = QuadrantDecoders(16, 8)
    features = torch.randn(4, 16, 4, 4).bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = branch.backward(features, Targets(torch.arange(4), torch.rand(4, 3, 8, 8)), 1.0)
    assert loss.dtype == torch.float32


def test_a_map_that_does_not_scale_to_its_target() -> None:
    specs = (LayerSpec(8, 9, 1, _none), LayerSpec(8, 4, 1, _none), LayerSpec(8, 4, 1, _none))
    with pytest.raises(UsageError, match="does not scale"):
        build_branch(SharedStem(), AttachPoint(1, 1, 3, (0, 1, 2), specs, CLASSES, 9))


def _none(inputs: int, outputs: int, stride: int) -> nn.Module:
    raise TypeError
