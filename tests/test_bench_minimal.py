"""What the benchmark of smallest changes measures with: the watch on the model, the row's picture, the optimality."""

import importlib.util
import json
import math
import sys
from dataclasses import dataclass
from importlib import metadata

import pytest
import torch
from bench import contest, minimal_tables, peers
from bench.contest import OURS, Entry, attempt, our_attacks, peers_attacks
from bench.curves import area, envelope, optimality, quantile
from bench.peers.loading import stand_ins
from bench.peers.peer import Peer
from bench.steps import PASSES_A_STEP, steps
from bench.tracking import Exhausted, Tracked, place_among_equals
from torch import nn

from holdfast.access import Access
from holdfast.attacks import ATTACKS, FAB, FABT, smallest
from holdfast.attacks.attack import minimal, norms
from holdfast.threats import NORMS
from nets import linear, tiny_case


@pytest.fixture
def case():
    """Twelve pictures that the model gets right."""
    full = tiny_case()
    full.model.eval().requires_grad_(False)
    right = (full.model(full.x).argmax(1) == full.y).nonzero().squeeze(1)[:12]
    return full.model, full.x[right], full.y[right]


class Hooked(nn.Module):
    """Counts rows by hooks of its own."""

    def __init__(self, model):
        super().__init__()
        self.model, self.forward_rows, self.backward_rows = model, 0, 0

    def forward(self, x):
        self.forward_rows += len(x)
        logits = self.model(x)
        if logits.requires_grad:
            logits.register_hook(self.count)
        return logits

    def count(self, gradient):
        self.backward_rows += int((gradient != 0).any(1).sum())


def gradient(model, points, k=0):
    points = points.clone().requires_grad_()
    return torch.autograd.grad(model(points)[:, k].sum(), points)[0]


def test_counts_what_hooks_count(case):
    net, x, y = case
    hooked = Hooked(net)
    model = Tracked(hooked, x, y)
    hooked.forward_rows = 0
    for attack in (FAB(steps=5), FABT(steps=5, targets_tried=3)):
        before = model.passes.clone()
        found = smallest(attack, model, x, y, NORMS["l2"](eps=0), batch=7)
        assert torch.equal(model.passes - before, found.forward + found.backward)
    assert (hooked.forward_rows, hooked.backward_rows) == (
        int(model.forward_passes.sum()),
        int(model.backward_passes.sum()),
    )


def test_every_backward_pass_counts(case):
    net, x, y = case
    model = Tracked(net, x, y)
    points = x.clone().requires_grad_()
    logits = model(points)
    for k in range(3):
        torch.autograd.grad(logits[:, k].sum(), points, retain_graph=True)
    model(points.detach())
    assert (model.forward_passes == 2).all()
    assert (model.backward_passes == 3).all()


def test_keeps_the_smallest_seen_whatever_comes_after():
    """Seen at 0.3 and 0.2 past the boundary and at harmless points; a norm each keeps its own."""
    net = linear(torch.tensor([[0.0, 0.0], [1.0, 1.0]], dtype=torch.float64), torch.tensor([0.0, -1.0]).double())
    x = torch.tensor([0.4, 0.4], dtype=torch.float64).view(1, 1, 1, 2)
    model = Tracked(net.requires_grad_(False), x, torch.tensor([0]))
    for move in ([0.3, 0.3], [0.0, 0.25], [0.11, 0.11], [0.0, 0.0], [0.05, 0.05], [0.2, 0.2]):
        model(x + torch.tensor(move, dtype=torch.float64).view_as(x))
    expected = {"linf": 0.11, "l2": 0.11 * math.sqrt(2), "l1": 0.22, "l0": 1.0, "pixels": 1.0}
    assert {name: float(sizes[0]) for name, sizes in model.smallest.items()} == pytest.approx(expected)


