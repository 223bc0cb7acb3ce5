"""The engine on attacks made to show one thing each."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import nn

from holdfast.access import Access, Budget, Labels, Query, Scores
from holdfast.attacks import FGSM, PGD, Noise, run
from holdfast.errors import BudgetError
from holdfast.losses import OBJECTIVES, Goal
from holdfast.threats import L2, Linf
from nets import linear, tiny_case

RAMP = linear(torch.tensor([[0.0], [1.0]], dtype=torch.float64), torch.tensor([0.5, 0.0], dtype=torch.float64))
"""One pixel; class 1 from 0.5 up."""


def pixel(*values):
    return torch.tensor(values, dtype=torch.float64).view(-1, 1, 1, 1)


@dataclass(frozen=True, kw_only=True)
class Walk:
    """Ask about x + each of `offsets` in turn, whatever the answer."""

    offsets: tuple[float, ...]
    access: ClassVar[Access] = Access.SCORES
    name: ClassVar[str] = "walk"
    wanders: ClassVar[bool] = True

    @property
    def rounds(self):
        return len(self.offsets)

    def start(self, case):
        return None, Query(case.x + self.offsets[0])

    def step(self, case, state, answer):
        table = torch.tensor(self.offsets, dtype=case.x.dtype)
        return None, Query(case.x + table[case.round].view(-1, 1, 1, 1))


@pytest.fixture(scope="module")
def case():
    return tiny_case()


def test_best_is_kept_though_the_last_point_is_worse():
    found = run(Walk(offsets=(0.1, 0.3, 0.2, 0.0)), RAMP, pixel(0.1), torch.tensor([0]), Linf(eps=0.35))
    torch.testing.assert_close(found.x_adv, pixel(0.4))
    assert found.step.tolist() == [-1]
    assert not found.success.any()


def test_first_success_is_kept_and_ends_the_picture():
    found = run(Walk(offsets=(0.2, 0.45, 0.1, 0.6)), RAMP, pixel(0.1), torch.tensor([0]), Linf(eps=0.7))
    torch.testing.assert_close(found.x_adv, pixel(0.55))
    assert found.step.tolist() == [2]
    assert found.queries.tolist() == [2]
    assert found.forward.tolist() == [3]


def test_the_highest_loss_is_wanted_of_misclassified_pictures_too():
    x, y = pixel(0.9), torch.tensor([0])
    walk = Walk(offsets=(0.02, 0.04))
    first = run(walk, RAMP, x, y, Linf(eps=0.1))
    assert torch.equal(first.x_adv, x)
    assert (first.step.item(), first.queries.item()) == (0, 0)
    found = run(walk, RAMP, x, y, Linf(eps=0.1), aim="highest_loss")
    torch.testing.assert_close(found.x_adv, x + 0.04, atol=1e-6, rtol=0)
    assert found.start_wrong.item()
    assert (found.success.item(), found.queries.item()) == (True, 2)


def test_highest_loss_goes_on_after_a_success():
    walk = Walk(offsets=(0.2, 0.45, 0.1, 0.6))
    found = run(walk, RAMP, pixel(0.1), torch.tensor([0]), Linf(eps=0.7), aim="highest_loss")
    torch.testing.assert_close(found.x_adv, pixel(0.7))
    assert found.step.tolist() == [4]


def test_smallest_keeps_the_smallest_success():
    walk = Walk(offsets=(0.6, 0.2, 0.45, 0.5, 0.3))
    found = run(walk, RAMP, pixel(0.1), torch.tensor([0]), Linf(eps=0.7), aim="smallest")
    torch.testing.assert_close(found.size, torch.tensor([0.45], dtype=torch.float64))
    assert found.step.tolist() == [3]


def test_success_beats_a_higher_loss_seen_before():
    """The loss here is the margin, and class 1's grows past 0 exactly where it wins, so use a goal it cannot tell."""
    model = linear(
        torch.tensor([[0.0], [1.0], [0.9]], dtype=torch.float64), torch.tensor([0.5, 0.0, 0.12], dtype=torch.float64)
    )
    # From 0.1, class 1 wins above 1.2 only; its loss is highest at 0.4, where class 2 is in front.
    target = torch.tensor([2])
    found = run(Walk(offsets=(0.35, 0.1)), model, pixel(0.1), torch.tensor([0]), Linf(eps=0.5), target=target)
    assert found.success.all()
    torch.testing.assert_close(found.x_adv, pixel(0.45))


