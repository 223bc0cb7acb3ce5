"""`python -m bench.against`: what the suites cost and find beside the reference implementation of AutoAttack.

Needs the extra `bridges`. Takes the better part of an hour on two cores; `--only` names one case, and a result file
that is there already keeps its other cases.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch

from bench import components, reference
from bench.networks import EPS, EPS_CIFAR, network
from bench.script import arguments, conditions, write
from holdfast import L2, Linf, data
from holdfast.threats import Threat

# Name: network, data, threat, pictures, rounds.
CASES: dict[str, tuple[str, str, Threat, int, int]] = {
    "cnn": ("cnn", "fashion-mnist", Linf(eps=EPS), 200, 5),
    "cnn-hardened": ("cnn-hardened", "fashion-mnist", Linf(eps=EPS), 200, 2),
    "resnet8-hardened linf": ("resnet8-hardened", "cifar-10", Linf(eps=EPS_CIFAR), 100, 2),
    "resnet8-hardened l2": ("resnet8-hardened", "cifar-10", L2(eps=0.5), 100, 2),
}


def main() -> int:
    """Measure the cases asked for."""
    parser = arguments(__doc__, rounds=None, out="runs/bench/reference.json")
    parser.add_argument("--folder", type=Path, default=Path("runs/bench"), help="where networks are kept")
    parser.add_argument("--only", choices=sorted(CASES), action="append", help="a case, more than once for several")
    parser.add_argument("--pictures", type=int, default=None, help="test pictures of each case, else 200 or 100")
    parser.add_argument("--agreement", type=int, default=1000, help="pictures that fast and standard are compared on")
    options = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = json.loads(options.out.read_text()) if options.out.exists() else {}
    for name in options.only or CASES:
        net, pictures, threat, count, rounds = CASES[name]
        model = network(net, data.load(pictures, "train", data_dir=options.data_dir), options.folder)
        test = data.load(pictures, "test", data_dir=options.data_dir, limit=options.pictures or count)
        found = reference.measure(model, test.x(), test.labels, threat, options.rounds or rounds)
        result[name] = {"conditions": conditions("bench.against", threads=1), **found}
        reference.show(f"{net} on {pictures}", found)
        if isinstance(threat, Linf):
            result[name]["components"] = single = {
                "apgd_losses": components.apgd_losses(model, test.x(), test.labels, threat),
                "apgd_time": components.apgd_time(model, test.x(), test.labels, threat, min(5, 2 * rounds)),
                "square": components.square_queries(model, test.x(), test.labels, threat),
            }
            if pictures == "fashion-mnist":
                many = data.load(pictures, "test", data_dir=options.data_dir, limit=options.agreement)
                single["agreement"] = components.agreement(model, many.x(), many.labels, threat)
            components.show(single)
        write(options.out, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
