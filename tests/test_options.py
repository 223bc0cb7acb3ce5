"""Options from text and back: every field type, every refusal, and the way through JSON."""

import json
from dataclasses import MISSING, dataclass, field
from typing import ClassVar, Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import OptionError
from holdfast.options import describe, option, parse, to_plain


@dataclass(frozen=True, kw_only=True)
class Toy:
    steps: int = option(40, "gradient evaluations")
    eps: float = 0.1
    random_start: bool = True
    loss: Literal["cross_entropy", "margin"] = "margin"
    label: str = "plain"
    hidden: tuple[int, ...] = (100,)
    box: tuple[float, float] = (0.0, 1.0)
    target: int | None = None
    order: Literal[1, 2, True] = 1
    radius: float | torch.Tensor = 0.5
    sizes: tuple[int, ...] = field(default_factory=lambda: (1, 2))
    kind: ClassVar[str] = "toy"

    def __post_init__(self):
        if self.steps < 1:
            raise OptionError(f"Toy: steps={self.steps}; allowed: >= 1.")


@dataclass(frozen=True)
class Needs:
    width: int
    depth: int = 2


READS = [
    ("steps", "7", 7),
    ("steps", " 7 ", 7),
    ("eps", "8/255", 8 / 255),
    ("eps", "1e-3", 0.001),
    ("eps", "3", 3.0),
    ("eps", 3, 3.0),
    ("random_start", "false", False),
    ("random_start", "No", False),
    ("random_start", "1", True),
    ("loss", "cross_entropy", "cross_entropy"),
    ("label", "8/255", "8/255"),
    ("hidden", "64,32", (64, 32)),
    ("hidden", "(64, 32,)", (64, 32)),
    ("hidden", "64", (64,)),
    ("hidden", "", ()),
    ("hidden", [64, 32], (64, 32)),
    ("box", "0,1/2", (0.0, 0.5)),
    ("target", "none", None),
    ("target", "3", 3),
    ("target", None, None),
    ("order", "2", 2),
    ("order", 1, 1),
    ("order", True, True),
    ("radius", "1/4", 0.25),
]


@pytest.mark.parametrize(("name", "text", "value"), READS)
def test_reads_by_type(name, text, value):
    found = getattr(parse(Toy, {name: text}), name)
    assert found == value
    assert type(found) is type(value)


REFUSALS = [
    ("steps", "7.0", "Toy: steps='7.0'; allowed: a whole number."),
    ("steps", True, "Toy: steps=True; allowed: a whole number."),
    ("eps", "8/0", "Toy: eps='8/0'; allowed: a number, such as 0.1 or 8/255."),
    ("eps", "inf", "Toy: eps='inf'; allowed: a number"),
    ("eps", "nan", "Toy: eps='nan'; allowed: a number"),
    ("eps", "1/2/3", "Toy: eps='1/2/3'; allowed: a number"),
    ("eps", False, "Toy: eps=False; allowed: a number"),
    ("random_start", "maybe", "Toy: random_start='maybe'; allowed: true or false."),
    ("random_start", 1, "Toy: random_start=1; allowed: true or false."),
    ("loss", "hinge", "Toy: loss='hinge'; allowed: one of cross_entropy, margin."),
    ("label", 3, "Toy: label=3; allowed: text."),
    ("hidden", "64,x", "Toy: hidden='64,x'; allowed: a whole number, or several with commas between."),
    ("hidden", 64, "Toy: hidden=64; allowed: a whole number, or several"),
    ("box", "0,1,2", "Toy: box='0,1,2'; allowed: 2 values with commas between"),
    ("target", "x", "Toy: target='x'; allowed: a whole number or none."),
    ("order", "3", "Toy: order='3'; allowed: one of 1, 2, True."),
    ("steps", "0", "Toy: steps=0; allowed: >= 1."),
]


@pytest.mark.parametrize(("name", "text", "message"), REFUSALS)
def test_refuses_in_one_line(name, text, message):
    with pytest.raises(OptionError) as caught:
        parse(Toy, {name: text})
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_long_value_is_cut():
    with pytest.raises(OptionError) as caught:
        parse(Toy, {"steps": "9" * 200 + "x"})
    assert len(str(caught.value)) < 200


def test_unknown_name_gives_the_nearest():
    with pytest.raises(OptionError, match=r"unknown option of Toy 'step'; known: box, .*Did you mean 'steps'"):
        parse(Toy, {"step": "3"})
    with pytest.raises(OptionError, match="unknown option of Toy 'kind'"):
        parse(Toy, {"kind": "other"})


def test_a_missing_value_is_named():
    with pytest.raises(OptionError, match="Needs: width is not given and has no default; allowed: a whole number"):
        parse(Needs, {"depth": "3"})
    assert parse(Needs, {"width": "3"}) == Needs(3, 2)


def test_base_keeps_what_is_not_given():
    base = Toy(steps=5, loss="cross_entropy")
    assert parse(Toy, {"steps": "6"}, base=base) == Toy(steps=6, loss="cross_entropy")
    assert base.steps == 5
    with pytest.raises(OptionError, match="allowed: >= 1"):
        parse(Toy, {"steps": "0"}, base=base)


def test_describe_shows_every_option():
    shown = {entry.name: entry for entry in describe(Toy)}
    assert list(shown) == [name for name in Toy.__annotations__ if name != "kind"]
    assert shown["steps"] == ("steps", "a whole number", 40, "gradient evaluations")
    assert shown["target"].type == "a whole number or none"
    assert shown["sizes"].default == (1, 2)
    assert shown["eps"].help == ""
    assert describe(Needs)[0].default is MISSING
    assert next(entry for entry in describe(Toy(steps=3)) if entry.name == "steps").default == 3
    with pytest.raises(TypeError, match="not a dataclass"):
        describe(int)


@settings(deadline=None, max_examples=30)
@given(
    st.builds(
        Toy,
        steps=st.integers(1),
        eps=st.floats(allow_nan=False, allow_infinity=False),
        random_start=st.booleans(),
        label=st.text(max_size=9),
        hidden=st.lists(st.integers(), max_size=4).map(tuple),
        target=st.none() | st.integers(),
    )
)
def test_plain_and_back(record):
    plain = json.loads(json.dumps(to_plain(record), allow_nan=False))
    assert parse(Toy, plain) == record


def test_text_and_back():
    record = Toy(steps=3, eps=8 / 255, hidden=(5, 6))
    text = {name: ",".join(map(str, v)) if isinstance(v, list) else str(v) for name, v in to_plain(record).items()}
    assert parse(Toy, text) == record


def test_plain_forms_of_other_values(tmp_path):
    @dataclass
    class Odd:
        value: object

    assert to_plain(Odd(torch.tensor([1.5, 2.5]))) == {"value": [1.5, 2.5]}
    assert to_plain(Odd(torch.tensor(3))) == {"value": 3}
    assert to_plain(Odd(tmp_path)) == {"value": str(tmp_path)}
    assert to_plain(Odd({"a": (1, None)})) == {"value": {"a": [1, None]}}
    assert to_plain(Odd(Needs(1))) == {"value": {"width": 1, "depth": 2}}
    for value in (float("nan"), float("inf"), object(), torch.tensor(float("nan"))):
        with pytest.raises(OptionError, match="cannot be written as JSON"):
            to_plain(Odd(value))