def test_points_outside_the_threat_do_not_count():
    found = run(Walk(offsets=(0.5, 0.2)), RAMP, pixel(0.1), torch.tensor([0]), Linf(eps=0.3))
    assert not found.success.any()


@dataclass(frozen=True, kw_only=True)
class Liar(Walk):
    """Claims to stay inside."""

    wanders: ClassVar[bool] = False


def test_a_liar_is_found_out_at_the_end():
    found = run(Liar(offsets=(0.5, 0.2)), RAMP, pixel(0.1), torch.tensor([0]), Linf(eps=0.3))
    assert not found.success.any()
    far = run(Liar(offsets=(1.5, 0.2)), RAMP, pixel(0.1), torch.tensor([0]), Linf(eps=1.0))
    assert not far.success.any()


@dataclass(frozen=True, kw_only=True)
class Poison:
    """Asks about NaN after a real point."""

    access: ClassVar[Access] = Access.GRADIENT
    name: ClassVar[str] = "poison"
    rounds: ClassVar[int] = 3

    def start(self, case):
        return None, Query(case.x + 0.3, gradient_of=OBJECTIVES["margin"])

    def step(self, case, state, answer):
        return None, Query(torch.full_like(case.x, torch.nan), gradient_of=OBJECTIVES["margin"])


@pytest.mark.parametrize("aim", ["first_success", "highest_loss", "smallest"])
def test_nan_is_never_a_success_and_spoils_nothing(aim):
    found = run(Poison(), RAMP, pixel(0.1, 0.4), torch.tensor([0, 0]), Linf(eps=0.35), aim=aim)
    torch.testing.assert_close(found.x_adv, pixel(0.4, 0.7))
    assert found.success.tolist() == [False, True]


