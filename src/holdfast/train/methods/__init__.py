"""What is made of adversarial pictures: one method of adversarial training a file, one line here."""

from holdfast.train.methods.hardened import Hardened
from holdfast.train.methods.method import Method

__all__ = ["METHODS", "Hardened", "Method"]

METHODS: dict[str, type[Method]] = {"hardened": Hardened}
