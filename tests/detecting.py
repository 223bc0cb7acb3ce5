"""What tests of detectors share: a small classifier trained on digits, attacked pictures, and what all must keep."""

from functools import cache

import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from holdfast import attacks, data, detect, threats
from holdfast.access import borrow
from holdfast.models.guarded import Guarded


def net(dtype=torch.float32, seed=0):
    """A layer that folds, two that do not, with batch norm and dropout between."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        body = [nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
        return nn.Sequential(*body, nn.Linear(128, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 10)).to(dtype)


@cache
def trained():
    """The classifier, trained on the first digits; handed out in training mode, so that a forgotten mode shows."""
    pictures, model = training(), net()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        optimiser = torch.optim.Adam(model.parameters(), 3e-3)
        for _ in range(12):
            for rows in torch.randperm(len(pictures)).split(64):
                optimiser.zero_grad()
                nn.functional.cross_entropy(model(pictures.x(rows)), pictures.labels[rows]).backward()
                optimiser.step()
    return model


@cache
def training():
    """Pictures to train on and to fit detectors on."""
    return data.load("digits", "train", limit=800)


@cache
def held_out():
    """Pictures for thresholds and tests."""
    return data.load("digits", "test", limit=200)


@cache
def attacked(eps=0.15):
    """Clean pictures that the classifier gets right, and what PGD makes of them where it succeeds."""
    pictures = held_out()
    found = attacks.run(
        attacks.build("pgd", {"steps": 10}),
        trained(),
        pictures.x(),
        pictures.labels,
        threats.Linf(eps=eps),
        aim="highest_loss",
    )
    right = found.prediction == pictures.labels
    return pictures.x()[right], found.x_adv[right & found.success]


def smooth_at(count):
    """Pictures in float64 with noise upon them: where pixels are alike, a maximum or a median has no one slope."""
    x = held_out().x(slice(count), torch.float64)
    return 0.8 * x + 0.2 * torch.rand(x.shape, generator=torch.Generator().manual_seed(2), dtype=x.dtype)


def doubled():
    """The classifier in float64."""
    model = net(torch.float64)
    model.load_state_dict({name: value.double() for name, value in trained().state_dict().items()})
    return model


def fitted(name, options=None, model=None, **rest):
    """A detector with its threshold, beside the trained classifier."""
    model = trained() if model is None else model
    return detect.fit(detect.detector(name, options), model, training(), held_out(), **rest)


def suspected(suspicion, model, x, batch=256):
    """The suspicion (N,) of pictures, in evaluation mode."""
    with torch.no_grad(), borrow(model), borrow(suspicion):
        return torch.cat([suspicion(model, part)[1] for part in x.split(batch)])


def predicted(model, x):
    """The class (N,) that a classifier says, in evaluation mode."""
    with torch.no_grad(), borrow(model):
        return model(x).argmax(1)


def separation(suspicion, model, clean, adversarial):
    """The area under the curve: 1 where every attacked picture is more suspicious than every clean one."""
    found = torch.cat([suspected(suspicion, model, x) for x in (clean, adversarial)])
    return roc_auc_score([0] * len(clean) + [1] * len(adversarial), found)


def slope(suspicion, model, x):
    """The gradient of the suspicion with respect to pictures."""
    with borrow(model), borrow(suspicion):
        x = x.clone().requires_grad_()
        logits, found = suspicion(model, x)
        assert logits.requires_grad
        (gradient,) = torch.autograd.grad(found.sum(), x)
    return gradient


def check_slope(suspicion, model, x, h=1e-6):
    """The gradient against central differences along it, in float64."""
    gradient = slope(suspicion, model, x)
    assert gradient.isfinite().all()
    assert (gradient.flatten(1).abs().amax(1) > 0).all()
    unit = gradient / gradient.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    rise = (suspected(suspicion, model, x + h * unit) - suspected(suspicion, model, x - h * unit)) / (2 * h)
    torch.testing.assert_close(rise, gradient.flatten(1).norm(dim=1), rtol=1e-4, atol=1e-6)


def check_restored(detector, suspicion, model, pictures):
    """Read back from its state, it says the same bit for bit."""
    again = detector.outline(model, pictures.shape)
    again.restore(suspicion.state_dict())
    assert again.gradient == suspicion.gradient
    assert suspicion.state_dict().keys() == again.state_dict().keys()
    assert torch.equal(suspected(again, model, pictures.x()), suspected(suspicion, model, pictures.x()))


def check_split(suspicion, model, x):
    """How pictures are put into batches does not matter, but for rounding of the classifier's own."""
    torch.testing.assert_close(suspected(suspicion, model, x, 7), suspected(suspicion, model, x), rtol=1e-4, atol=1e-4)


def evaded(guarded, x, y, eps=0.3):
    """Of the pictures accepted and right, how many an attack on classifier and detector at once gets wrong."""
    assert isinstance(guarded, Guarded)
    found = attacks.run(attacks.build("apgd", {"steps": 30}), guarded, x, y, threats.Linf(eps=eps))
    taken = found.prediction == y
    with torch.no_grad(), borrow(guarded):
        said = guarded(found.x_adv)
    broken = taken & found.success
    assert ((said.argmax(1) != y) & (said.argmax(1) != guarded.refused))[broken].all()
    return int(broken.sum()), int(taken.sum())
