"""What the benchmark of searches by scores measures with: the count up to the first success, and the tables of it."""

import json
import math
from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from bench import scores, scores_tables
from bench.contest import OURS, Entry, Outcome, attempt, peers_attacks
from bench.peers import by_scores
from bench.peers.peer import Peer
from bench.tracking import Exhausted, Tracked
from torch import nn

from holdfast.access import Access
from holdfast.attacks import ATTACKS, NES, SimBA, Square, run
from holdfast.attacks.attack import breadth
from holdfast.threats import L2, Linf, Pixels
from nets import linear, tiny_case


@pytest.fixture
def case():
    """Twelve pictures that the model gets right."""
    full = tiny_case()
    full.model.eval().requires_grad_(False)
    right = (full.model(full.x).argmax(1) == full.y).nonzero().squeeze(1)[:12]
    return full.model, full.x[right], full.y[right]


@pytest.fixture
def edge():
    """Two pictures of two values, wrong once these sum to more than 1; from 0.4 and 0.4, and from 0 and 0.3."""
    net = linear(torch.tensor([[0.0, 0.0], [1.0, 1.0]], dtype=torch.float64), torch.tensor([0.0, -1.0]).double())
    x = torch.tensor([[0.4, 0.4], [0.0, 0.3]], dtype=torch.float64).view(2, 1, 1, 2)
    return net.requires_grad_(False), x, torch.tensor([0, 0])


def test_which_question_was_the_first_success_by_hand(edge):
    """Rows of both pictures in turns: the success is the third about the first one, the fourth row of the call."""
    net, x, y = edge
    model = Tracked(net, x, y, threat=Linf(eps=0.15))
    model(x[:1])
    assert model.first.isinf().all()
    rows = torch.tensor([0, 1, 1, 0, 0])
    move = torch.tensor([0.05, 0.1, 0.0, 0.15, 0.12], dtype=torch.float64).view(-1, 1, 1, 1)
    model(x[rows] + move)
    assert model.first.tolist() == [3.0, math.inf]
    assert model.forward_passes.tolist() == [4, 2]
    assert float(model.smallest["linf"][0]) == pytest.approx(0.12)


def test_a_success_outside_is_none(edge):
    net, x, y = edge
    model = Tracked(net, x[:1], y[:1], threat=Linf(eps=0.15))
    model(x[:1] + 0.16)
    assert model.first.isinf().all()
    assert model.smallest["linf"].isfinite().all()  # what is smallest does not ask for a radius
    model(x[:1] + 0.15)  # at the radius, but for rounding
    assert model.first.tolist() == [2.0]


def test_the_first_success_closes_a_picture(edge):
    """From the next call on it costs nothing and is said to be right; the other goes on, and then all is over."""
    net, x, y = edge
    model = Tracked(net, x, y, threat=Linf(eps=0.4))
    assert (model(x + 0.15).argmax(1) == torch.tensor([1, 0])).all()
    assert (model(x + 0.2).argmax(1) == 0).all()
    assert model.forward_passes.tolist() == [1, 2]
    assert model.first.tolist() == [1.0, math.inf]
    model(x + 0.4)
    assert model.first.tolist() == [1.0, 3.0]
    with pytest.raises(Exhausted):
        model(x)


def test_what_the_cap_leaves_out_is_no_success(edge):
    """Three rows about a picture, the last of which would succeed, and two are paid for."""
    net, x, y = edge
    model = Tracked(net, x, y, 2, Linf(eps=0.3))
    model(x[:1] + torch.tensor([0.0, 0.0, 0.2], dtype=torch.float64).view(-1, 1, 1, 1))
    assert model.first.isinf().all()
    assert model.forward_passes.tolist() == [2, 0]


@pytest.mark.parametrize("attack", [Square(queries=60), SimBA(queries=60), NES(queries=60, pairs=3)], ids=repr)
def test_the_watch_and_the_engine_agree(case, attack):
    """With one point a round they count alike; with several the watch stops at the success, the engine after them."""
    net, x, y = case
    threat = Linf(eps=0.3)
    model = Tracked(net, x, y, threat=threat)
    watched = run(attack, model, x, y, threat)
    alone = run(attack, net, x, y, threat)
    assert torch.equal(model.first.isfinite(), alone.success)
    assert torch.equal(watched.success, alone.success)
    assert alone.success.any()
    first, counted = model.first[alone.success], alone.forward[alone.success]
    several = breadth(attack) if isinstance(attack, NES) else 1
    assert (first <= counted).all()
    assert (first > counted - several).all()


