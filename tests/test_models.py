"""The table of architectures times the properties every one of them has, and the counts published for them."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from holdfast.errors import OptionError
from holdfast.models import ARCHITECTURES, Normalized, architecture, build, count_parameters, weights_sha256
from holdfast.models.catalogue import outline
from holdfast.models.resnet import PadShortcut
from holdfast.models.resnext import BranchMean
from holdfast.options import describe

# name, options that make it small and quick, smallest side it takes
SMALL = [
    ("linear", {}, 1),
    ("mlp", {"hidden": "6,5"}, 1),
    ("cnn", {"width": "1/4"}, 4),
    ("resnet8", {"width": "4"}, 4),
    ("resnet20", {"width": "2", "shortcut": "projection"}, 4),
    ("resnet50", {"width": "2", "blocks": "1,1,2,1"}, 8),
    ("preact-resnet18", {"width": "2"}, 8),
    ("resnext34", {"width": "2", "depth": "10"}, 4),
    ("wide-resnet-28-10", {"width": "1", "depth": "10"}, 4),
]
every = pytest.mark.parametrize(("name", "options", "least"), SMALL, ids=[row[0] for row in SMALL])
switchable = pytest.mark.parametrize(("name", "options", "least"), SMALL[1:], ids=[row[0] for row in SMALL[1:]])


@pytest.fixture(autouse=True)
def one_thread():
    """On nets as small as these a second thread only makes the first one wait."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_the_table_is_whole():
    assert [row[0] for row in SMALL] == list(ARCHITECTURES)


@every
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 12), (2, 17, 8)])
def test_logits_have_a_row_a_picture_and_a_column_a_class(name, options, least, shape):
    model = build(name, options, shape=shape, classes=3, seed=0).eval()
    x = torch.rand(4, *shape)
    logits = model(x)
    assert logits.shape == (4, 3)
    assert logits.isfinite().all()
    torch.testing.assert_close(model(x[2:3]), logits[2:3])


@every
def test_every_pixel_can_matter(name, options, least):
    model = build(name, options, shape=(2, 8, 8), classes=3, seed=1).double().eval()
    x = torch.rand(2, 2, 8, 8, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(model(x).square().sum(), x)
    assert (grad != 0).any(0).float().mean() > 0.9


@every
def test_gradients_reach_all_parameters(name, options, least):
    model = build(name, options, shape=(1, 8, 8), classes=3, seed=1).train()
    model(torch.rand(4, 1, 8, 8)).square().sum().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert (parameter.grad != 0).any(), key


@every
def test_works_in_float64_and_under_full_backward_hooks(name, options, least):
    model = build(name, options, shape=(1, 8, 8), classes=3, seed=1).eval()
    x = torch.rand(2, 1, 8, 8)
    torch.testing.assert_close(
        build(name, options, shape=(1, 8, 8), classes=3, seed=1).eval().double()(x.double()),
        model(x).double(),
        rtol=1e-4,
        atol=1e-5,
    )
    seen = []
    for module in model.modules():
        module.register_full_backward_hook(lambda *_: seen.append(1))
    model(x.requires_grad_()).sum().backward()
    assert len(seen) == len(list(model.modules()))
    assert not any(getattr(module, "inplace", False) for module in model.modules())


@every
def test_same_seed_same_weights_and_the_global_generator_stays(name, options, least):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, two, other = (
        weights_sha256(build(name, options, shape=(1, 8, 8), classes=3, seed=seed)) for seed in (5, 5, 6)
    )
    outline(name, options, shape=(1, 8, 8), classes=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert one == two != other
    unseeded = weights_sha256(build(name, options, shape=(1, 8, 8), classes=3))
    torch.manual_seed(3)
    assert weights_sha256(build(name, options, shape=(1, 8, 8), classes=3)) == unseeded


@every
def test_outline_has_the_same_names_and_shapes(name, options, least):
    given = {"shape": (1, 8, 8), "classes": 3, "mean": (0.5,), "std": (0.5,)}
    real, drawn = build(name, options, **given), outline(name, options, **given)
    assert all(value.is_meta for value in drawn.state_dict().values())
    assert {k: v.shape for k, v in real.state_dict().items()} == {k: v.shape for k, v in drawn.state_dict().items()}


@every
def test_too_small_pictures_are_refused(name, options, least):
    assert ARCHITECTURES[name].least == least
    model = build(name, options, shape=(1, least, least + 1), classes=2, seed=0).eval()
    assert model(torch.rand(2, 1, least, least + 1)).shape == (2, 2)
    if least > 1:
        small = least - 1
        with pytest.raises(
            OptionError,
            match=rf"model '{name}': pictures of {least}x{small} are too small; allowed: sides >= {least}\. "
            r".* one of: linear, mlp",
        ):
            build(name, options, shape=(1, least, small), classes=2)


@switchable
def test_dropout_is_random_in_training_only(name, options, least):
    x = torch.rand(4, 1, 8, 8)
    model = build(name, options | {"dropout": "0.5"}, shape=(1, 8, 8), classes=3, seed=0)
    assert any(isinstance(module, nn.Dropout) and module.p == 0.5 for module in model.modules())
    model.train()
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))
    plain = build(name, options, shape=(1, 8, 8), classes=3, seed=0)
    assert not any(isinstance(module, nn.Dropout) for module in plain.modules())
    plain.load_state_dict(model.state_dict())


