"""Models on disk: folders with a card, weights that are only data, users' own files, and what `--model` means."""

import json
import os
import pickle
import re
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from holdfast.errors import ModelError, OptionError, RunError
from holdfast.models import (
    Card,
    Normalized,
    Opened,
    Wrapped,
    build,
    check_answer,
    count_parameters,
    fit,
    load,
    load_user,
    open_model,
    read_weights,
    save,
    weights_sha256,
)
from holdfast.models import cards as cards_module

DIGITS = tuple(str(digit) for digit in range(10))
X = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def small(seed=0, **options):
    return build("mlp", {"hidden": (4,), **options}, shape=(1, 8, 8), classes=10, seed=seed)


def card(**change):
    given = {"architecture": "mlp", "options": {"hidden": (4,)}, "shape": (1, 8, 8), "classes": DIGITS}
    return Card(**given | change)


def one_line(caught):
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 500
    return text


# ---- folders with a card


def test_save_and_load_give_the_same_model(tmp_path):
    model = Normalized(small(batch_norm=True), (0.3,), (0.2,)).train()
    model(X)  # moves the running statistics
    given = card(
        options={"hidden": "4", "batch_norm": True}, mean=(0.3,), std=(0.2,), training={"epochs": 3, "lr": (1, 0.5)}
    )
    written = save(tmp_path / "made" / "here", model, given)
    loaded, found = load(tmp_path / "made" / "here")
    assert found == written
    assert found.options == {"hidden": [4], "dropout": 0.0, "batch_norm": True, "init": "torch"}
    assert (found.classes, found.shape, found.mean, found.std) == (DIGITS, (1, 8, 8), (0.3,), (0.2,))
    assert found.training == {"epochs": 3, "lr": [1, 0.5]}
    assert not any(module.training for module in loaded.modules())
    assert model.training
    assert torch.equal(loaded(X), model.eval()(X))
    assert weights_sha256(loaded) == weights_sha256(model)


def test_saving_twice_gives_the_same_bytes_and_changes_nothing(tmp_path):
    model = small()
    before = weights_sha256(model), torch.get_rng_state()
    for name in ("a", "b"):
        save(tmp_path / name, model, card())
    for file in ("card.json", "model.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert sorted(os.listdir(tmp_path / "a")) == ["card.json", "model.safetensors"]
    assert weights_sha256(model) == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
    load(tmp_path / "a")
    assert torch.equal(torch.get_rng_state(), before[1])


def test_float64_comes_back_as_float64(tmp_path):
    model = small().double()
    save(tmp_path, model, card())
    assert torch.equal(load(tmp_path)[0](X.double()), model.eval()(X.double()))


def test_transposed_and_shared_weights_are_saved(tmp_path):
    model = small()
    with torch.no_grad():
        model.linear1.weight = nn.Parameter(model.linear1.weight.t().contiguous().t())
        model.linear.bias = nn.Parameter(torch.zeros(20)[::2])
    save(tmp_path, model, card())
    found, weights = load(tmp_path)[0], model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in found.state_dict().items())
    torch.testing.assert_close(found(X), model(X))  # another layout may be summed in another order


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"options": {"hidden": (5,)}},
            r"'mlp' does not fit.*other shape: linear1.weight \(4, 64\) instead of \(5, 64\)",
        ),
        ({"options": {"hidden": (4, 4)}}, "missing: linear2.weight, linear2.bias"),
        ({"mean": (0.1,), "std": (1.0,)}, "missing: mean, std, model.linear1.weight and 3 more; unexpected: linear1"),
        ({"classes": ("a", "b")}, r"other shape: linear.weight \(10, 4\) instead of \(2, 4\)"),
    ],
)
def test_a_card_for_another_model_is_refused_before_anything_is_written(tmp_path, change, message):
    with pytest.raises(ModelError, match=message) as caught:
        save(tmp_path / "new", small(), card(**change))
    one_line(caught)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "mpl"}, "unknown model 'mpl'.*Did you mean 'mlp'"),
        ({"options": {"hiden": (4,)}}, "unknown option of MLP 'hiden'"),
        ({"shape": (8, 8)}, "shape="),
        ({"classes": ("one",)}, "classes=1"),
        ({"classes": (0, 1)}, "the names of the classes"),
        ({"classes": 10}, "the names of the classes"),
        ({"mean": (0.1, 0.2), "std": (1.0, 1.0)}, "here 1"),
        ({"mean": (0.1,)}, "both or neither"),
    ],
)
def test_a_card_that_cannot_be_is_refused(change, message):
    with pytest.raises(OptionError, match=message) as caught:
        card(**change)
    one_line(caught)