def test_rows_find_their_picture_in_the_norm_of_the_threat():
    """Nearer to the second picture in L2, but only one pixel from the first."""
    x = torch.tensor([[0.0, 0.0], [0.4, 0.9]], dtype=torch.float64).view(2, 1, 1, 2)
    net = linear(torch.eye(2, dtype=torch.float64))
    point = torch.tensor([[0.0, 0.9]], dtype=torch.float64).view(1, 1, 1, 2)
    assert Tracked(net, x, torch.tensor([0, 1])).pictures_of(point).tolist() == [1]
    assert Tracked(net, x[:, :, :, :1].expand(-1, -1, -1, 2), torch.tensor([0, 1])).pictures_of(x[:1]).tolist() == [0]
    far = torch.tensor([[0.0, 0.0], [0.4, 0.8]], dtype=torch.float64).view(2, 1, 1, 2)
    assert Tracked(net, far, torch.tensor([0, 1]), threat=Pixels(eps=1)).pictures_of(point).tolist() == [0]


def test_pictures_are_told_apart_where_the_radius_is_small():
    x = torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1, 1).expand(-1, 1, 2, 2)
    assert scores.told_apart(x, Linf(eps=0.12))
    assert not scores.told_apart(x, Linf(eps=0.13))
    assert not scores.told_apart(x, L2(eps=2.0))
    assert scores.told_apart(x[:1], L2(eps=2.0))


def asks(points_of, name="asks"):
    """A peer's attack that asks about what `points_of` makes of the pictures, call after call, and returns those."""

    def call(model, x, y, norm, options):
        for move in points_of:
            model(x + move)
        return x

    return Peer(library="walks", attack=name, kind="walk", norms=("linf",), call=call)


def test_what_is_returned_unasked_is_the_next_question(edge):
    net, x, y = edge

    def call(model, x, y, norm, options):
        model(x)
        return x + 0.15

    (entry,) = peers_attacks(
        (Peer(library="walks", attack="blind", kind="walk", norms=("linf",), call=call),), "linf", 9
    )
    for radius, cap, expected in ((0.15, 9, [2.0, math.inf]), (0.1, 9, [math.inf] * 2), (0.15, 1, [math.inf] * 2)):
        found = attempt(entry, net, x, y, "linf", cap, Linf(eps=radius))
        assert found.first.tolist() == expected


def test_singles_come_together(edge):
    net, x, y = edge
    (entry,) = peers_attacks((asks([0.0, 0.15, 0.4]),), "linf", 9)
    found, errors = scores.first_success(entry, Linf(eps=0.4), net, x, y, 9)
    assert found.first.tolist() == [2.0, 3.0]
    assert found.forward.tolist() == [2, 3]
    assert errors == Counter()


def test_errors_are_counted_and_stop_nobody(edge):
    net, x, y = edge

    def call(model, x, y, norm, options):
        model(x)
        raise ValueError("no")

    fails = Peer(library="walks", attack="fails", kind="walk", norms=("linf",), call=call)
    (entry,) = peers_attacks((fails,), "linf", 9)
    found, errors = scores.first_success(entry, Linf(eps=0.4), net, x, y, 9)
    assert errors == Counter({"ValueError: no": 2})
    assert found.error == "ValueError: no"
    assert scores_tables.rows([found], 9)["failed"]["walks:fails"]["error"] == "ValueError: no"


def outcome(library, name, first, cap=100):
    """An attack that needed so many questions."""
    first = torch.tensor(first, dtype=torch.float64)
    sizes = torch.where(first.isfinite(), first / 100, torch.inf)
    asked = first.clamp(max=cap).long()
    entry = Entry(library, f"{library}:{name}", name, {}, lambda model: model.x)
    return Outcome(entry, {"l2": sizes}, asked, torch.zeros_like(asked), 2.0, False, None, first=first)


