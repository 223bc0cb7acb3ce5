"""What is made of adversarial pictures: one method of adversarial training a file, one line here."""

from holdfast.train.methods.free import Free
from holdfast.train.methods.hardened import Hardened
from holdfast.train.methods.mart import MART
from holdfast.train.methods.method import Method
from holdfast.train.methods.trades import TRADES

__all__ = ["MART", "METHODS", "TRADES", "Free", "Hardened", "Method"]

METHODS: dict[str, type[Method]] = {"hardened": Hardened, "free": Free, "trades": TRADES, "mart": MART}