def test_a_card_takes_lists():
    assert card(shape=[1, 8, 8], classes=list(DIGITS), mean=[0.5], std=[0.5]) == card(mean=(0.5,), std=(0.5,))


def test_training_must_be_plain(tmp_path):
    with pytest.raises(OptionError, match=r"training\.loss=nan cannot be written as JSON"):
        save(tmp_path / "new", small(), card(training={"loss": float("nan")}))
    assert not (tmp_path / "new").exists()


def test_an_unwritable_folder_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write") as caught:
        save(tmp_path / "file", small(), card())
    one_line(caught)


def test_a_kill_between_the_two_files_is_noticed(tmp_path, monkeypatch):
    save(tmp_path, small(seed=0), card())
    write, calls = cards_module.write_atomically, []

    def die_after_first(path, content):
        if calls:
            raise KeyboardInterrupt
        calls.append(path)
        write(path, content)

    monkeypatch.setattr(cards_module, "write_atomically", die_after_first)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, small(seed=1), card())
    with pytest.raises(ModelError, match=r"model\.safetensors is not the file that card\.json was written for"):
        load(tmp_path)


def _damage(folder, change):
    file = folder / "card.json"
    plain = json.loads(file.read_bytes())
    file.write_text(json.dumps(change(plain)))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "card.json").unlink(), "holds no card.json; allowed: a folder that training or"),
        (lambda f: (f / "card.json").write_text("{"), "is not a whole model card"),
        (lambda f: (f / "card.json").write_bytes(b"\xff\xfe"), "is not a whole model card"),
        (lambda f: (f / "card.json").write_text("[1]"), "is not a whole model card"),
        (lambda f: _damage(f, lambda p: p | {"format": 2}), "has format 2; allowed: 1"),
        (
            lambda f: _damage(f, lambda p: {k: v for k, v in p.items() if k != "shape"}),
            "not a whole model card .*shape",
        ),
        (lambda f: _damage(f, lambda p: p | {"architecture": "vit"}), "not a whole model card .*unknown model 'vit'"),
        (lambda f: _damage(f, lambda p: p | {"options": {"hidden": [5]}}), "does not fit the model: other shape"),
        (lambda f: _damage(f, lambda p: p | {"options": 3}), "not a whole model card"),
        (lambda f: (f / "model.safetensors").unlink(), "does not exist"),
        (lambda f: (f / "model.safetensors").write_bytes(b"abc"), "not a whole safetensors file"),
        (lambda f: os.truncate(f / "model.safetensors", 300), "not a whole safetensors file"),
    ],
)
def test_a_damaged_folder_is_one_line(tmp_path, damage, message):
    save(tmp_path, small(), card())
    damage(tmp_path)
    with pytest.raises(ModelError, match=message) as caught:
        load(tmp_path)
    one_line(caught)


def test_a_folder_that_is_none(tmp_path):
    save(tmp_path, small(), card())
    with pytest.raises(ModelError, match=re.escape(f"is a file; pass its folder, {str(tmp_path)!r}")):
        load(tmp_path / "card.json")
    with pytest.raises(ModelError, match="does not exist"):
        load(tmp_path / "nothing")


# ---- the hash of the weights