@switchable
def test_batch_norm_is_there_or_not(name, options, least):
    x = torch.rand(4, 1, 8, 8)
    for batch_norm in (True, False):
        given = options | {"batch_norm": str(batch_norm)}
        model = build(name, given, shape=(1, 8, 8), classes=3, seed=0).train()
        norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
        assert bool(norms) is batch_norm
        # Without batch norm a picture's logits do not depend on the others, in training too.
        assert torch.allclose(model(x)[:2], model(x[:2]), atol=1e-6) is not batch_norm
        biased = [m.bias is not None for m in model.modules() if isinstance(m, nn.Conv2d)]
        assert name == "cnn" or all(has is not batch_norm for has in biased)


@pytest.mark.parametrize("name", ["resnet20", "resnet50", "preact-resnet18", "resnext34", "wide-resnet-28-10"])
def test_without_batch_norm_deep_nets_start_calm(name):
    options = {"batch_norm": False} | ({"width": 8} if name != "wide-resnet-28-10" else {"width": 1})
    model = build(name, options, shape=(3, 8, 8), classes=10, seed=0).eval()
    assert model(torch.rand(8, 3, 8, 8)).abs().max() < 10


COUNTS = [
    ("linear", {}, (1, 28, 28), 784 * 10 + 10),
    ("mlp", {}, (1, 28, 28), 79_510),
    ("mlp", {"hidden": (20, 30), "batch_norm": True}, (1, 8, 8), 65 * 20 + 40 + 21 * 30 + 60 + 31 * 10),
    ("cnn", {}, (1, 28, 28), 166_406),
    ("cnn", {"width": 2}, (1, 28, 28), 17 * 32 + (16 * 32 + 1) * 64 + (64 * 49 + 1) * 200 + 201 * 10),
    ("resnet8", {}, (3, 32, 32), 75_290),
    ("resnet20", {}, (3, 32, 32), 269_722),
    ("resnet20", {"shortcut": "projection"}, (3, 32, 32), 272_474),
    ("resnet20", {"depth": 56}, (3, 32, 32), 853_018),
    ("resnet50", {}, (3, 32, 32), 23_520_842),
    ("preact-resnet18", {}, (3, 32, 32), 11_172_170),
    ("resnext34", {}, (3, 32, 32), 3_892_522),
    ("wide-resnet-28-10", {}, (3, 32, 32), 36_479_194),
    ("wide-resnet-28-10", {"depth": 34}, (3, 32, 32), 46_160_474),
]


@pytest.mark.parametrize(("name", "options", "shape", "count"), COUNTS)
def test_parameter_counts(name, options, shape, count):
    assert count_parameters(outline(name, options, shape=shape, classes=10)) == count


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("resnet8", 3 * 2 + 1 + 1),
        ("resnet20", 20),
        ("resnet50", 50 + 4),
        ("preact-resnet18", 18 + 3),
        ("resnext34", 34),
        ("wide-resnet-28-10", 28 + 1),
    ],
)
def test_depth_counts_weighted_layers(name, count):
    """Projections stand beside the depth but where the name includes them; WideResNet leaves the linear layer out."""
    network = outline(name, shape=(3, 32, 32), classes=10)
    assert sum(isinstance(module, nn.Conv2d | nn.Linear) for module in network.modules()) == count


@pytest.mark.parametrize(
    ("name", "sides"),
    [
        ("resnet20", [32, 16, 8]),
        ("resnet50", [32, 16, 8, 4]),
        ("preact-resnet18", [32, 16, 8, 4]),
        ("resnext34", [32, 16, 8]),
        ("wide-resnet-28-10", [32, 16, 8]),
    ],
)
def test_stages_halve_the_picture(name, sides):
    network = outline(name, shape=(3, 32, 32), classes=10).eval()
    found = []
    for stage in network.get_submodule("stages"):
        stage.register_forward_hook(lambda _m, _i, out: found.append(out.shape[-1]))
    network(torch.rand(1, 3, 32, 32, device="meta"))
    assert found == sides


