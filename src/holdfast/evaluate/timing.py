"""timing.json: everything that differs between two runs of the same numbers, and nothing else."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

import torch
from torch import Tensor


@dataclass
class Account:
    """What one process did since it was started."""

    rank: int
    pictures: int = 0
    forward: int = 0  # passes of the attack
    backward: int = 0
    check_forward: int = 0  # passes of the checks
    check_backward: int = 0
    check_seconds: float = 0.0
    attack_seconds: dict[str, float] = field(default_factory=dict)  # by shard

    def shard(self, number: int, shard: Mapping[str, Tensor], seconds: float) -> None:
        """Note a shard that was attacked."""
        self.attack_seconds[f"{number:05d}"] = seconds
        self.pictures += len(shard["label"])
        self.forward += int(shard["forward"].sum())
        self.backward += int(shard["backward"].sum())

    def checks(self, forward: int, backward: int, seconds: float) -> None:
        """Note the checks."""
        self.check_forward, self.check_backward, self.check_seconds = forward, backward, seconds


class Timing:
    """Seconds spent, added up over all starts of a run.

    `plain` is what the file holds: `seconds` in all, `attack_seconds` by shard, `check_seconds`, `pictures_per_second`
    of a process, `starts` (when, with which command line, on how many threads, resumed or not, and the account of
    each process).
    """

    def __init__(self, before: dict[str, Any] | None = None) -> None:
        self.plain: dict[str, Any] = before or {"format": 1, "seconds": 0.0, "check_seconds": 0.0, "attack_seconds": {}}
        self.plain.setdefault("starts", []).append(
            {
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "command": list(sys.argv),
                "threads": torch.get_num_threads(),
                "resumed": before is not None,
            }
        )
        self._earlier = {"seconds": 0.0, "pictures": 0, "check_seconds": 0.0, "attack_seconds": {}, **self.plain}
        self._begun = perf_counter()

    def note(self, accounts: Sequence[Mapping[str, Any]]) -> None:
        """Take over what the processes of this start did so far, `Account` as plain data."""
        before, plain = self._earlier, self.plain
        shards = {number: s for account in accounts for number, s in account["attack_seconds"].items()}
        plain["attack_seconds"] = {**before["attack_seconds"], **shards}
        plain["check_seconds"] = before["check_seconds"] + sum(account["check_seconds"] for account in accounts)
        plain["pictures"] = before["pictures"] + sum(account["pictures"] for account in accounts)
        plain["pictures_per_second"] = plain["pictures"] / max(sum(plain["attack_seconds"].values()), 1e-9)
        plain["starts"][-1]["processes"] = [dict(account) for account in accounts]

    def stop(self) -> dict[str, Any]:
        """The file's content as of now."""
        self.plain["seconds"] = self._earlier["seconds"] + perf_counter() - self._begun
        return self.plain


def together(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """The timing of a merged run: seconds added up, each part's own kept."""
    shards = {k: v for part in parts for k, v in part.get("attack_seconds", {}).items()}
    pictures = sum(part.get("pictures", 0) for part in parts)
    return {
        "format": 1,
        "seconds": sum(part.get("seconds", 0.0) for part in parts),
        "check_seconds": sum(part.get("check_seconds", 0.0) for part in parts),
        "attack_seconds": shards,
        "pictures": pictures,
        "pictures_per_second": pictures / max(sum(shards.values()), 1e-9),
        "starts": [start for part in parts for start in part.get("starts", [])],
    }