def test_hash_sees_every_weight_and_nothing_else():
    model = small(batch_norm=True)
    first = weights_sha256(model)
    assert weights_sha256(model.eval()) == first == weights_sha256(small(batch_norm=True, dropout=0.5))
    assert weights_sha256(model.to(memory_format=torch.channels_last)) == first
    model.linear.weight.requires_grad_(False)
    assert weights_sha256(model) == first
    for tensor in (model.linear1.weight, model.norm1.running_mean, model.norm1.num_batches_tracked):
        with torch.no_grad():
            tensor.view(-1)[0] += 1
        assert weights_sha256(model) != first
        with torch.no_grad():
            tensor.view(-1)[0] -= 1
    assert weights_sha256(small(batch_norm=True).double()) != first
    assert weights_sha256(nn.Sequential(model)) != first


def test_hash_is_the_same_in_another_layout_and_process_and_building_loads_nothing_heavy():
    model = build("cnn", {"width": 0.25}, shape=(1, 8, 8), classes=10, seed=4)
    first = weights_sha256(model)
    assert weights_sha256(model.to(memory_format=torch.channels_last)) == first
    code = """
import sys
from holdfast.models import build, weights_sha256
print(weights_sha256(build("cnn", {"width": 0.25}, shape=(1, 8, 8), classes=10, seed=4)))
print([name for name in ("safetensors", "scipy", "sklearn", "PIL") if name in sys.modules])
"""
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.split() == [first, "[]"]


def test_hash_tells_names_shapes_and_values_apart():
    def holding(**tensors):
        module = nn.Module()
        for name, value in tensors.items():
            module.register_buffer(name, value)
        return weights_sha256(module)

    ones = torch.ones(4)
    assert holding(a=ones) != holding(b=ones)
    assert holding(a=ones) != holding(a=ones.view(2, 2))
    assert holding(a=ones, b=ones * 0) != holding(a=ones * 0, b=ones)
    assert holding(a=torch.ones(2), b=torch.zeros(0)) != holding(a=torch.ones(2))
    assert holding(a=torch.zeros(2)) != holding(a=torch.zeros(2, dtype=torch.int32))  # equal bytes
    assert holding(b=ones, a=ones) == holding(a=ones, b=ones)
    assert holding(a=torch.tensor(True)) != holding(a=torch.tensor(False))


def test_parameters_are_counted_once():
    layer = nn.Linear(3, 2)
    assert count_parameters(nn.Sequential(layer, layer, nn.BatchNorm1d(2))) == 8 + 4


# ---- weights that are only data