def test_cnn_and_mlp_are_their_formulas():
    x = torch.rand(2, 1, 8, 8)
    net = build("cnn", shape=(1, 8, 8), classes=10, seed=0)
    hidden = F.conv2d(x, net.conv1.weight, net.conv1.bias, stride=2, padding=1).relu()
    hidden = F.conv2d(hidden, net.conv2.weight, net.conv2.bias, stride=2, padding=1).relu()
    hidden = (hidden.flatten(1) @ net.linear1.weight.T + net.linear1.bias).relu()
    torch.testing.assert_close(net(x), hidden @ net.linear.weight.T + net.linear.bias)
    net = build("mlp", shape=(1, 8, 8), classes=10, seed=0)
    hidden = (x.flatten(1) @ net.linear1.weight.T + net.linear1.bias).relu()
    torch.testing.assert_close(net(x), hidden @ net.linear.weight.T + net.linear.bias)


def test_cnn_width_scales_every_layer():
    for width, sizes in (("1/2", (8, 16, 50)), (3, (48, 96, 300)), (0.001, (1, 1, 1))):
        net = outline("cnn", {"width": width}, shape=(1, 8, 8), classes=10)
        assert (net.conv1.out_channels, net.conv2.out_channels, net.linear1.out_features) == sizes


def test_pad_shortcut_takes_every_second_pixel_and_adds_zeros():
    x = torch.arange(2 * 4 * 4.0).view(1, 2, 4, 4)
    out = PadShortcut(2, 5, 2)(x)
    assert torch.equal(out[:, :2], x[:, :, ::2, ::2])
    assert out.shape == (1, 5, 2, 2)
    assert (out[:, 2:] == 0).all()


def test_resnext_branches_are_averaged_and_apart():
    x = torch.arange(4.0).view(1, 4, 1, 1)
    assert torch.equal(BranchMean(2)(x).flatten(), torch.tensor([1.0, 2.0]))
    block = build("resnext34", {"width": 3, "branches": 4}, shape=(3, 8, 8), classes=10, seed=0).stages[0][0]
    assert block.branch.conv1.groups == 1
    assert block.branch.conv2.groups == 4
    assert block.branch.conv2.weight.shape == (12, 3, 3, 3)


def test_a_residual_block_adds_its_input():
    model = build("resnet8", {"width": 4, "batch_norm": False}, shape=(1, 8, 8), classes=2, seed=0)
    block = model.stages[0][0]
    x = torch.rand(2, 4, 8, 8)
    assert torch.equal(block(x), x)  # the branch starts at 0
    nn.init.ones_(block.branch.conv2.bias)
    assert torch.equal(block(x), x + 1)
    assert torch.equal(block(-x - 2), torch.zeros_like(x))  # ReLU after the sum


def test_preactivation_adds_after_activation():
    model = build("preact-resnet18", {"width": 4, "batch_norm": False}, shape=(1, 8, 8), classes=2, seed=0)
    x = torch.randn(2, 4, 8, 8)
    assert torch.equal(model.stages[0][0](x), x)  # nothing cuts the sum
    projecting = model.stages[1][0]
    assert torch.equal(projecting(x), projecting.project(x.relu()))  # the shortcut sees the activated input


def test_he_weights_have_variance_two_over_fan_in():
    net = build("resnext34", {"width": 16}, shape=(3, 8, 8), classes=10, seed=0)
    conv = net.stages[2][1].branch.conv2  # grouped: its fan-in is one group's channels
    assert conv.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
    assert net.stages[0][0].branch.conv1.weight.std().item() == pytest.approx((2 / (16 * 9)) ** 0.5, rel=0.05)


def test_truncated_normal_start():
    net = build("mlp", {"init": "truncated-normal"}, shape=(1, 28, 28), classes=10, seed=0)
    weight = net.linear1.weight
    assert weight.abs().max() <= 0.02
    # Standard deviation of a normal cut at two of its own: 0.8796.
    assert weight.std().item() == pytest.approx(0.01 * 0.8796, rel=0.01)
    assert (net.linear1.bias == 0).all()
    assert (net.linear.bias == 0).all()
    plain = build("mlp", shape=(1, 28, 28), classes=10, seed=0).linear1.weight
    assert 0.99 / 28 < plain.abs().max() <= 1 / 28


def test_normalized_does_what_it_says():
    seen = []

    class Keep(nn.Module):
        def forward(self, x):
            seen.append(x)
            return x.flatten(1)

    x = torch.rand(2, 3, 4, 4)
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 2.0)
    model = Normalized(Keep(), mean, std)
    model(x)
    for channel in range(3):
        torch.testing.assert_close(seen[0][:, channel], (x[:, channel] - mean[channel]) / std[channel])
    assert set(model.state_dict()) == {"mean", "std"}
    assert not list(model.parameters())
    model.double()(x.double())
    assert seen[1].dtype == torch.float64


