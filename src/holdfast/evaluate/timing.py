"""timing.json: everything that differs between two runs of the same numbers, and nothing else."""

import sys
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

import torch


class Timing:
    """Seconds spent, added up over all starts of a run.

    `plain` is what the file holds: `seconds` in all, `attack_seconds` by shard, `check_seconds`, `pictures_per_second`,
    `starts` (when, with which command line, on how many threads, resumed or not).
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
        self._earlier = float(self.plain.get("seconds", 0.0))
        self._begun = perf_counter()

    def shard(self, number: int, pictures: int, seconds: float) -> None:
        """Note a shard that was attacked."""
        self.plain["attack_seconds"][f"{number:05d}"] = seconds
        self.plain["pictures"] = self.plain.get("pictures", 0) + pictures
        self.plain["pictures_per_second"] = self.plain["pictures"] / max(
            sum(self.plain["attack_seconds"].values()), 1e-9
        )

    def checks(self, seconds: float) -> None:
        """Note the checks."""
        self.plain["check_seconds"] = seconds

    def stop(self) -> dict[str, Any]:
        """The file's content as of now."""
        self.plain["seconds"] = self._earlier + perf_counter() - self._begun
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