class Runs:
    """A pickle that would make a folder when read."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return (os.mkdir, (str(self.folder),))


def test_reads_every_kind_of_state_dict(tmp_path):
    state = small().state_dict()
    parallel = {f"module.{name}": value for name, value in state.items()}
    compiled = {f"_orig_mod.{name}": value for name, value in parallel.items()}
    kinds = {
        "plain.pt": state,
        "plain.pth": state,
        "in_state_dict.pt": {"state_dict": state, "epoch": 3},
        "in_model.pt": {"model": state, "optimizer": {"lr": 0.1}},
        "in_model_state_dict.pt": {"model_state_dict": parallel, "loss": 0.5},
        "parallel.pt": parallel,
        "compiled.pt": compiled,
    }
    for name, content in kinds.items():
        torch.save(content, tmp_path / name)
    torch.save(state, tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "flat.safetensors")
    for file in sorted(tmp_path.iterdir()):
        model = small(seed=1)
        fit(model, read_weights(file), file.name)
        assert weights_sha256(model) == weights_sha256(small()), file.name


def test_only_a_prefix_of_all_names_is_dropped(tmp_path):
    torch.save({"module.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "mixed.pt")
    assert set(read_weights(tmp_path / "mixed.pt")) == {"module.a", "b"}


REFUSED = {
    "reduce.pt": (lambda f: torch.save(Runs(f.parent / "ran"), f), r"asks for \S+\.mkdir, which is code"),
    "whole_model.pt": (lambda f: torch.save(small(), f), r"asks for \S+Sequential, which is code"),
    "pickle.pt": (
        lambda f: f.write_bytes(pickle.dumps(Runs(f.parent / "ran"))),
        "not a file of tensors that torch.save wrote, or cut short",
    ),
    "text.pt": (
        lambda f: f.write_text("no weights here\n"),
        "not a file of tensors that torch.save wrote, or cut short",
    ),
    "empty.pt": (lambda f: f.write_bytes(b""), "not a file of tensors that torch.save wrote, or cut short"),
    "cut.pt": (lambda f: (torch.save(small().state_dict(), f), os.truncate(f, 900)), "or cut short"),
    "list.pt": (lambda f: torch.save([1, 2], f), "holds a list; allowed: a state_dict"),
    "tensor.pt": (lambda f: torch.save(torch.ones(2), f), "holds a Tensor; allowed: a state_dict"),
    "epoch.pt": (lambda f: torch.save({"epoch": 3, "net": {}}, f), "epoch, net hold no tensor; allowed"),
    "bad.safetensors": (lambda f: f.write_bytes(b"x" * 64), "not a whole safetensors file"),
    "empty.safetensors": (lambda f: f.write_bytes(b""), "not a whole safetensors file"),
    "cut.safetensors": (
        lambda f: (save_file(small().state_dict(), f), os.truncate(f, f.stat().st_size - 4)),
        "not a whole safetensors file",
    ),
    "weights.bin": (lambda f: f.write_bytes(b"x"), r"unknown kind '\.bin'; allowed: \.safetensors, \.pt or \.pth"),
    "folder.pt": (lambda f: f.mkdir(), "is a folder; allowed"),
    "missing.pt": (lambda f: None, "does not exist; allowed"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_files_are_refused_in_one_line_and_no_code_runs(tmp_path, name):
    make, message = REFUSED[name]
    make(tmp_path / name)
    with pytest.raises(ModelError, match=message) as caught:
        read_weights(tmp_path / name)
    one_line(caught)
    assert not (tmp_path / "ran").exists()


def test_a_refused_pickle_says_how_to_mend_it(tmp_path):
    torch.save(small(), tmp_path / "model.pt")
    with pytest.raises(ModelError, match=r"torch\.save\(model\.state_dict\(\), FILE\), or save it as safetensors"):
        read_weights(tmp_path / "model.pt")


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_torchscript_program_is_refused(tmp_path):
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.rand(1, 2)), tmp_path / "program.pt")
    with pytest.raises(ModelError, match="a TorchScript program, not weights; allowed: a state_dict"):
        read_weights(tmp_path / "program.pt")


def test_weights_that_do_not_fit_are_named():
    state = {f"extra{place}": torch.ones(1) for place in range(5)} | {"linear.bias": torch.ones(3)}
    with pytest.raises(ModelError) as caught:
        fit(small(), state, "weights 'w.pt'")
    text = one_line(caught)
    assert text.startswith(
        "weights 'w.pt' does not fit the model: missing: linear1.weight, linear1.bias, linear.weight;"
    )
    assert "unexpected: extra0, extra1, extra2 and 2 more;" in text
    assert "other shape: linear.bias (3,) instead of (10,)" in text


def test_half_precision_weights_are_read_into_the_models_dtype():
    model = small(seed=1)
    fit(model, {name: value.half() for name, value in small().state_dict().items()}, "w")
    assert model.linear.weight.dtype == torch.float32
    torch.testing.assert_close(model.linear.weight, small().linear.weight, rtol=1e-3, atol=1e-4)


# ---- a user's own file

FILE = """
from dataclasses import dataclass
import torch
from torch import nn
from layers import Scale

@dataclass
class Options:
    size: int = 64

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = Scale(2.0)
        self.linear = nn.Linear(Options().size, 10)
    def forward(self, x):
        return self.linear(self.scale(x.flatten(1)))
    def logits(self, x):
        return self(x)

ready = Net()

def make_net():
    return Net()