class Counting(nn.Module):
    """Remembers the size of every batch."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.batches = inner, []

    def forward(self, x):
        self.batches.append(len(x))
        return self.inner(x)


def test_batches_are_refilled(case):
    model = Counting(case.model)
    run(PGD(steps=12), model, case.x, case.y, Linf(eps=0.05), batch=8)
    # After the look at all pictures, batches stay within an eighth of full until the queue is empty.
    work = model.batches[5:]
    assert max(work) == 8
    assert work[0] == 8
    assert sum(size >= 7 for size in work[:20]) >= 17


def test_a_broken_picture_is_not_asked_again(case):
    found = run(PGD(steps=12, restarts=3), case.model, case.x, case.y, Linf(eps=0.3), batch=4)
    early = (found.step > 0) & (found.lane == 0)
    assert early.any()
    # One look at the picture, then the questions up to the success, none for the other restarts.
    assert torch.equal(found.forward[early], 1 + found.step[early])


def test_several_attacks_share_batches_and_stop_together(case):
    model = Counting(case.model)
    both = run([FGSM(), PGD(steps=12)], model, case.x, case.y, Linf(eps=0.1), batch=256)
    one_by_one = [run(a, case.model, case.x, case.y, Linf(eps=0.1), batch=64) for a in (FGSM(), PGD(steps=12))]
    assert torch.equal(both.success, one_by_one[0].success | one_by_one[1].success)
    assert (both.lane[one_by_one[0].success & ~both.start_wrong] >= 0).all()
    # After the look at the pictures, the 38 that are right are asked about for both attacks at once.
    assert model.batches[1] == 76


def test_last_question_needs_no_gradient(case):
    found = run(FGSM(), case.model, case.x, case.y, Linf(eps=1e-6))
    right = ~found.start_wrong
    assert (found.backward[right] == 1).all()
    assert (found.forward[right] == 3).all()


@pytest.mark.parametrize("limit", [1, 2, 5, 9, 30])
@pytest.mark.parametrize("restarts", [1, 4])
def test_budget_is_never_exceeded(limit, restarts, case):
    attack = PGD(steps=6, restarts=restarts)
    found = run(attack, case.model, case.x, case.y, Linf(eps=1e-5), budget=Budget(forward=limit), batch=500)
    assert int(found.forward.max()) == min(limit, 1 + 7 * restarts)
    found = run(attack, case.model, case.x, case.y, Linf(eps=1e-5), budget=Budget(backward=limit), batch=500)
    assert int(found.backward.max()) == min(limit, 6 * restarts)


def test_budget_keeps_what_was_found(case):
    full = run(PGD(steps=10), case.model, case.x, case.y, Linf(eps=0.2))
    cut = run(PGD(steps=10), case.model, case.x, case.y, Linf(eps=0.2), budget=Budget(forward=4))
    assert torch.equal(cut.success, full.success & (full.step <= 3))


@dataclass(frozen=True, kw_only=True)
class Greedy:
    """Declares labels; `asks` for more, or tries to read more."""

    asks: bool
    access: ClassVar[Access] = Access.LABELS
    name: ClassVar[str] = "greedy"
    rounds: ClassVar[int] = 3
    seen: ClassVar[list] = []

    def start(self, case):
        return None, Query(case.x, gradient_of=OBJECTIVES["margin"]) if self.asks else Query(case.x)

    def step(self, case, state, answer):
        self.seen.append(answer)
        return None, Query(case.x)


def test_label_access_gets_labels_only(case):
    run(Greedy(asks=False), case.model, case.x, case.y, Linf(eps=0.1))
    assert {type(answer) for answer in Greedy.seen} == {Labels}
    assert not hasattr(Greedy.seen[0], "logits")
    with pytest.raises(BudgetError, match="greedy asked for gradient; allowed: labels"):
        run(Greedy(asks=True), case.model, case.x, case.y, Linf(eps=0.1))


@dataclass(frozen=True, kw_only=True)
class Scored(Greedy):
    """Declares scores."""

    access: ClassVar[Access] = Access.SCORES
    name: ClassVar[str] = "scored"
    seen: ClassVar[list] = []


def test_score_access_gets_scores(case):
    run(Scored(asks=False), case.model, case.x, case.y, Linf(eps=0.1))
    assert {type(answer) for answer in Scored.seen} == {Scores}


def test_trace_shows_every_round(case):
    attack = PGD(steps=5, restarts=2)
    found = run(attack, case.model, case.x, case.y, Linf(eps=1e-5), trace=True, batch=7)
    loss, right = found.trace.loss, ~found.start_wrong
    assert loss.shape == (40, 2, 6)
    assert loss[right].isfinite().all()
    assert loss[~right].isnan().all()
    assert (found.trace.gradient[right][..., :5] > 0).all()
    assert found.trace.gradient[right][..., 5].isnan().all()
    assert (loss[right][:, :, -1] > loss[right][:, :, 0]).all()
    whole = run(attack, case.model, case.x, case.y, Linf(eps=1e-5), trace=True)
    torch.testing.assert_close(loss, whole.trace.loss, equal_nan=True)


def test_progress_ends_with_all_lanes_done(case):
    seen = []
    run(PGD(steps=5, restarts=2), case.model, case.x, case.y, Linf(eps=0.1), progress=lambda *at: seen.append(at))
    assert seen[-1][0] == seen[-1][1] == 76
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_noise_only_needs_forward_passes(case):
    found = run(Noise(tries=4), case.model, case.x, case.y, L2(eps=0.01))
    assert (found.backward == 0).all()
    assert int(found.queries.max()) == 4


def test_goal_is_judged_by_the_lane_not_by_what_steers_it(case):
    """`towards` turns the gradient to a class; reaching any wrong class still wins."""

    @dataclass(frozen=True)
    class Headed:
        access: ClassVar[Access] = Access.GRADIENT
        name: ClassVar[str] = "headed"
        rounds: ClassVar[int] = 15

        def targets(self, logits, goal):
            return logits.scatter(1, goal.y[:, None], -torch.inf).topk(2).indices

        def ask(self, case, x_adv):
            return x_adv, Query(x_adv, OBJECTIVES["margin"], towards=Goal(case.goal.y, case.target))

        def start(self, case):
            return self.ask(case, case.x)

        def step(self, case, x_adv, answer):
            return self.ask(case, case.ascend(x_adv, case.steepest(answer.gradient, x_adv), 0.2))

    found = run(Headed(), case.model, case.x, case.y, Linf(eps=0.3))
    plain = run(PGD(steps=14, step_size=0.2, loss="margin"), case.model, case.x, case.y, Linf(eps=0.3))
    assert set(found.lane.tolist()) >= {-1, 0}
    assert found.success.sum() >= plain.success.sum() - 2


def test_plain_functions_can_be_attacked():
    weight = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    x = torch.tensor([[[[0.6, 0.4]]]], dtype=torch.float64)
    found = run(PGD(steps=5), lambda pictures: pictures.flatten(1) @ weight.T, x, torch.tensor([0]), Linf(eps=0.2))
    assert found.success.all()
