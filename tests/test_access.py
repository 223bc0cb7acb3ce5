"""Borrowing, asking and counting."""

import pytest
import torch
from torch import nn

from holdfast.access import Budget, Meter, Oracle, Part, borrow
from holdfast.access.answer import Scores, keep_lanes
from holdfast.access.borrow import home
from holdfast.access.query import number_lanes
from holdfast.errors import ModelError, OptionError
from holdfast.losses import Goal, objectives
from nets import small_net, tiny_case


def oracle_for(case, batch=7):
    return Oracle(case.model.eval(), batch, Meter(len(case.x)))


def part_of(case, **more):
    rows = torch.arange(len(case.x))
    return Part(case.x, rows, Goal(case.y), **more)


@pytest.fixture
def case():
    return tiny_case(pictures=20)


def test_scores_in_batches_are_those_of_one_call(case):
    oracle = oracle_for(case)
    with torch.no_grad():
        torch.testing.assert_close(oracle.scores(part_of(case)), case.model(case.x))
    assert oracle.meter.forward.tolist() == [1] * 20
    assert oracle.meter.backward.tolist() == [0] * 20


@pytest.mark.parametrize("batch", [7, 500])
def test_gradients_are_each_pictures_own(case, batch):
    oracle = oracle_for(case, batch)
    part = part_of(case, objectives=(objectives.cross_entropy, objectives.margin))
    with torch.no_grad():
        ((logits, losses, gradients),) = oracle.gradients([part])
    for i in (0, 11):
        for number, objective in enumerate(part.objectives):
            x = case.x[i : i + 1].clone().requires_grad_()
            loss = objective(case.model(x), Goal(case.y[i : i + 1]))
            (alone,) = torch.autograd.grad(loss.sum(), x)
            torch.testing.assert_close(gradients[number][i : i + 1], alone)
            torch.testing.assert_close(losses[number][i : i + 1], loss.detach())
    assert not logits.requires_grad
    assert oracle.meter.backward.tolist() == [2] * 20


def test_parts_share_a_batch(case):
    oracle = oracle_for(case, 64)
    calls = []
    case.model.register_forward_hook(lambda *_: calls.append(1))
    one, two = (part_of(case, objectives=(f,)) for f in (objectives.cross_entropy, objectives.margin))
    both = oracle.gradients([one, two])
    assert len(calls) == 1
    for part, found in zip((one, two), both, strict=True):
        torch.testing.assert_close(found[2][0], oracle.gradients([part])[0][2][0])


@pytest.mark.parametrize("batch", [7, 500])
def test_jacobian_is_the_gradients_of_the_logits(case, batch):
    oracle = oracle_for(case, batch)
    classes = torch.tensor([[0, 2]]).expand(20, 2)
    _, jacobian = oracle.jacobian(part_of(case, classes=classes))
    x = case.x[3:4].clone().requires_grad_()
    (alone,) = torch.autograd.grad(case.model(x)[0, 2], x)
    torch.testing.assert_close(jacobian[3, 1][None], alone)
    assert jacobian.shape == (20, 2, 2, 3, 3)
    assert oracle.meter.forward.tolist() == [1] * 20
    assert oracle.meter.backward.tolist() == [2] * 20


def test_a_cut_graph_gives_zero_gradients_and_no_error(case):
    oracle = Oracle(lambda x: case.model(x).detach(), 64, Meter(20))
    ((_, _, gradients),) = oracle.gradients([part_of(case, objectives=(objectives.margin,))])
    assert (gradients[0] == 0).all()


@pytest.mark.parametrize(
    "answer", [lambda x: x, lambda x: x[:, 0, 0, :1], lambda x: "logits", lambda x: x[:3].flatten(1)]
)
def test_wrong_shapes_are_refused(case, answer):
    with pytest.raises(ModelError, match="the model answered 20 pictures with"):
        Oracle(answer, 64, Meter(20)).scores(part_of(case))


def test_borrowed_in_evaluation_mode_without_parameter_gradients():
    net = small_net()
    net[2].eval()
    net[5].bias.requires_grad_(False)
    with borrow(net) as lent:
        assert not any(module.training for module in lent.modules())
        assert not any(parameter.requires_grad for parameter in lent.parameters())
    assert [module.training for module in net] == [True, True, False, True, True, True]
    assert [p.requires_grad for p in net[5].parameters()] == [True, False]
    with pytest.raises(ZeroDivisionError), borrow(net):
        raise ZeroDivisionError
    assert net[0].training


def test_home_of_a_model():
    assert home(nn.Flatten(), torch.zeros(1)) == torch.device("cpu")
    assert home(lambda x: x, torch.zeros(1, device="meta")) == torch.device("meta")


def test_budget_options():
    with pytest.raises(OptionError, match="Budget: forward=0; allowed: 1, 2"):
        Budget(forward=0)


def test_dropping_lanes_of_a_ragged_answer():
    answer = Scores(
        points=torch.arange(5.0)[:, None], labels=torch.arange(5), reached=torch.ones(5, dtype=torch.bool),
        logits=torch.arange(5.0)[:, None], lane=torch.tensor([0, 2, 1, 2, 2]),
    )  # fmt: skip
    kept = keep_lanes(answer, torch.tensor([False, True, True]))
    assert kept.labels.tolist() == [1, 2, 3, 4]
    assert kept.lane.tolist() == [1, 0, 1, 1]
    assert number_lanes([torch.tensor([0, 1]), torch.tensor([1])], [2, 2]).tolist() == [0, 1, 3]