def make_function():
    weight = torch.ones(64, 10)
    return lambda x: x.flatten(1) @ weight

def make_bound():
    return Net().logits

def late():
    from layers import Scale
    return nn.Sequential(Scale(1.0), Net())

def fails():
    raise ValueError("no\\nGPU")

def exits():
    raise SystemExit(3)

def needs(size):
    return Net()

def gives_class():
    return Net

def gives_number():
    return 3

number = 3
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "layers.py").write_text(
        "from torch import nn\nclass Scale(nn.Module):\n    def __init__(self, by):\n        super().__init__()\n"
        "        self.by = by\n    def forward(self, x):\n        return self.by * x\n"
    )
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


@pytest.mark.parametrize("factory", ["make_net", "Net", "ready", "late", "make_function", "make_bound"])
def test_a_users_model_answers_and_leaves_no_trace(file, factory):
    paths, modules = list(sys.path), set(sys.modules)
    model = load_user(f"{file}:{factory}")
    assert model(X).shape == (3, 10)
    assert isinstance(model, nn.Module)
    assert sys.path == paths
    new = set(sys.modules) - modules
    assert all(name.startswith("_holdfast_user_") for name in new)
    check_answer(model, (1, 8, 8), 10, "mine")


def test_two_models_each_find_their_own_siblings(tmp_path):
    for name, factor in (("a", 1.0), ("b", 3.0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "parts_of_mine.py").write_text(f"FACTOR = {factor}\n")
        (tmp_path / name / "net.py").write_text(
            "from parts_of_mine import FACTOR\ndef make():\n    return lambda x: FACTOR * x.flatten(1)\n"
        )
    first, second = (load_user(f"{tmp_path / name / 'net.py'}:make") for name in "ab")
    torch.testing.assert_close(second(X), 3 * first(X))


def test_packages_in_a_sub_folder_are_kept(tmp_path, monkeypatch):
    """An environment inside the project's folder must not be unloaded: compiled modules load only once."""
    library = tmp_path / "env" / "site-packages"
    library.mkdir(parents=True)
    (library / "kept_library.py").write_text("VALUE = 1\n")
    monkeypatch.syspath_prepend(str(library))
    (tmp_path / "net.py").write_text("import kept_library\ndef make():\n    return lambda x: x.flatten(1)\n")
    load_user(f"{tmp_path / 'net.py'}:make")
    assert "kept_library" in sys.modules
    monkeypatch.delitem(sys.modules, "kept_library")


def test_a_folder_already_on_the_path_is_left_as_it_is(file, monkeypatch):
    monkeypatch.syspath_prepend(str(file.parent))
    paths = list(sys.path)
    load_user(f"{file}:make_net")
    assert sys.path == paths
    assert "layers" in sys.modules
    monkeypatch.delitem(sys.modules, "layers")


def test_a_users_model_takes_weights(file, tmp_path):
    state = {"linear.weight": torch.zeros(10, 64), "linear.bias": torch.arange(10.0)}
    torch.save(state, tmp_path / "w.pt")
    save_file(state, tmp_path / "w.safetensors")
    for name in ("w.pt", "w.safetensors"):
        assert torch.equal(load_user(f"{file}:make_net", tmp_path / name)(X), torch.arange(10.0).expand(3, 10))
    with pytest.raises(ModelError, match=r"w\.pt' does not fit the model: unexpected: linear\.weight, linear\.bias"):
        load_user(f"{file}:make_function", tmp_path / "w.pt")


USER_ERRORS = [
    ("{file}:make_nt", "has no function 'make_nt'; it has make_net"),
    ("{file}:number", "has no function 'number'; it has "),
    ("{file}:fails", r"fails\(\) in .* failed: ValueError: no GPU \(line \d+\)\. It is called without arguments"),
    ("{file}:exits", r"exits\(\) in .* failed: SystemExit: 3"),
    ("{file}:needs", r"failed: TypeError: .*missing 1 required.* It is called without arguments"),
    ("{file}:gives_class", "returned the class Net; allowed: a torch module"),
    ("{file}:gives_number", "returned int; allowed: a torch module, or a callable"),
    ("{file}", r"no factory named; allowed: FILE\.py:FACTORY.* such as '.*mine\.py:make_model'"),
    ("{file}:", "no factory named"),
    ("{file}:a.b", "no factory named"),
    (r"C:\models\mine.py", "no factory named"),
    ("nowhere/mine.py:make", "the file 'nowhere/mine.py' does not exist, seen from"),
]


@pytest.mark.parametrize(("text", "message"), USER_ERRORS)
def test_a_users_slips_are_one_line(file, text, message):
    paths = list(sys.path)
    with pytest.raises(ModelError, match=message) as caught:
        load_user(text.format(file=file))
    one_line(caught)
    assert sys.path == paths


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("x = 1\ny = x / 0\n", r"failed while it was imported: ZeroDivisionError: division by zero \(line 2\)"),
        ("def make(:\n", "failed while it was imported: SyntaxError"),
        ("import nothing_of_this_name\n", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("import sys\nsys.exit('usage: train.py')\n", "SystemExit: usage: train.py .*__main__"),
    ],
)
def test_a_file_that_does_not_import_is_one_line(tmp_path, code, message):
    (tmp_path / "mine.py").write_text(code)
    paths, modules = list(sys.path), set(sys.modules)
    with pytest.raises(ModelError, match=message) as caught:
        load_user(f"{tmp_path / 'mine.py'}:make")
    one_line(caught)
    assert sys.path == paths
    assert not [name for name in set(sys.modules) - modules if name.startswith("_holdfast_user_")]