def test_points_are_put_into_the_box_first():
    """Only beyond the box would it be misclassified."""
    net = linear(torch.tensor([[0.0, 0.0], [1.0, 1.0]], dtype=torch.float64), torch.tensor([0.0, -2.5]).double())
    x = torch.full((1, 1, 1, 2), 0.5, dtype=torch.float64)
    model = Tracked(net, x, torch.tensor([0]))
    assert model(x + 5.0).argmax(1) == 0
    assert model.smallest["l2"].isinf().all()
    assert (gradient(model, x + 5.0, k=1) == 1.0).all()


def test_what_is_not_finite_is_no_success(case):
    net, x, y = case
    model = Tracked(net, x, y)
    model(torch.full_like(x, torch.nan))
    assert model.smallest["l2"].isinf().all()


@pytest.mark.parametrize("cap", [1, 2, 5, 6])
def test_past_the_cap_answers_are_dead(case, cap):
    net, x, y = case
    model = Tracked(net, x, y, cap)
    label = nn.functional.one_hot(y, model.classes).double()
    for asked in range(1, 8):
        spent = int(model.passes[0])
        if spent >= cap:
            with pytest.raises(Exhausted):
                model(x)
            break
        slope = gradient(model, x)
        # The forward pass may be the last that is paid for; the backward pass then gives nothing.
        assert bool((slope != 0).any()) == (2 * asked <= cap)
    assert (model.passes == cap).all()
    # One picture alone: the others answer still.
    model = Tracked(net, x, y, cap)
    model.forward_passes[3] = cap
    logits = model(x)
    assert torch.equal(logits[3], label[3])
    alive = torch.arange(len(x)) != 3
    torch.testing.assert_close(logits[alive], net(x)[alive])
    assert model.passes[3] == cap


def test_a_dead_picture_counts_nothing_and_finds_nothing(case):
    net, x, y = case
    model = Tracked(net, x, (y + 1) % 4, 2)  # labels by which everything is misclassified
    model.forward_passes[:6] = 2
    slope = gradient(model, x)
    assert (slope[:6] == 0).all()
    assert (slope[6:] != 0).flatten(1).any(1).all()
    slope.add_(1.0)  # attacks work on it in place
    assert model.smallest["linf"].isfinite().tolist() == [False] * 6 + [True] * 6
    assert torch.equal(model.passes, torch.full((12,), 2))


def test_one_call_cannot_overdraw_a_picture(case):
    """Five rows of one picture, of which three are paid for."""
    net, x, y = case
    model = Tracked(net, x, y, 3)
    logits = model(x[4:5].repeat(5, 1, 1, 1))
    assert model.passes.tolist() == [0] * 4 + [3] + [0] * 7
    dead = nn.functional.one_hot(y[4], model.classes).double()
    assert [torch.equal(row, dead) for row in logits] == [False] * 3 + [True] * 2


def test_place_among_equals():
    assert place_among_equals(torch.tensor([4, 7, 4, 4, 7])).tolist() == [0, 0, 1, 2, 1]