def test_build_wraps_when_statistics_are_given():
    given = {"shape": (3, 8, 8), "classes": 3, "seed": 1}
    x = torch.rand(2, 3, 8, 8)
    plain = build("linear", **given)
    wrapped = build("linear", **given, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    assert isinstance(wrapped, Normalized)
    torch.testing.assert_close(wrapped(x), plain((x - 0.5) * 4))


BAD = [
    ({"name": "resnet-20"}, "unknown model 'resnet-20'; known: .*Did you mean 'resnet20'"),
    ({"options": {"dropuot": "0.1"}}, "unknown option of CNN 'dropuot'; .*Did you mean 'dropout'"),
    ({"options": {"dropout": 1}}, r"CNN: dropout=1.0; allowed: 0 <= dropout < 1"),
    ({"options": {"width": "0"}}, "CNN: width=0.0; allowed: numbers > 0"),
    ({"name": "mlp", "options": {"hidden": ""}}, "MLP: hidden=.*use the model 'linear'"),
    ({"name": "mlp", "options": {"hidden": "3,0"}}, "MLP: hidden=0; allowed: whole numbers >= 1"),
    ({"name": "mlp", "options": {"init": "zero"}}, "MLP: init='zero'; allowed: one of torch, truncated-normal"),
    ({"name": "resnet20", "options": {"depth": 21}}, r"ResNet: depth=21; allowed: 6 n \+ 2 .* Near it: 14, 20, 26"),
    ({"name": "resnet20", "options": {"depth": 2}}, r"ResNet: depth=2; allowed: .* Near it: 8\."),
    ({"name": "resnext34", "options": {"depth": 32}}, r"ResNeXt: depth=32; allowed: 6 n \+ 4 .* 34"),
    ({"name": "resnext34", "options": {"branches": 0}}, "ResNeXt: branches=0; allowed: whole numbers >= 1"),
    ({"name": "wide-resnet-28-10", "options": {"depth": 27}}, r"WideResNet: depth=27; allowed: 6 n \+ 4"),
    ({"name": "resnet50", "options": {"blocks": "3,4,6"}}, "BottleneckResNet: blocks=.*allowed: four numbers"),
    ({"name": "resnet50", "options": {"blocks": "3,4,6,0"}}, "BottleneckResNet: blocks=0; allowed: whole"),
    ({"name": "preact-resnet18", "options": {"blocks": "2"}}, "PreActResNet: blocks=.*allowed: four numbers"),
    ({"name": "linear", "options": {"dropout": "0.1"}}, "unknown option of Linear 'dropout'"),
    ({"shape": (28, 28)}, r"model 'cnn': shape=\(28, 28\); allowed: \(channels, height, width\)"),
    ({"shape": (1, 0, 28)}, "model 'cnn': shape="),
    ({"classes": 1}, "model 'cnn': classes=1; allowed: whole numbers >= 2"),
    ({"mean": (0.5,)}, r"mean=\(0.5,\), std=None; allowed: both or neither"),
    ({"mean": (0.5, 0.5), "std": (1.0, 1.0)}, "2 means and 2 stds; allowed: one of each a channel, here 1"),
    ({"mean": (0.5,), "std": (0.0,)}, "allowed: finite numbers, std > 0"),
    ({"mean": (float("nan"),), "std": (1.0,)}, "allowed: finite numbers, std > 0"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_wrong_options_are_named_with_value_and_mend(change, message):
    given = {"name": "cnn", "options": {}, "shape": (1, 28, 28), "classes": 10} | change
    with pytest.raises(OptionError, match=message) as caught:
        build(given.pop("name"), given.pop("options"), **given)
    assert "\n" not in str(caught.value)


def test_a_failed_build_leaves_the_generator_alone():
    before = torch.get_rng_state()
    with pytest.raises(OptionError):
        build("cnn", shape=(1, 2, 2), classes=10, seed=4)
    assert torch.equal(torch.get_rng_state(), before)


def test_every_option_has_a_help_text():
    for record in ARCHITECTURES.values():
        assert type(record).__doc__
        assert all(entry.help for entry in describe(record))


def test_presets_keep_what_is_not_given():
    assert architecture("resnet8", {"width": "8"}).depth == 8
    assert architecture("resnet20").depth == 20


@pytest.mark.gpu
def test_seeded_build_leaves_the_device_generator_alone():
    before = torch.cuda.get_rng_state()
    build("mlp", shape=(1, 8, 8), classes=3, seed=0)
    assert torch.equal(torch.cuda.get_rng_state(), before)