def test_a_bound_method_brings_its_module():
    net = nn.Linear(64, 10)
    wrapped = Wrapped(net.forward)
    assert list(wrapped.parameters()) == list(net.parameters())
    wrapped.eval()
    assert not net.training
    assert not list(Wrapped(lambda x: x).parameters())


def test_a_wrapped_callable_runs_hooks_and_must_return_a_tensor():
    seen = []
    model = Wrapped(lambda x: x.flatten(1))
    model.register_forward_hook(lambda *_: seen.append(1))
    model(X)
    assert seen == [1]
    with pytest.raises(ModelError, match=r"the model .*lambda.* returned list; allowed: a torch tensor"):
        Wrapped(lambda x: x.tolist())(X)


# ---- what `--model` means


def test_opens_a_folder(tmp_path):
    save(tmp_path / "run", small(), card())
    opened = open_model(str(tmp_path / "run"), shape=(1, 8, 8), classes=10)
    assert isinstance(opened, Opened)
    assert opened.card.classes == DIGITS
    assert opened.source == str(tmp_path / "run")
    assert weights_sha256(opened.model) == weights_sha256(small())


def test_opens_a_users_file(file):
    opened = open_model(f"{file}:make_net", shape=(1, 8, 8), classes=10)
    assert opened.card is None
    assert opened.model.training


def test_opens_a_name_with_weights(tmp_path):
    plain, normalized = small(), Normalized(small(), (0.5,), (0.25,))
    save_file(plain.state_dict(), tmp_path / "plain.safetensors")
    torch.save(normalized.state_dict(), tmp_path / "normalized.pt")
    given = {"shape": (1, 8, 8), "classes": 10, "options": {"hidden": "4"}}
    opened = open_model("mlp", tmp_path / "plain.safetensors", **given)
    assert torch.equal(opened.model(X), plain(X))
    assert not opened.model.training
    opened = open_model("mlp", tmp_path / "normalized.pt", **given)
    assert torch.equal(opened.model(X), normalized(X))


def test_a_folder_named_like_an_architecture_is_found(tmp_path, monkeypatch):
    save(tmp_path / "mlp", small(), card())
    monkeypatch.chdir(tmp_path)
    assert open_model("mlp").card is not None


