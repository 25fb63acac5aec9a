"""`epochal tune`: a new sweep, one that goes on, its chief alone, or a worker."""

import os
import re
from argparse import ArgumentTypeError, Namespace
from dataclasses import replace
from pathlib import Path

from epochal.app.commands.arguments import (
    TRAIN_FLAGS,
    add_settings,
    flag_of,
    given_settings,
    resolve_config,
)
from epochal.app.commands.console import Parser, load_tensorflow, say, whole_number
from epochal.app.config import Config
from epochal.app.config.files import search_path
from epochal.app.config.splits import Splits
from epochal.app.errors import StorageError, UsageError
from epochal.app.process.signals import end_with
from epochal.app.store import runs
from epochal.app.store.plan import ALGORITHMS, SELECTS, Plan
from epochal.app.store.sweep import Sweep
from epochal.app.tuning.brackets import count_trials, plan_pass
from epochal.app.tuning.space import count_points, read_search

DESCRIPTION = """\
Searches what a configuration leaves open: every trial is an ordinary run, scored on images held
out of training.

  epochal tune                                             the embedded digits, in three minutes
  epochal tune --dataset mnist --model lenet5 --search search.yaml --trials 20 --algorithm bayesian
  epochal tune --recipe mnist-lenet5 --splits kfold:5 --jobs 2
  epochal tune --resume                                    go on with the newest sweep

--search FILE holds ranges by configuration key, or is the name of a shipped search: learning-rates,
sgd-against-adam (both for --algorithm grid), ...; without it, the one shipped with the recipe.

  learning_rate: {log: [1e-4, 1]}
  optim.weight_decay: {linear: [0, 0.01]}
  batch_size: {choice: [32, 64]}
  epochs: {int: [2, 10]}
  optimizer: {choice: [sgd, adam]}
  optim.options.momentum: {linear: [0.5, 0.99], when: {optimizer: sgd}}

--algorithm is random, bayesian, hyperband (whole passes of many short trials, the best of which go
on) or grid. --splits are stratified; a trial that is clearly worse than the best after some of them
is dropped. --select one-se takes the smallest network within a standard error of the best.
--jobs gives each trial its share of the cores, or its own GPU. Workers of a --chief may be on other
machines, which see the same folder; KERASTUNER_ORACLE_IP and _PORT in the environment do the same
("chief" in KERASTUNER_TUNER_ID makes the chief).

The folder sweeps/NAME holds trials/, winner/ (trained again on all training images, then tested,
once), best.yaml, leaderboard.csv, report.html, result.json and tensorboard/.

Every option of `epochal train` that makes a configuration, and:
"""
_FOREIGN = {flag: cure for flag, cure in TRAIN_FLAGS.items() if flag != "--resume"}
_ADDRESS_VARIABLES = ("KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")
_LAST_PORT = 65535
_DEFAULT_RECIPE = "digits"  # which is searched when nothing is given
_GENERAL_SEARCH = "any"


def make_parser() -> Parser:
    """Return the parser of `epochal tune`: its own options and a flag for each setting."""
    parser = Parser("epochal tune", DESCRIPTION, foreign=_FOREIGN)
    parser.usage = "epochal tune [options]"
    option = parser.add_argument
    option(
        "--search",
        metavar="FILE",
        help="ranges, or the name of a shipped search",
    )
    option(
        "--trials",
        type=_number,
        metavar="N",
        help="at most so many configurations (20)",
    )
    option(
        "--algorithm",
        choices=ALGORITHMS,
        help="what proposes configurations (random)",
    )
    option("--splits", help="what validates: holdout, kfold:5, repeated:3x5, bootstrap:5 (holdout)")
    option("--select", choices=SELECTS, help="the winner (best)")
    option(
        "--jobs",
        type=_number,
        metavar="N",
        help="so many trials at once (1)",
    )
    option(
        "--resume",
        nargs="?",
        const="",
        metavar="SWEEP",
        help="continue a sweep that was stopped: the newest, or this folder",
    )
    option(
        "--chief",
        type=_address,
        metavar="HOST:PORT",
        help="wait there for workers",
    )
    option(
        "--worker",
        type=_address,
        metavar="HOST:PORT",
        help="work for that chief",
    )
    option(
        "--sweep",
        metavar="FOLDER",
        help="of a worker's chief (the newest)",
    )
    add_settings(parser, in_help=False)
    return parser


