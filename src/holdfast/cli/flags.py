"""Flags of commands, each said once, and makers of further ones by the panel of the help in which they stand."""

from copy import copy
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

of_pictures = partial(typer.Option, rich_help_panel="Pictures")
of_model = partial(typer.Option, rich_help_panel="Model")
of_attack = partial(typer.Option, rich_help_panel="Attack")
of_shift = partial(typer.Option, rich_help_panel="Shift")
of_run = partial(typer.Option, rich_help_panel="Run")
of_training = partial(typer.Option, rich_help_panel="Training")


def by_recipe(flag: Any, usual: str | None = None) -> Any:
    """The same flag where a recipe may say it instead. `usual`: what holds when neither does, for the help."""
    other = copy(flag)
    other.show_default = "the recipe's" if usual is None else f"the recipe's, else {usual}"
    return other


Model = Annotated[
    str,
    of_model(
        "--model",
        "-m",
        metavar="RUN|FILE.py:FACTORY|NAME",
        help="A folder that `train` wrote, your own FILE.py:FACTORY, or an architecture with --weights.",
    ),
]
RecipeModel = Annotated[
    str | None,
    by_recipe(
        of_model(
            "--model",
            "-m",
            metavar="NAME|FILE.py:FACTORY",
            help="An architecture, see `holdfast list models`, or your own.",
        )
    ),
]
Weights = Annotated[
    Path | None,
    of_model(
        "--weights",
        metavar="FILE",
        help="A .safetensors, .pt or .pth file of tensors, for FILE.py:FACTORY or an architecture.",
    ),
]
ModelSet = Annotated[
    list[str] | None,
    of_model(
        "--model-set",
        metavar="NAME=VALUE",
        help="An option of the architecture; may be repeated. See `holdfast list models`.",
    ),
]
Device = Annotated[
    str,
    of_model("--device", metavar="auto|cpu|cuda", help="Where to compute: auto takes a GPU if there is one."),
]
_DATA = of_pictures(
    "--data",
    "-d",
    metavar="NAME|FOLDER",
    help="A data set (see `holdfast list data`), or a folder with a sub-folder of pictures a class.",
)
Data = Annotated[str, _DATA]
RecipeData = Annotated[str | None, by_recipe(_DATA)]
DataDir = Annotated[
    Path | None,
    of_pictures(
        "--data-dir", metavar="DIR", help="Where data sets lie or are fetched to; else HOLDFAST_DATA, else a cache."
    ),
]
Split = Annotated[str, of_pictures("--split", metavar="train|validation|test", help="Which part.")]
Limit = Annotated[
    int | None,
    of_pictures("--limit", "-n", metavar="N", help="Only the first N pictures."),
]
Resize = Annotated[
    str | None,
    of_pictures("--resize", metavar="SIDE|HxW", help="Resize the pictures of a folder."),
]
_THREAT = of_attack(
    "--threat",
    "--norm",
    metavar="NAME",
    help="What may be done to a picture: linf, l2, l1, l0, pixels, patch, rotation, ...; `holdfast list threats`.",
)
Threat = Annotated[str, _THREAT]
RecipeThreat = Annotated[str | None, by_recipe(_THREAT, "linf")]
Adversarial = Annotated[
    str | None,
    of_attack(
        "--adversarial",
        metavar="ATTACK",
        help="Train on what this attack makes of each batch; pgd then takes 7 steps of 0.25 eps, but for --set.",
    ),
]
Method = Annotated[
    str | None,
    of_attack(
        "--method",
        metavar="NAME[:OPTION=VALUE,...]",
        help="What is made of adversarial pictures, such as trades:beta=6; see `holdfast list methods`.",
    ),
]
RecipeName = Annotated[
    str | None,
    of_training("--recipe", metavar="NAME", help="A recipe that comes with the library; see `holdfast list recipes`."),
]
Loss = Annotated[
    str | None,
    of_training(
        "--loss",
        metavar="NAME[:OPTION=VALUE,...]",
        help="Of a picture, such as cross-entropy:smoothing=0.1; see `holdfast list training`.",
    ),
]
Augment = Annotated[
    list[str] | None,
    of_training(
        "--augment",
        metavar="NAME[:OPTION=VALUE,...]",
        help="A random change of the pictures, such as crop:pad=4; may be repeated. See `holdfast list augmentations`.",
    ),
]
Mixup = Annotated[
    str | None,
    of_training(
        "--mixup", metavar="OPTION=VALUE,...", help="Superimpose pictures, such as alpha=1 or alpha=0.2,form=usual."
    ),
]
Awp = Annotated[
    str | None,
    of_attack(
        "--awp",
        metavar="OPTION=VALUE,...",
        help="Descend where the worst small move of the weights leads, such as gamma=0.005.",
    ),
]
TrainPenalty = Annotated[
    list[str] | None,
    of_training(
        "--penalty",
        metavar="NAME[:OPTION=VALUE,...]",
        help="What is added to the loss, such as tv:eps=0.01; may be repeated. See `holdfast list penalties`.",
    ),
]
ThreatSet = Annotated[
    list[str] | None,
    of_attack(
        "--threat-set",
        metavar="NAME=VALUE",
        help="An option of the threat; may be repeated. See `holdfast list threats`.",
    ),
]
_LOW = of_attack("--low", help="Smallest value of a pixel that an attack may use.")
Low = Annotated[float, _LOW]
RecipeLow = Annotated[float | None, by_recipe(_LOW, "0")]
_HIGH = of_attack("--high", help="Largest value of a pixel that an attack may use.")
High = Annotated[float, _HIGH]
RecipeHigh = Annotated[float | None, by_recipe(_HIGH, "1")]
Set = Annotated[
    list[str] | None,
    of_attack(
        "--set",
        "-s",
        metavar="NAME=VALUE",
        help="An option of the attack, such as steps=100; may be repeated. See `holdfast list attacks`.",
    ),
]
EoT = Annotated[
    int | None,
    of_attack("--eot", metavar="N", help="For a model that answers at random: average every question over N answers."),
]
Source = Annotated[
    str | None,
    of_attack(
        "--source",
        metavar="RUN|FILE.py:FACTORY",
        help="Transfer: make the pictures on this model, and show them to the model under attack.",
    ),
]
Transform = Annotated[
    list[str] | None,
    of_attack(
        "--transform",
        metavar="NAME=RANGE",
        help="Average over random views of the picture, such as rotation=15 or light=0.2; may be repeated. --eot N "
        "takes N - 1 of them and the picture itself. See `holdfast list views`.",
    ),
]
Penalty = Annotated[
    list[str] | None,
    of_attack(
        "--penalty",
        metavar="NAME=VALUE",
        help="A price on rough or unprintable patterns: tv=WEIGHT, nps=WEIGHT, palette=FILE; may be repeated.",
    ),
]
_EPS = of_attack("--eps", metavar="NUMBER", help="Radius, such as 8/255.")
Eps = Annotated[str, _EPS]
RecipeEps = Annotated[str | None, by_recipe(_EPS)]
Target = Annotated[
    str | None,
    of_attack("--target", metavar="CLASS", help="Name or number of the class to be reached, instead of any wrong one."),
]
Epochs = Annotated[int | None, of_training("--epochs", help="Times all pictures are seen.")]
TrainSet = Annotated[
    list[str] | None,
    of_training(
        "--train-set",
        metavar="NAME=VALUE",
        help="Any option of training; may be repeated. See `holdfast list training`.",
    ),
]
Batch = Annotated[int, of_run("--batch", min=1, metavar="N", help="Pictures a call of a model.")]
_SEED = of_run("--seed", help="Of all random numbers.")
Seed = Annotated[int, _SEED]
RecipeSeed = Annotated[int | None, by_recipe(_SEED, "0")]
Preset = Annotated[
    str,
    of_run(
        "--preset",
        metavar="small|full",
        help="small: within half an hour on two cores; full: the source's setting, for a GPU.",
    ),
]
Seeds = Annotated[
    str | None,
    of_run(
        "--seeds",
        metavar="N,N,...",
        help="All of it is made anew for each; by default as many as the source's table takes.",
    ),
]
Report = Annotated[bool, of_run("--report/--no-report", help="Write RUN/report.html.")]
Out = Annotated[
    Path | None,
    of_run("--out", "-o", metavar="DIR", help="A new folder; by default one in runs/."),
]
Resume = Annotated[bool, of_run("--resume", help="Go on with the run in the folder.")]
Threads = Annotated[
    int | None,
    of_run("--threads", min=1, metavar="N", help="Threads of the processor; by default PyTorch's choice."),
]
Json = Annotated[bool, of_run("--json", help="Print one JSON object.")]
Quiet = Annotated[bool, of_run("--quiet", "-q", help="No progress and no notes.")]

AtLeast = Annotated[
    str | None,
    of_run(
        "--at-least",
        metavar="RATE",
        help="Exit with 1 if the interval of robust accuracy begins below RATE, such as 0.45, or a check failed.",
    ),
]
JUnit = Annotated[
    Path | None,
    of_run(
        "--junit",
        metavar="FILE",
        help="Write JUnit XML too: a test case for the rate at each radius and for each check.",
    ),
]
