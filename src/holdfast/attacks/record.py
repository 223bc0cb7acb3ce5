"""What is known of each picture while lanes come and go."""

from dataclasses import fields

import torch
from torch import Tensor

from holdfast.access import Answer, Gradient, Meter
from holdfast.attacks.best import Aim, Best, is_better, nothing_yet
from holdfast.attacks.result import CHECKPOINTS, AttackResult, Trace
from holdfast.lanes import map_lanes, take
from holdfast.threats import AnyThreat, Threat


class Record:
    """One row a picture: the best point of its lanes so far, and whether it is closed to further lanes."""

    def __init__(self, x: Tensor, aim: Aim) -> None:
        self.x, self.aim = x, aim
        nothing = nothing_yet(x, aim)
        self.x_adv, self.merit = nothing.kept, nothing.merit
        self.lane = torch.full((len(x),), -1, dtype=torch.int64, device=x.device)
        self.closed = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        self.wrong = self.reached = torch.zeros_like(self.closed)
        self.looks = 1
        self.traced: Trace | None = None
        self.course: Tensor | None = None
        if aim == "smallest":
            self.course = torch.full((len(x), len(CHECKPOINTS)), torch.inf, dtype=torch.float64, device=x.device)
            self.checkpoints = torch.tensor(CHECKPOINTS, device=x.device)

    def start(self, wrong: Tensor, settled: Tensor, reached: Tensor, looks: int) -> None:
        """Close pictures that are not attacked: (N,) masks of those predicted wrongly, and of all that are settled.

        `reached` (N,): those that reach the goal as they are; `looks`: how many passes it took to see all that.
        """
        self.wrong, self.reached, self.looks = wrong, reached, looks
        self.closed |= settled

    def trace(self, lanes: int, rounds: int) -> None:
        """Keep what every lane sees from here on."""
        shape = (len(self.x), lanes, rounds)
        nan = torch.full(shape, torch.nan, dtype=torch.float32, device=self.x.device)
        self.traced = Trace(nan, nan.clone(), torch.zeros(shape, dtype=torch.bool, device=self.x.device))

    def watch(
        self, picture: Tensor, rank: Tensor, round_: Tensor, loss: Tensor, reached: Tensor, answer: Answer
    ) -> None:
        """Note a round of some lanes, if a trace is wanted."""
        if self.traced is None:
            return
        at = (picture, rank, round_)
        self.traced.loss[at] = loss.float()
        self.traced.reached[at] = reached
        if isinstance(answer, Gradient) and answer.lane is None:
            self.traced.gradient[at] = answer.gradient.flatten(1).norm(dim=1).float()

    def follow(self, picture: Tensor, best: Best, asked: Tensor) -> None:
        """Note the smallest successes of some lanes, (L,), when their pictures were `asked` about so many points."""
        assert self.course is not None  # the smallest is sought
        assert best.merit.size is not None
        size = torch.where(best.merit.reached, best.merit.size, torch.inf).to(self.course)
        now = torch.where(self.checkpoints >= asked[:, None], size[:, None], torch.inf)
        self.course.scatter_reduce_(0, picture[:, None].expand_as(now), now, "amin")

    def leave(self, picture: Tensor, rank: Tensor, best: Best) -> None:
        """Lanes are done: keep what they found where it is better than what the picture has."""
        x_adv = best.x_adv
        for lane in torch.unique(rank).tolist():
            # Within one rank every picture occurs once, so that rows are written without conflict.
            mine = (rank == lane).nonzero().squeeze(1)
            rows, found = picture[mine], take(best.merit, mine)
            better = is_better(found, take(self.merit, rows), self.aim)
            rows, found = rows[better], take(found, better)
            self.x_adv.index_copy_(0, rows, x_adv.index_select(0, mine[better]))
            self.lane[rows] = lane
            for field in fields(found):
                if (values := getattr(found, field.name)) is not None:
                    getattr(self.merit, field.name)[rows] = values
            if self.aim == "first_success":
                self.closed[rows[found.reached]] = True

    def result(
        self, threat: Threat, meter: Meter, logits: Tensor, attack: Tensor, device: torch.device
    ) -> AttackResult:
        """The final word: sizes are measured again, and a point outside the threat is no success.

        `attack` (lanes,) int64 says which attack each lane belongs to.
        """
        size = threat.size(self.x_adv.to(torch.float64, copy=True).sub_(self.x))
        self.x_adv[size == 0] = self.x[size == 0]  # to the bit: a clamp turns -0.0 into 0.0
        reached = torch.where(self.lane < 0, self.reached, self.merit.reached)
        success = reached & within(threat, size, self.x.dtype) & inside_box(threat, self.x_adv)
        parts = AttackResult(
            x_adv=self.x_adv,
            success=success,
            size=size,
            queries=meter.forward - self.looks,
            forward=meter.forward,
            backward=meter.backward,
            step=torch.where(self.wrong, 0, torch.where(success, self.merit.question, -1)),
            lane=torch.where(success, self.lane, -1),
            attack=torch.where(success & (self.lane >= 0), attack[self.lane.clamp_min(0)], -1),
            prediction=logits.argmax(1),
            trace=self.traced,
            course=None if self.course is None else self.course.masked_fill_(self.wrong[:, None], 0.0),
        )
        return to(parts, device)


def within(threat: AnyThreat, size: Tensor, kept: torch.dtype) -> Tensor:
    """(N,) bool: sizes not above the radius, but for the rounding of pictures kept in that float type."""
    unit = torch.finfo(kept).eps
    return size <= threat.eps * (1 + 8 * unit) + unit * max(abs(threat.low), abs(threat.high))


def inside_box(threat: AnyThreat, x_adv: Tensor) -> Tensor:
    """(N,) bool: every input value within the box; a NaN is not."""
    flat = x_adv.flatten(1)  # twice, as torch's `aminmax` takes four times as long
    return (flat.amin(1) >= threat.low) & (flat.amax(1) <= threat.high)


def to(result: AttackResult, device: torch.device) -> AttackResult:
    """The result on another device."""
    return map_lanes(lambda tensor: tensor.to(device), result)