def run(words: list[str], verbosity: int) -> int:
    """Parse, call, print; return the exit code."""
    arguments = make_parser().parse_args(words)
    # What goes wrong is told in a line of ours.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    _read_address(arguments)
    _check_roles(arguments)
    if arguments.worker:
        return _work(arguments, verbosity)
    if arguments.resume is not None:
        return _resume(arguments, verbosity)
    plan, config = make_plan(arguments)
    say(
        f"epochal tune: {plan.trials} trials, {plan.algorithm}, {plan.splits}; "
        "loading TensorFlow ..."
    )
    # Imported late: help needs no NumPy.
    from epochal.app.data.availability import check_data

    config = check_data(config)
    runs.check_writable()
    load_tensorflow(verbosity)
    from epochal.app.tuning.service import check_free
    from epochal.app.tuning.sweep import check_sweep

    digests = check_sweep(plan, config, str(_search_file(arguments)))
    if arguments.chief:
        check_free(arguments.chief)
    sweep = Sweep.begin(
        plan,
        config,
        config.name or runs.default_name(config),
        digests=digests,
    )
    return _search(sweep, arguments)


def _read_address(arguments: Namespace) -> None:
    """Take the role from KerasTuner's own variables, as a scheduler sets them."""
    host, port = (os.environ.get(name) for name in _ADDRESS_VARIABLES)
    if host and port and not arguments.chief and not arguments.worker:
        chief = "chief" in os.environ.get("KERASTUNER_TUNER_ID", "")
        try:
            address = _address(f"{host}:{port}")
        except ArgumentTypeError as error:
            names = " and ".join(_ADDRESS_VARIABLES)
            raise UsageError(f"{names}: {error}; correct or unset them") from error
        setattr(arguments, "chief" if chief else "worker", address)


def _check_roles(arguments: Namespace) -> None:
    if arguments.sweep and not arguments.worker:
        raise UsageError(
            "--sweep says which sweep a --worker works for; drop it, or give --resume SWEEP to go "
            "on"
        )
    if arguments.jobs and (arguments.chief or arguments.worker):
        raise UsageError(
            "--jobs starts workers here, a chief waits for others; drop --jobs, or --chief and "
            "--worker"
        )


def make_plan(arguments: Namespace) -> tuple[Plan, Config]:
    """Return the plan and the configuration of a new sweep, both checked.

    Raises:
        UsageError: in one line.
    """
    if not _flags_of_a_configuration(arguments):
        arguments.recipe = _DEFAULT_RECIPE
    config = resolve_config(arguments)
    if config.budget is not None:
        raise UsageError(
            "--budget ends a training by the clock, so that no trial could be repeated; give "
            "--epochs"
        )
    path = _search_file(arguments)
    plan = Plan(
        space=read_search(path, config),
        algorithm=arguments.algorithm or "random",
        trials=arguments.trials or 20,
        splits=str(Splits.of(arguments.splits or "holdout")),
        select=arguments.select or "best",
        seed=config.seed,
        monitor=config.stopping.monitor,
    )
    plan.check(str(path))
    if plan.algorithm == "hyperband":
        return _plan_passes(plan, config.epochs, str(path)), config
    return _limit_trials(plan, str(path)), config


def _flags_of_a_configuration(arguments: Namespace) -> list[str]:
    """The flags that say what is to be trained."""
    flags = [flag_of(key) for key in given_settings(arguments)]
    flags += [f"--{name}" for name in ("recipe", "config") if getattr(arguments, name)]
    return flags


def _limit_trials(plan: Plan, where: str) -> Plan:
    """Return a plan of no more trials than there are points, and say so where it matters."""
    most = count_points(plan.space)
    if most == plan.trials:
        return plan
    if most < plan.trials:
        say(f"{where} has {most} points: there will be {most} trials, not {plan.trials}")
        return replace(plan, trials=int(most))
    if plan.algorithm == "grid":
        say(
            f"{where} has {most} points, of which the first {plan.trials} are tried; for all, give "
            f"--trials {most}"
        )
    return plan


def _plan_passes(plan: Plan, epochs: int, where: str) -> Plan:
    """Return a plan of the trials that Hyperband makes, and say so where they are others."""
    trials = count_trials(plan, epochs)
    if trials != plan.trials:
        say(
            f"hyperband over {epochs} epochs makes {trials} trials, most of them short, "
            f"not {plan.trials}"
        )
    points = count_points(plan.space)
    begun = sum(bracket.size for bracket in plan_pass(epochs))
    if points < begun:
        say(
            f"{where} has {points} points, and hyperband would begin {begun}: each begins once, "
            "the best third of a rung goes on, and for all epochs few; --algorithm grid gives all "
            "epochs to every point"
        )
    return replace(plan, trials=trials)


