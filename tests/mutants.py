"""Plausible bugs, each with a test that must go red when it is planted.

A mutant is one replacement in one file of the package; `tests/test_mutants.py` plants it in a copy and runs the test.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """In `file`, `old` (which must occur exactly once) becomes `new`; the tests in `caught_by` must fail."""

    name: str
    file: str
    old: str
    new: str
    caught_by: str


MUTANTS = [
    Mutant(
        "sign-flipped step",
        "attacks/case.py",
        "alpha=share * eps)",
        "alpha=-share * eps)",
        "tests/test_attacks.py -k 'fgsm_is_the_sign_step'",
    ),
    Mutant(
        "no projection after a step",
        "attacks/case.py",
        "return self.project(moved)",
        "return moved",
        "tests/test_attacks.py -k 'test_stays_inside and linf'",
    ),
    Mutant(
        "last point instead of the best",
        "attacks/best.py",
        "better = is_better(merit, best.merit, aim)",
        "better = torch.ones_like(merit.reached)",
        "tests/test_engine.py -k 'best_is_kept'",
    ),
    Mutant(
        "best point lost when the lane stops climbing",
        "attacks/best.py",
        "kept = overwritten(best.kept, best.in_last & ~better, best.last)",
        "kept = best.kept",
        "tests/test_engine.py -k 'best_is_kept or smallest_keeps'",
    ),
    Mutant(
        "NaN counts as reached",
        "losses/goal.py",
        "return there & logits.isfinite().all(1)",
        "return there",
        "tests/test_losses.py tests/test_engine.py -k 'nan'",
    ),
    Mutant(
        "last point never looked at",
        "attacks/pgd.py",
        "return self.steps + 1",
        "return self.steps",
        "tests/test_attacks.py -k 'most_passes or linear_model_gives_up_at'",
    ),
    Mutant(
        "the model is left in evaluation mode",
        "access/borrow.py",
        "            module.training = mode\n",
        "            module.training = False\n",
        "tests/test_attacks.py -k 'comes_back'",
    ),
    Mutant(
        "parameters stay frozen",
        "access/borrow.py",
        "            parameter.requires_grad_(flag)\n",
        "            pass\n",
        "tests/test_attacks.py -k 'comes_back_as_found'",
    ),
    Mutant(
        "detached points",
        "access/oracle.py",
        "logits = checked(self.model(points), len(points))\n            rows",
        "logits = checked(self.model(points.detach()), len(points))\n            rows",
        "tests/test_access.py -k 'gradients_are_each'",
    ),
    Mutant(
        "backward passes not counted",
        "access/meter.py",
        "if backward:",
        "if False:",
        "tests/test_attacks.py -k 'passes_are_what'",
    ),
    Mutant(
        "noise shared by restarts",
        "attacks/engine.py",
        "restart=torch.full_like(rows, plan.restart)",
        "restart=torch.zeros_like(rows)",
        "tests/test_attacks.py -k 'restarts_start_elsewhere'",
    ),
    Mutant(
        "noise belongs to the place in the batch",
        "attacks/engine.py",
        "            self.place[rows],\n",
        "            torch.arange(len(rows)),\n",
        "tests/test_attacks.py -k 'split_does_not_matter or order_does_not'",
    ),
    Mutant(
        "pictures wrong from the start are attacked",
        "attacks/engine.py",
        "wrong = self.logits.argmax(1) != goal.y",
        "wrong = torch.zeros_like(goal.y, dtype=torch.bool)",
        "tests/test_attacks.py -k 'wrong_from_the_start'",
    ),
    Mutant(
        "broken pictures are asked again",
        "attacks/record.py",
        "self.closed[rows[found.reached]] = True",
        "pass",
        "tests/test_engine.py -k 'not_asked_again'",
    ),
    Mutant(
        "points outside count",
        "attacks/record.py",
        "success = reached & within(threat, size) & inside_box(threat, self.x_adv)",
        "success = reached",
        "tests/test_engine.py -k 'liar'",
    ),
    Mutant(
        "targeted loss points away",
        "losses/objectives.py",
        "return -formulas.cross_entropy(logits, goal.target)",
        "return formulas.cross_entropy(logits, goal.target)",
        "tests/test_attacks.py -k 'targeted_reaches'",
    ),
    Mutant(
        "momentum forgets",
        "attacks/mifgsm.py",
        "norm > 0) & norm.isfinite()",
        "norm > -1)",
        "tests/test_attacks.py -k 'momentum_survives'",
    ),
    Mutant(
        "iterated step too short",
        "attacks/ifgsm.py",
        "1 / self.steps)",
        "0.5 / self.steps)",
        "tests/test_attacks.py -k 'ifgsm_walks'",
    ),
    Mutant(
        "budget counts each lane alone",
        "attacks/asking.py",
        "return total - total[first] + cost[first]",
        "return cost",
        "tests/test_engine.py -k 'budget_is_never'",
    ),
    Mutant(
        "label-only attacks see scores",
        "attacks/asking.py",
        "if access == Access.LABELS:",
        "if False:",
        "tests/test_engine.py -k 'label_access'",
    ),
]