def test_rows_find_their_picture(case):
    net, x, y = case
    model = Tracked(net, x, y)
    near = (x + 0.05 * torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    everyone = torch.arange(12)
    some = torch.tensor([7, 2, 2, 11, 0])
    mixed = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    assert torch.equal(model.pictures_of(near[some]), some)
    assert torch.equal(model.pictures_of(near[mixed]), mixed)  # as many as there are pictures, in another order
    assert torch.equal(model.pictures_of(near), everyone)
    strayed = near.clone()
    strayed[:5] = x[5:10]  # in a full batch a few that have strayed to others are still known by their place
    assert torch.equal(model.pictures_of(strayed), everyone)
    assert model.out_of_place == 5


def test_a_row_at_the_wrong_picture_is_a_true_change_of_that_one(case):
    net, x, y = case
    model = Tracked(net, x, y)
    other = int((y != y[0]).nonzero()[0])
    mixed = torch.lerp(x[:1], x[other : other + 1], torch.linspace(0, 1, 40, dtype=x.dtype).view(-1, 1, 1, 1))
    model(mixed)
    for picture in range(12):
        size = model.smallest["l2"][picture]
        if size.isfinite():
            distances = (mixed - x[picture]).flatten(1).norm(dim=1)
            assert size in distances
            assert net(mixed[distances == size]).argmax(1)[0] != y[picture]


def test_optimality_by_hand():
    """Radii to 4; the envelope's area is (1 + 2 + 4 + 1) / 4 = 2, the attack's (2 + 4 + 4 + 2) / 4 = 3."""
    best = torch.tensor([1.0, 2.0, 4.0, 1.0])
    attack = torch.tensor([2.0, torch.inf, 9.0, 2.0])
    assert area(best, 4.0) == 2.0
    assert area(attack, 4.0) == 3.0
    assert optimality(attack, best) == (4 - 3) / (4 - 2)
    assert optimality(best, best) == 1.0
    assert optimality(torch.full((4,), torch.inf), best) == 0.0


def test_optimality_leaves_out_what_nobody_breaks_or_was_wrong_before():
    best = torch.tensor([1.0, 2.0, 4.0, 1.0])
    attack = torch.tensor([2.0, torch.inf, 9.0, 2.0])
    for extra in (0.0, torch.inf):
        more = [torch.cat([sizes, torch.tensor([extra])]) for sizes in (attack, best)]
        if extra == 0.0:
            # The starting areas hold these pictures too: (clean * edge - A) / (clean * edge - B), with clean 4/5.
            edge, clean = 4.0, 0.8
            a, b = (area(sizes, edge) for sizes in more)
            assert (clean * edge - a) / (clean * edge - b) == pytest.approx(0.5)
        else:
            assert optimality(*more) == pytest.approx(0.5)


def test_optimality_where_there_is_nothing_to_tell():
    assert math.isnan(optimality(torch.full((3,), torch.inf), torch.full((3,), torch.inf)))
    assert optimality(torch.tensor([2.0]), torch.tensor([2.0])) == 1.0
    assert optimality(torch.tensor([torch.inf]), torch.tensor([2.0])) == 1.0  # one picture: no curve to speak of


def test_envelope_and_quantiles():
    first, second = torch.tensor([1.0, torch.inf, 3.0]), torch.tensor([2.0, 5.0, torch.inf])
    assert envelope([first, second]).tolist() == [1.0, 5.0, 3.0]
    sizes = torch.tensor([4.0, 1.0, torch.inf, 2.0])
    assert [quantile(sizes, share) for share in (0.25, 0.5, 0.75, 1.0)] == [1.0, 2.0, 4.0, math.inf]


def test_every_minimal_attack_takes_part():
    for norm in NORMS:
        made = {name: kind() for name, kind in ATTACKS.items()}
        fits = {name: minimal(one) and (not norms(one) or norm in norms(one)) for name, one in made.items()}
        expected = [name for name, fine in fits.items() if fine and made[name].access != Access.SCORES]
        parts = {by_labels: our_attacks(norm, 2000, by_labels=by_labels) for by_labels in (False, True)}
        assert sorted(entry.kind for part in parts.values() for entry in part) == sorted(expected)
        assert all((made[entry.kind].access == Access.LABELS) == by for by, part in parts.items() for entry in part)
        assert all(entry.options["queries"] == 2000 for entry in parts[True] if entry.kind != "line-search")
        assert all(json.dumps(entry.options) for part in parts.values() for entry in part)


@dataclass(frozen=True, kw_only=True)
class Unheard:
    """An attack of which the benchmark knows nothing."""

    rounds: int = 3
    minimal = True


def test_settings_of_attacks_that_nobody_has_named(monkeypatch):
    assert contest.with_count("fab", "steps", steps("fab", 2000)).steps == 166
    assert contest.with_count("fab", "steps", steps("fab", None)).steps == 100
    monkeypatch.setitem(ATTACKS, "unheard", Unheard)
    assert contest.with_count("unheard", "steps", steps("unheard", 2000)) == Unheard()
    assert contest.with_count("unheard", "steps", 50) == Unheard()
    assert all(steps(kind, 1) == 1 for kind in PASSES_A_STEP)


def test_peers_rows_are_sound():
    """Without any of them installed: each has a norm, settings for it, and a name of its own."""
    names = [peer.name for peer in peers.PEERS]
    assert len(set(names)) == len(names)
    for norm in NORMS:
        for cap in (None, 2000):
            entries = peers_attacks(peers.PEERS, norm, cap)
            assert entries
            assert not any(None in entry.options.values() for entry in entries)


def test_a_library_that_is_not_there_says_why(monkeypatch):
    libraries = {"gone": ("a_library_that_is_not_there", "gone"), "here": ("torch", "torch")}
    monkeypatch.setattr(peers.loading, "LIBRARIES", libraries)
    versions, missing = peers.load()
    assert versions == {"here": metadata.version("torch")}
    assert "a_library_that_is_not_there" in missing["gone"]


def test_stand_ins_go_when_the_import_is_done(monkeypatch):
    monkeypatch.setattr(peers.loading, "NOT_NEEDED", {"a_library_that_is_not_there": ("part",), "math": ("part",)})
    with stand_ins():
        assert importlib.util.find_spec("a_library_that_is_not_there") is not None
        assert sys.modules["a_library_that_is_not_there"].part is None
        assert sys.modules["math"] is math
    assert "a_library_that_is_not_there" not in sys.modules
    assert sys.modules["math"] is math


def walk(shares):
    """A peer's attack that asks at these shares of the way to the opposite corner, and returns the last."""

    def call(model, x, y, norm, options):
        for share in shares:
            model(torch.lerp(x, 1 - x, share))
        return torch.lerp(x, 1 - x, shares[-1])

    return Peer(library="walks", attack=str(shares), kind="walk", norms=("l2",), call=call)


def fails(model, x, y, norm, options):
    raise ValueError("no")


def test_tables_from_start_to_end(case, capsys):
    net, x, y = case
    rows = (walk([0.5, 1.0, 0.0]), walk([1.0]))
    broken = Peer(library="walks", attack="fails", kind="walk", norms=("l2",), call=fails)
    ours = [entry for entry in our_attacks("l2", 60) if entry.kind in ("fab", "fab-t")]
    entries = [*ours, *peers_attacks((*rows, broken), "l2", 60)]
    outcomes = [attempt(entry, net, x, y, "l2", 60) for entry in entries]
    found = minimal_tables.capped_rows(outcomes, "l2")
    assert found["together"]["best of ours"]["attacks"] == 2
    assert found["together"]["best of ours"]["optimality"] == pytest.approx(1.0)
    assert found["failed"]["walks:fails"]["error"] == "ValueError: no"
    assert found["best_single_peer"] == rows[0].name
    assert found["rows"][rows[0].name]["returned"]["broken"] == 0  # gave back what does no harm; what was seen counts
    assert found["rows"][rows[0].name]["passes"] == [3.0, 0.0]
    json.dumps(found, allow_nan=False)
    minimal_tables.show_capped("capped", found)
    side = minimal_tables.equal_rows([outcomes, outcomes], "l2")
    json.dumps(side, allow_nan=False)
    assert side["rows"][rows[1].name]["our_time_over_its"]["median"] > 0
    minimal_tables.show_equal("equal", {"walk": side})
    printed = capsys.readouterr().out
    assert "holdfast:fab-t" in printed
    assert "failed: ValueError: no" in printed


def test_what_is_returned_counts_though_nobody_asked_about_it(case):
    net, x, y = case

    def call(model, x, y, norm, options):
        model(x)
        return 1 - x

    silent = Peer(library="walks", attack="blind", kind="walk", norms=("l2",), call=call)
    (entry,) = peers_attacks((silent,), "l2", None)
    found = attempt(entry, net, x, y, "l2", None)
    harmed = net(1 - x).argmax(1) != y
    assert harmed.any()
    assert torch.equal(found.smallest["linf"].isfinite(), harmed)
    assert torch.equal(found.smallest["l2"], found.returned)
    assert (found.forward == 1).all()


def test_our_own_errors_are_raised(case):
    net, x, y = case

    def call(model):
        raise ValueError("ours")

    with pytest.raises(ValueError, match="ours"):
        attempt(Entry(OURS, "holdfast:x", "x", {}, call), net, x, y, "l2", None)
