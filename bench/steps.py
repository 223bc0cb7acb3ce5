"""How many steps each kind of attack is given."""

STEPS = 100  # where attacks are compared at equal steps
SEARCHES = 9  # weights that attacks with a penalty try one after another

# Forward and backward passes a step, over all lanes of a picture: what a budget of passes is divided by. A kind that is
# not named here ends of itself, or has a schedule of its own, and is left as its library sets it.
PASSES_A_STEP = {
    "ddn": 2,
    "fmn": 2,
    "pdpgd": 2,
    "pdgd": 2,
    "alma": 2,
    "regularised": SEARCHES * 2,
    "sigma-zero": 2,
    "fab": 2 + 10,  # a backward pass a class
    "fab-t": 9 * 3,  # nine targets
    "cw": SEARCHES * 2,
    "cw-linf": SEARCHES * 2,
    "cw-l0": SEARCHES * 2,
    "ead": SEARCHES * 2,
}

# The kinds that are set side by side at equal steps, those that are not named above as they are.
COMPARED = (*PASSES_A_STEP, "deepfool", "superdeepfool", "bisect")


def steps(kind: str, cap: int | None) -> int | None:
    """Steps (each of `SEARCHES` times, where a weight is searched) that fit into `cap` passes, or `STEPS` without one.

    None where the kind has no number of steps to set.
    """
    passes = PASSES_A_STEP.get(kind)
    if passes is None:
        return None
    return STEPS if cap is None else max(1, cap // passes)