OPEN_ERRORS = [
    (("mlp",), {}, OptionError, "is an architecture without weights. Train one first, `holdfast train --model mlp"),
    (("mlp",), {"options": {"hiden": 3}}, OptionError, "unknown option of MLP 'hiden'"),
    (("mpl",), {}, OptionError, "unknown model 'mpl'; known: .*Did you mean 'mlp'"),
    (("runs/none",), {}, ModelError, r"no such folder, seen from .*FILE\.py:FACTORY, or one of linear, mlp"),
    (("mine.txt:make",), {}, ModelError, "no such folder"),
    (
        ("{run}",),
        {"shape": (3, 32, 32)},
        ModelError,
        r"takes pictures of shape \(1, 8, 8\), the data have \(3, 32, 32\)",
    ),
    (("{run}",), {"classes": 7}, ModelError, "knows 10 classes, the data have 7"),
    (("{run}", "w.pt"), {}, OptionError, r"weights given; allowed only with a registered name or FILE\.py:FACTORY"),
    (("{run}",), {"options": {"width": 2}}, OptionError, "options given; allowed only with a registered name"),
    (("{run}/model.safetensors",), {}, ModelError, "is a file; pass its folder"),
    (("{empty}",), {}, ModelError, "holds no card.json"),
    (("mlp", "{run}/model.safetensors"), {}, OptionError, "both are needed to build it"),
    (("mlp", "{run}/model.safetensors"), {"shape": (1, 8, 8), "classes": 10}, ModelError, "does not fit the model"),
]


@pytest.mark.parametrize(("given", "more", "kind", "message"), OPEN_ERRORS)
def test_what_cannot_be_opened_is_one_line(tmp_path, given, more, kind, message):
    save(tmp_path / "run", small(), card())
    (tmp_path / "empty").mkdir()
    names = {"run": tmp_path / "run", "empty": tmp_path / "empty"}
    with pytest.raises(kind, match=message) as caught:
        open_model(*(text.format(**names) for text in given), **more)
    one_line(caught)


ANSWERS = [
    (lambda x: x.flatten(1)[:, :7], r"answered two pictures with \(2, 7\) float32; allowed: .* shape \(2, 10\)"),
    (lambda x: x, r"answered two pictures with \(2, 1, 8, 8\)"),
    (lambda x: x.flatten(1)[:1, :10], r"answered two pictures with \(1, 10\)"),
    (lambda x: x.flatten(1)[:, :10].long(), r"with \(2, 10\) int64; allowed: floating"),
    (lambda x: x.flatten(1)[:, :10] * float("nan"), "answered a grey picture with NaN"),
    (lambda x: x.flatten(1).numpy(), "returned ndarray; allowed"),
    (lambda x: x @ torch.ones(3, 3), "failed on pictures of shape .1, 8, 8.: RuntimeError"),
]


@pytest.mark.parametrize(("function", "message"), ANSWERS)
def test_wrong_answers_are_one_line(function, message):
    with pytest.raises(ModelError, match=message) as caught:
        check_answer(Wrapped(function), (1, 8, 8), 10, "mine")
    one_line(caught)


def test_a_module_that_returns_a_tuple():
    class Two(nn.Module):
        def forward(self, x):
            return x, x

    with pytest.raises(ModelError, match="model 'mine' returned tuple; allowed: a tensor"):
        check_answer(Two(), (1, 8, 8), 10, "mine")


def test_the_check_gives_modes_and_statistics_back():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.BatchNorm1d(10), nn.BatchNorm1d(10)).train()
    model[2].eval()  # frozen on purpose; the other would move its statistics
    before = weights_sha256(model)
    check_answer(model, (1, 8, 8), 10, "mine")
    assert [module.training for module in model] == [True, True, False, True]
    model.append(nn.Linear(3, 3))
    with pytest.raises(ModelError):
        check_answer(model, (1, 8, 8), 10, "mine")
    assert [module.training for module in model] == [True, True, False, True, True]
    assert weights_sha256(model[:4]) == before
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_check_asks_in_the_models_dtype():
    check_answer(small().double(), (1, 8, 8), 10, "mine")