def test_a_table_by_hand(capsys):
    none = math.inf
    ours = outcome(OURS, "square", [10.0, 30.0, 20.0, none])
    slow = outcome("one", "square", [20.0, 50.0, 60.0, none])
    better = outcome("two", "square", [30.0, none, 10.0, 90.0])
    never = outcome("three", "square", [none] * 4)
    found = scores_tables.rows([ours, slow, better, never], 100)
    rows = found["rows"]
    assert [row["broken"] for row in rows.values()] == [3, 3, 3, 0]
    assert [row["median"] for row in rows.values()] == [20.0, 50.0, 30.0, None]
    assert found["broken_by_all"] == 2  # the first and the third; who breaks none has no say
    assert [row["mean_where_all_broke"] for row in rows.values()] == [15.0, 40.0, 20.0, None]
    assert [row["mean_with_failures_at_cap"] for row in rows.values()] == [40.0, 57.5, 57.5, 100.0]
    assert found["best_of_ours"] == "holdfast:square"
    assert found["best_peer"] == "one:square"
    assert rows["one:square"]["ours_over_it"] == pytest.approx(
        {"median": 0.4, "mean_where_both_broke": 20 / (130 / 3), "mean_with_failures_at_cap": 40 / 57.5}
    )
    assert rows["three:square"]["ours_over_it"] == {
        "median": None,
        "mean_where_both_broke": None,
        "mean_with_failures_at_cap": 0.4,
    }
    assert rows["two:square"]["median_size"]["l2"] == pytest.approx(0.3)
    assert rows["one:square"]["cpu_seconds_per_1000"] == pytest.approx(2 / 230 * 1000)
    assert "ours_over_it" not in rows["holdfast:square"]
    json.dumps(found, allow_nan=False)
    scores_tables.show("by hand", found | {"errors": {"two:square": {"ValueError: no": 1}}})
    printed = capsys.readouterr().out
    assert "holdfast:square over one:square: median 0.4" in printed
    assert "two:square: on 1 pictures ValueError: no" in printed


def test_a_table_of_ours_alone(capsys):
    found = scores_tables.rows([outcome(OURS, "nes", [math.inf, math.inf])], 100)
    assert found["best_peer"] is None
    assert found["rows"]["holdfast:nes"]["mean_where_all_broke"] is None
    json.dumps(found, allow_nan=False)
    scores_tables.show("alone", found)
    assert "holdfast:nes" in capsys.readouterr().out


def test_every_attack_by_scores_takes_part():
    found = scores.groups(0.1, 400, (1, 6, 6))
    taking_part = {attack.name for group in found.values() for attack in group.ours}
    guessing = {"grid", "worst-of-k"}  # whatever the answers are
    assert taking_part == {name for name, kind in ATTACKS.items() if kind.access == Access.SCORES} - guessing
    for group in found.values():
        entries = scores.entries(group, torch.zeros(1, 1, 6, 6), 400)
        assert len({entry.name for entry in entries}) == len(entries)
        for entry in entries:
            assert json.dumps(entry.options)
            queries = getattr(entry.attack, "queries", 400)
            assert queries == 400
    assert all(attack.generations * attack.population == 400 for attack in found["one-pixel-3"].ours)


def test_peers_of_a_batch_are_there():
    named = {peer.name for peer in (*by_scores.squares(0.1, 9, 6), *by_scores.spsas(0.1, 9, 6))}
    assert set(by_scores.IN_A_BATCH) < named


@pytest.mark.parametrize("name", ["square", "simba-pixels", "one-pixel-1", "zoo"])
def test_a_group_from_start_to_end(case, name, capsys):
    """Ours alone, as no library is named; all of them and their tables."""
    net, x, y = case
    group = scores.groups(0.3, 80, tuple(x.shape[1:]))[name]
    found = scores.measured(group, net, x[:4], y[:4], 80, {})
    json.dumps(found, allow_nan=False)
    assert all(row["library"] == OURS for row in found["rows"].values())
    assert len(found["rows"]) == len(group.ours)
    scores.show(name, found)
    assert f"{OURS}:{group.ours[0].name}" in capsys.readouterr().out


def test_pictures_one_by_one_draw_noise_of_their_own():
    """The same picture twice: what one by one would ask alike is not asked alike."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 3)).requires_grad_(False)
    x = torch.full((2, 1, 6, 6), 0.5)
    y = net(x).argmax(1)
    group = SimpleNamespace(threat=L2(eps=6.0), ours=(SimBA(queries=40),), family=by_scores.nothing)
    (entry,) = scores.entries(group, x, 40)
    found, _ = scores.first_success(entry, group.threat, net, x, y, 40)
    assert found.smallest["l2"][0] != found.smallest["l2"][1] or found.first[0] != found.first[1]