def _search_file(arguments: Namespace) -> Path:
    """The search by path or shipped name; else the one shipped with the recipe, or for any."""
    name = arguments.search
    if name is None:
        path = search_path(_GENERAL_SEARCH)
        special = path.with_stem(arguments.recipe or _GENERAL_SEARCH)
        if special.exists():
            return special
        return path
    if name.endswith(".yaml") or "/" in name:
        return Path(name)
    return search_path(name)


def _resume(arguments: Namespace, verbosity: int) -> int:
    unused = [
        f"--{name}"
        for name in ("trials", "algorithm", "splits", "select")
        if getattr(arguments, name)
    ]
    unused += _flags_of_a_configuration(arguments)
    if unused:
        raise UsageError(f"--resume goes on with a sweep as it was begun; drop {', '.join(unused)}")
    sweep = Sweep.find(arguments.resume or None)
    if arguments.search:
        space = read_search(_search_file(arguments), sweep.base)
        sweep.plan.check_same(space, str(sweep.folder))
    if sweep.is_finished:
        say(f"{sweep.folder} has already finished; nothing to do")
        return _print_summary(sweep)
    say(f"epochal tune --resume {sweep.folder}: loading TensorFlow ...")
    load_tensorflow(verbosity)
    from epochal.app.tuning.sweep import check_same_data

    check_same_data(sweep)
    return _search(sweep, arguments)


def _search(sweep: Sweep, arguments: Namespace) -> int:
    from epochal.app.tuning.sweep import LOCAL, run_sweep

    say(f"sweep: {sweep.folder}")
    jobs = 0 if arguments.chief else arguments.jobs or 1
    with sweep.locked():
        run_sweep(sweep, jobs, arguments.chief or LOCAL)
    return _print_summary(sweep)


def _work(arguments: Namespace, verbosity: int) -> int:
    unused = _flags_of_a_configuration(arguments)
    if unused:
        raise UsageError(f"--worker takes its work from the chief; drop {', '.join(unused)}")
    _settle_in()
    sweep = Sweep.find(arguments.sweep)
    load_tensorflow(verbosity)
    from epochal.app.tuning.worker import work

    work(sweep, arguments.worker)
    return 0


def _settle_in() -> None:
    """Take the cores, and end with the parent, that a sweep on this machine gives its workers.

    Raises:
        UsageError: the variables that tell them hold something else.
    """
    cores = os.environ.get("EPOCHAL_CORES")
    if not cores:
        return
    try:
        parent = int(os.environ["EPOCHAL_PARENT"])
        os.sched_setaffinity(0, [int(core) for core in cores.split(",")])
    except (KeyError, ValueError, OverflowError, OSError) as error:
        raise UsageError(
            f"EPOCHAL_CORES and EPOCHAL_PARENT are as a sweep sets them for its workers: {error}; "
            "unset both"
        ) from error
    end_with(parent)


def _print_summary(sweep: Sweep) -> int:
    """Print the figures on stdout, what to do next on stderr."""
    result = sweep.result()
    if result.validation_score is None or result.test_accuracy is None:
        raise StorageError(
            f"{sweep.folder}: its result is damaged, since it tells no figures of a winner; "
            "start a new sweep"
        )
    spread = ""
    if result.spread is not None:
        spread = f" ± {result.spread:.4f}"
    optimism = ""
    if result.optimism is not None:
        optimism = f", validation minus test {result.optimism:+.4f}"
    print(
        f"winner: trial {result.winner}, {result.monitor} {result.validation_score:.4f}"
        f"{spread}; test accuracy {result.test_accuracy:.4f} (95 % interval "
        f"{result.test_accuracy_low:.4f} to {result.test_accuracy_high:.4f}, "
        f"{result.test_count:,} images){optimism}"
    )
    folder = sweep.folder
    say(f"""
everything lies in {folder}/: report.html, leaderboard.csv, best.yaml, winner/, trials/
next:
  epochal train --config {folder}/best.yaml
  epochal export {folder}/winner""")
    return 0


def _number(text: str) -> int:
    return whole_number(text, 1, "a number from 1")


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not re.fullmatch("[0-9]{1,5}", port) or int(port) > _LAST_PORT:
        raise ArgumentTypeError(f"expected HOST:PORT, got {text}")
    return text
