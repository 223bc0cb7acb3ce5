"""The published sets by name. A new one is a file with a `PublishedSet` in it and one line here."""

from holdfast.data.cifar import CIFAR_10
from holdfast.data.digits import DIGITS
from holdfast.data.idx import FASHION_MNIST, MNIST
from holdfast.data.published import PublishedSet
from holdfast.data.svhn import SVHN

SETS: dict[str, PublishedSet] = {known.name: known for known in (DIGITS, MNIST, FASHION_MNIST, CIFAR_10, SVHN)}
