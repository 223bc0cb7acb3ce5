"""The engine: alone asks the model, drops what is done, refills, keeps the best, counts, and gives the model back."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from holdfast.access import Access, Answer, Budget, Gradient, Meter, Oracle, Part, Refusal, Scores, borrow
from holdfast.access.answer import keep_lanes
from holdfast.access.borrow import Model, home
from holdfast.access.oracle import sees_all
from holdfast.attacks.asking import affordable, ask, look, restricted, unchanged
from holdfast.attacks.attack import Attack, begins_elsewhere, breadth, repeats, wanders
from holdfast.attacks.beginnings import nearest_elsewhere
from holdfast.attacks.best import Aim, Best, Merit, best_point_of_lane, keep_better, nothing_yet
from holdfast.attacks.case import Case
from holdfast.attacks.check import (
    check_attacks,
    check_beginning,
    check_guarded,
    check_pictures,
    check_place,
    check_target,
)
from holdfast.attacks.external import check_norm
from holdfast.attacks.group import Group, merged
from holdfast.attacks.parametric import rendered, seen_from
from holdfast.attacks.queue import Plan, Queue, plans
from holdfast.attacks.record import Record, inside_box, within
from holdfast.attacks.result import AttackResult
from holdfast.draws import Draws
from holdfast.lanes import map_lanes, take
from holdfast.losses import Goal, objectives
from holdfast.models import refused_class
from holdfast.threats import AnyThreat, Rendered, Threat

Progress = Callable[[int, int], None]
"""Called with (lanes done, lanes in all)."""

# On a GPU every look of the host at the device's masks waits for the device; a few rounds between looks cost less
# than the waits, and what a lane does after its success is ignored anyway.
ROUNDS_BETWEEN_LOOKS = {"cuda": 4}


@torch.inference_mode(False)  # within a caller's inference mode there would be no gradients
def run(
    attack: Attack | Sequence[Attack],
    model: Model,
    x: Tensor,
    y: Tensor,
    threat: AnyThreat,
    *,
    seed: int = 0,
    batch: int = 256,
    target: Tensor | None = None,
    confidence: float = 0.0,
    picture: Tensor | None = None,
    aim: Aim = "first_success",
    beginning: Tensor | None = None,
    budget: Budget | None = None,
    trace: bool = False,
    progress: Progress | None = None,
) -> AttackResult:
    """Attack pictures and return the best point seen of each.

    Args: `attack` one attack or several, cheapest first; `model` pictures (N, C, H, W) to logits (N, K); `x` float
    (N, C, H, W) inside the threat's box; `y` (N,) int64 true classes; `threat` with one radius or one a picture, where
    it renders pictures from parameters these are what the attacks are shown in the place of pictures;
    `seed` of the noise; `batch` the most pictures in a call of the model; `target` (N,) int64 classes to be reached,
    None for any wrong one; `confidence` by how many logit units the class reached must lead; `picture` (N,) int64
    place of each picture in its full set, which keys its noise (default 0, 1, ...); `aim` what is best and when to
    stop; `beginning` (N, C, H, W) pictures that reach the goal, such as an earlier attack's, where searches by labels
    alone begin (default: for each the nearest of the others given that does); `budget` per picture; `trace` keeps what
    every lane saw.

    A picture that is misclassified from the start is returned untouched, unless the highest loss is wanted, as is
    one whose target is its own class. A guarded model (`holdfast.models.Guarded`) is attacked with its detector: what
    it refuses counts as answered rightly.
    The model is used in evaluation mode without parameter gradients and given back as found, also after an error.

    Raises: `ModelError` when the model answers with a wrong shape, or not finitely on unchanged pictures; `DataError`
    for pictures or labels that cannot be attacked; `OptionError` for a wrong option.
    Cost: one forward pass a picture, then what the attack asks for until the picture is done.
    """
    x, y, target, picture, threat = map_lanes(usable, (x, y, target, picture, threat))
    check_pictures(x, y, threat, batch)
    attacks = check_attacks(attack)
    for one in attacks:
        check_norm(one, threat)
    there = home(model, x)
    goal = Goal(y.to(there), check_target(target, x, there), confidence)
    threat = map_lanes(lambda tensor: tensor.to(there), threat)
    place = check_place(picture, x).to(there)
    check_beginning(beginning, x)
    moved, shown, ball = seen_from(threat, x.to(there))
    record = Record(moved, aim)
    meter = Meter(len(x), there)
    refused = refused_class(model)
    for one in attacks:
        check_guarded(one, refused)
    refusal = None if refused is None else Refusal(refused, goal.y)
    with borrow(model) as lent, torch.no_grad():
        oracle = Oracle(lent, batch, meter, shown, refusal)
        engine = Engine(attacks, oracle, record, goal, ball, place, seed, budget, beginning)
        engine.work(trace, progress)
    attack_of = torch.tensor([plan.attack for plan in engine.plans], device=there)
    found = record.result(ball, meter, engine.logits, attack_of, x.device)
    return rendered(found, threat, x, batch) if isinstance(threat, Rendered) else found


def usable(tensor: Tensor) -> Tensor:
    """A tensor that gradients may be taken through, though not to: without history, no child of inference mode."""
    return tensor.clone() if tensor.is_inference() else tensor.detach()


class Engine:
    """One run. Work goes in rounds: refill the batch, ask, keep the best, drop what is done, step the rest."""

    def __init__(
        self,
        attacks: Sequence[Attack],
        oracle: Oracle,
        record: Record,
        goal: Goal,
        threat: Threat,
        place: Tensor,
        seed: int,
        budget: Budget | None,
        beginning: Tensor | None,
    ) -> None:
        self.attacks, self.oracle, self.record, self.goal = attacks, oracle, record, goal
        self.threat, self.place, self.seed, self.budget = threat, place, seed, budget
        everything = torch.arange(len(place), device=place.device)
        looks = max(map(repeats, attacks))
        seen, wrong = unchanged(oracle, record.x, goal, looks)
        self.logits = seen.logits
        own = torch.zeros_like(wrong) if goal.target is None else goal.target == goal.y
        record.start(wrong, own if record.aim == "highest_loss" else own | wrong, seen.reached, looks)
        self.beginning = None
        if any(map(begins_elsewhere, attacks)):
            nearest = nearest_elsewhere(record.x, self.said(), goal) if beginning is None else beginning
            self.beginning = nearest.to(record.x)
        self.plans = plans(attacks, self.logits, goal)
        self.queue = Queue(self.plans, everything[~record.closed])
        self.groups: list[Group] = []  # one an attack
        self.looks: list[Group] = []  # lanes at their last question, which needs no gradient

    def said(self) -> Tensor:
        """(N,) int64: what is predicted of the unchanged pictures, -1 for those that are refused.

        Cost: for a guarded model one more forward pass a picture.
        """
        prediction = self.logits.argmax(1)
        if self.oracle.refusal is None:
            return prediction
        everything = torch.arange(len(prediction), device=prediction.device)
        return prediction.masked_fill(self.oracle.refuses(Part(self.record.x, everything)), -1)

    def work(self, trace: bool = False, progress: Progress | None = None) -> None:
        """Until no lane is left."""
        if trace:
            self.record.trace(len(self.plans), max(attack.rounds for attack in self.attacks))
        lanes = self.queue.remaining
        while self.refill():
            if self.groups:
                for _ in range(self.until_look() - 1):
                    if not self.adaptive():
                        self.round(host_looks=False)
                self.round(host_looks=True)
            # Looks wait for company, but not while many lanes work on that a look might make needless.
            busy = min(self.oracle.batch, sum(map(len, self.groups)))
            if 4 * sum(map(len, self.looks)) >= busy:
                self.flush()
            if progress is not None:
                progress(lanes - self.queue.remaining - sum(map(len, self.groups + self.looks)), lanes)

    def refill(self) -> bool:
        """Start waiting lanes once an eighth of the batch is free: fewer would not repay the copying."""
        batch, busy = self.oracle.batch, sum(len(group) * breadth(group.attack) for group in self.groups)
        if busy <= batch - max(1, batch // 8) or not busy:
            while busy < batch and self.queue.remaining and not self.should_wait(busy):
                each = breadth(self.attacks[self.queue.next.attack])
                plan, pictures = self.queue.take(-(-(batch - busy) // each), self.record.closed)
                if len(pictures):
                    busy += len(pictures) * each
                    self.enter(self.begin(plan, pictures))
        return bool(self.groups or self.looks or self.queue.remaining)

    def should_wait(self, busy: int) -> bool:
        """Whether the next plan is to wait, since the pictures under way may do without it.

        A quarter of a batch costs little more a picture than a whole one; a lane that its picture's other lane makes
        needless costs all its passes. Under a budget lanes run one after another, or the batch would decide how far
        each of them gets.
        """
        if not self.queue.between_plans:
            return False
        if self.budget is not None:
            return bool(busy or self.looks)
        return self.record.aim == "first_success" and busy >= max(1, self.oracle.batch // 4)

    def begin(self, plan: Plan, rows: Tensor) -> Group:
        """New lanes with their first question."""
        attack = self.attacks[plan.attack]
        namesakes = sum(other.name == attack.name for other in self.attacks[: plan.attack])
        x, threat, goal = self.record.x[rows], take(self.threat, rows), take(self.goal, rows)
        target = None if plan.target is None else plan.target[rows]
        draws = Draws(
            self.seed,
            self.place[rows],
            attack=zlib.crc32(attack.name.encode()) + namesakes,
            restart=torch.full_like(rows, plan.restart),
            target=target,
        )
        begins = self.beginning[rows] if self.beginning is not None and begins_elsewhere(attack) else None
        seen = self.logits[rows] if attack.access >= Access.SCORES else None
        case = Case(x, goal, threat, threat.limits(x), draws, target, begins, seen)
        state, query = attack.start(case)
        rank = torch.full_like(rows, plan.rank)
        return Group(attack, rows, rank, case, state, nothing_yet(x, self.record.aim), query)

    def enter(self, group: Group) -> None:
        """Join lanes to those of their attack; lanes at their last question wait for a look instead, or are done."""
        done = group.query.done
        if done is not None and bool(done.any()):
            self.leave(group.kept(done))
            group = group.kept(~done)
        final = group.final()
        if bool(final.any()):
            self.looks.append(group.kept(final))
            group = group.kept(~final)
        if len(group):
            same = [g for g in self.groups if g.joins(group)]
            self.groups = [g for g in self.groups if not g.joins(group)] + [merged([*same, group])]

    def until_look(self) -> int:
        """Rounds until the host must look at the lanes, as some may be won or come to their last question."""
        if self.adaptive():
            return 1
        left = min(group.attack.rounds - 1 - int(group.case.round.max()) for group in self.groups)
        if self.record.aim == "first_success":
            left = min(left, ROUNDS_BETWEEN_LOOKS.get(self.place.device.type, 1))
        return left

    def adaptive(self) -> bool:
        """Whether any round may be some lane's last."""
        return self.budget is not None or any(group.adaptive for group in self.groups)

    def round(self, host_looks: bool) -> None:
        """Ask all lanes under way once, drop those that are done if the host looks, step the others."""
        groups, self.groups = self.affordable(self.groups), []
        answers = ask(self.oracle, groups)
        groups = [self.noted(group, answer) for group, answer in zip(groups, answers, strict=True)]
        if host_looks and self.record.aim == "first_success":
            for group in groups:
                self.leave(group.kept(group.best.merit.reached))
        for group, answer in zip(groups, answers, strict=True):
            if host_looks:
                group, answer = self.still_open(group, answer)
            if len(group):
                for part in group.stepped(restricted(answer, group.attack.access)):
                    if host_looks or part.adaptive:
                        self.enter(part)
                    else:
                        self.groups.append(part)

    def flush(self) -> None:
        """Look at the last points of lanes that are otherwise done."""
        looks = [group.kept(~self.record.closed[group.picture]) for group in self.looks]
        looks, self.looks = self.affordable([group for group in looks if len(group)], look_only=True), []
        for group, answer in zip(looks, look(self.oracle, looks), strict=True):
            self.leave(self.noted(group, answer))

    def still_open(self, group: Group, answer: Answer) -> tuple[Group, Answer]:
        """The lanes whose pictures are still open, and their answers."""
        closed = self.record.closed[group.picture]
        return (group.kept(~closed), keep_lanes(answer, ~closed)) if bool(closed.any()) else (group, answer)

    def leave(self, group: Group) -> None:
        """Lanes are done."""
        if len(group):
            self.record.leave(group.picture, group.rank, group.best)

    def affordable(self, groups: list[Group], look_only: bool = False) -> list[Group]:
        """The lanes whose pictures can pay for their questions; the others leave with what they found."""
        if self.budget is None or not groups:
            return groups
        fine = affordable(self.oracle.meter, self.budget, groups, look_only)
        for group, lanes in zip(groups, fine, strict=True):
            if not bool(lanes.all()):
                self.leave(group.kept(~lanes))
        kept = [group.kept(lanes) for group, lanes in zip(groups, fine, strict=True)]
        return [group for group in kept if len(group)]

    def noted(self, group: Group, answer: Answer) -> Group:
        """The lanes with the best points they have seen."""
        best = self.note(group, answer)
        if self.record.course is not None:
            self.record.follow(group.picture, best, self.oracle.meter.forward[group.picture] - self.record.looks)
        return replace(group, best=best)

    def note(self, group: Group, answer: Answer) -> Best:
        """The best point of each lane so far."""
        query, case, lane, aim = group.query, group.case, group.query.lane, self.record.aim
        points, reached, size = query.points, answer.reached, None
        loss = loss_of(group, answer).to(points.dtype)
        # What is not finite ranks below everything, or one infinite loss would stay the best for good.
        worth = loss.nan_to_num(nan=-torch.inf, posinf=-torch.inf, neginf=-torch.inf)
        if wanders(group.attack) or aim == "smallest":
            threat, x = (case.threat, case.x) if lane is None else take((case.threat, case.x), lane)
            size = threat.size(points - x)
            inside = within(threat, size, x.dtype) & inside_box(threat, points)
            reached, worth = reached & inside, torch.where(inside, worth, -torch.inf)
        question = case.round + 1 if lane is None else (case.round + 1)[lane]
        merit = Merit(reached, worth, size if aim == "smallest" else None, question)
        if lane is not None and not len(points):
            return group.best
        if lane is not None:
            top, merit = best_point_of_lane(merit, lane, len(group), aim)
            points, loss = points[top], loss[top]
        self.record.watch(group.picture, group.rank, case.round, loss, merit.reached, answer)
        return keep_better(group.best, points, merit, aim)


def loss_of(group: Group, answer: Answer) -> Tensor:
    """What ranks the points of a lane that have not reached the goal, (P,), as far as its attack may know."""
    asked = group.query.objectives
    # Classifier and detector apart rank nothing: only both together come near the goal.
    apart = bool(asked) and sees_all(asked[0])
    if isinstance(answer, Gradient) and not apart:
        return answer.loss
    if isinstance(answer, Scores) and group.attack.access > Access.LABELS:
        objective = objectives.margin if apart or not asked else asked[0]
        return objective(answer.logits, group.point_goal())
    return torch.zeros_like(answer.reached, dtype=group.query.points.dtype)
