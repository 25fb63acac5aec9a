"""`epochal tune`: a new sweep, one that goes on, its chief alone, or a worker."""

import os
from argparse import ArgumentParser, ArgumentTypeError
from dataclasses import replace
from pathlib import Path
from typing import Any

from epochal.app.commands.arguments import split_arguments
from epochal.app.commands.console import Parser, load_tensorflow, say
from epochal.app.config import Config
from epochal.app.config.files import recipe_path
from epochal.app.config.splits import Splits
from epochal.app.data.availability import check_data
from epochal.app.errors import UsageError, suggestion
from epochal.app.process.signals import end_with
from epochal.app.store import run as runs
from epochal.app.store.plan import ALGORITHMS, SELECTS, Plan
from epochal.app.store.sweep import Sweep
from epochal.app.tuning.space import count_points, read_search

HELP = """\
Searches what a configuration leaves open: every trial is an ordinary run, scored on images held out of training.

  epochal tune                                             the embedded digits, in three minutes
  epochal tune --dataset mnist --model lenet5 --search search.yaml --trials 20 --algorithm bayesian
  epochal tune --recipe mnist-lenet5 --splits kfold:5 --jobs 2
  epochal tune --resume                                    go on with the newest sweep

Every option of `epochal train` that makes a configuration, and:
  --search FILE      ranges by configuration key, or the name of a shipped search: learning-rates, sgd-against-adam
                     (both for --algorithm grid), ... (without: the one shipped with the recipe)
                       learning_rate: {log: [1e-4, 1]}
                       optim.weight_decay: {linear: [0, 0.01]}
                       batch_size: {choice: [32, 64]}
                       epochs: {int: [2, 10]}
                       optimizer: {choice: [sgd, adam]}
                       optim.options.momentum: {linear: [0.5, 0.99], when: {optimizer: sgd}}
  --trials N         at most so many configurations (20); Hyperband makes whole passes of many short trials
  --algorithm NAME   random, bayesian, hyperband (the best of many short trainings go on) or grid (random)
  --splits SPLITS    holdout, kfold:5, repeated:3x5 or bootstrap:5, stratified; a trial that is clearly worse than the
                     best after some of them is dropped (holdout)
  --select NAME      best, or one-se: the smallest network within a standard error of it (best)
  --jobs N           so many trials at once, each with its share of the cores, or its own GPU (1)
  --resume [SWEEP]   continue a sweep that was stopped: the newest, or this folder
  --chief HOST:PORT  wait there for workers on other machines, which see the same folder
  --worker HOST:PORT work for that chief; --sweep FOLDER is its sweep (the newest)
                     (or KERASTUNER_ORACLE_IP and _PORT in the environment; "chief" in _TUNER_ID makes the chief)

The folder sweeps/NAME holds trials/, winner/ (trained again on all training images, then tested, once), best.yaml,
leaderboard.csv, report.html, result.json and tensorboard/.
"""
_DEFAULT = "digits"  # the recipe that is searched when nothing is given
_GENERAL = "any"


def run(words: list[str], verbosity: int) -> int:
    """Parses, calls, prints; returns the exit code."""
    if {"-h", "--help"} & set(words):
        print(HELP, end="")
        return 0
    parser = options(Parser(prog="epochal tune", add_help=False))
    given, rest = parser.parse_known_args(words)
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what goes wrong is told in a line of ours
    _take_address(given)
    if given.sweep and not given.worker:
        raise UsageError(
            "--sweep says which sweep a --worker works for; drop it, or give --resume SWEEP to go on"
        )
    if given.jobs and (given.chief or given.worker):
        raise UsageError(
            "--jobs starts workers here, a chief waits for others; drop --jobs, or --chief and --worker"
        )
    if given.worker:
        return _work(given, rest, verbosity)
    if given.resume is not None:
        return _resume(given, rest, verbosity)
    plan, config = planned(parser, words)
    say(
        f"epochal tune: {plan.trials} trials, {plan.algorithm}, {plan.splits}; loading TensorFlow ..."
    )
    config = check_data(config)
    runs.check_writable()
    load_tensorflow(verbosity)
    from epochal.app.tuning.oracle import count_trials
    from epochal.app.tuning.service import check_free
    from epochal.app.tuning.sweep import check_sweep

    check_sweep(plan, config, str(_search_file(given.search, rest)))
    if given.chief:
        check_free(given.chief)
    trials = count_trials(plan, config.epochs)
    if trials != plan.trials:
        say(
            f"hyperband over {config.epochs} epochs makes {trials} trials, most of them short, not {plan.trials}"
        )
        plan = replace(plan, trials=trials)
    sweep = Sweep.begin(plan, config, config.name or runs.default_name(config))
    return _search(sweep, given)


def _take_address(given: Any) -> None:
    """Chief or worker by KerasTuner's own variables, as a scheduler sets them."""
    host, port = (os.environ.get(f"KERASTUNER_ORACLE_{part}") for part in ("IP", "PORT"))
    if host and port and not given.chief and not given.worker:
        role = "chief" if "chief" in os.environ.get("KERASTUNER_TUNER_ID", "") else "worker"
        setattr(given, role, _address(f"{host}:{port}"))


def options(parser: ArgumentParser) -> ArgumentParser:
    """Adds what may stand between the options of `epochal train`."""
    parser.add_argument("--search")
    parser.add_argument("--trials", type=_number)
    parser.add_argument("--algorithm", choices=ALGORITHMS)
    parser.add_argument("--splits")
    parser.add_argument("--select", choices=SELECTS)
    parser.add_argument("--jobs", type=_number)
    parser.add_argument("--resume", nargs="?", const="")
    parser.add_argument("--chief", type=_address)
    parser.add_argument("--worker", type=_address)
    parser.add_argument("--sweep")
    return parser


def planned(parser: ArgumentParser, words: list[str]) -> tuple[Plan, Config]:
    """The plan and the configuration that the command line asks for, both checked.

    Raises:
        UsageError: in one line.
    """
    _, rest = parser.parse_known_args(words)
    asked, config = split_arguments(parser, words if rest else [*words, "--recipe", _DEFAULT])
    if config.budget is not None:
        raise UsageError(
            "--budget ends a training by the clock, so that no trial could be repeated; give --epochs"
        )
    path = _search_file(asked.search, rest)
    space = read_search(path, config)
    splits = Splits.of(asked.splits or "holdout")
    plan = Plan(
        space=space,
        algorithm=asked.algorithm or "random",
        trials=asked.trials or 20,
        splits=str(splits),
        select=asked.select or "best",
        seed=config.seed,
        monitor=config.stopping.monitor,
    )
    plan.check(str(path))
    return _limited(plan, str(path)), config


def _limited(plan: Plan, where: str) -> Plan:
    """A plan of no more trials than there are points; says where they are not as many as points, or asked for."""
    most = count_points(plan.space)
    if (
        plan.algorithm == "hyperband" or most == plan.trials
    ):  # its trials go on with one another's points
        return plan
    if most < plan.trials:
        say(f"{where} has {most} points: there will be {most} trials, not {plan.trials}")
        return replace(plan, trials=int(most))
    if plan.algorithm == "grid":
        say(
            f"{where} has {most} points, of which the first {plan.trials} are tried; for all, give --trials {most}"
        )
    return plan


def _search_file(asked: str | None, rest: list[str]) -> Path:
    """The file that was asked for, by path or by the name of a shipped one; else the recipe's, or the general one."""
    shipped = {
        path.stem: path for path in (recipe_path(_DEFAULT).parent / "searches").glob("*.yaml")
    }
    if asked is not None:
        if asked.endswith(".yaml") or "/" in asked:
            return Path(asked)
        if asked not in shipped:
            known = sorted(shipped)
            raise UsageError(
                f"--search {asked}: unknown{suggestion(asked, known)}; there are: {', '.join(known)}"
            )
        return shipped[asked]
    words = (
        [part for word in rest for part in word.split("=", 1)] if rest else ["--recipe", _DEFAULT]
    )
    recipe = words[words.index("--recipe") + 1] if "--recipe" in words[:-1] else _GENERAL
    return shipped.get(recipe, shipped[_GENERAL])


def _resume(given: Any, rest: list[str], verbosity: int) -> int:
    unused = [
        f"--{key}" for key in ("trials", "algorithm", "splits", "select") if getattr(given, key)
    ]
    if unused or rest:
        raise UsageError(
            f"--resume goes on with a sweep as it was begun; drop {', '.join(unused) or ' '.join(rest)}"
        )
    sweep = Sweep.find(given.resume or None)
    if given.search:
        space = read_search(_search_file(given.search, []), sweep.base)
        sweep.plan.check_same(space, str(sweep.folder))
    if sweep.is_finished:
        say(f"{sweep.folder} has already finished; nothing to do")
        return _finish(sweep)
    say(f"epochal tune --resume {sweep.folder}: loading TensorFlow ...")
    load_tensorflow(verbosity)
    return _search(sweep, given)


def _search(sweep: Sweep, given: Any) -> int:
    from epochal.app.tuning.sweep import LOCAL, run_sweep

    say(f"sweep: {sweep.folder}")
    jobs = 0 if given.chief else given.jobs or 1
    with sweep.locked():
        run_sweep(sweep, jobs, given.chief or LOCAL)
    return _finish(sweep)


def _work(given: Any, rest: list[str], verbosity: int) -> int:
    if rest:
        raise UsageError(f"--worker takes its work from the chief; drop {' '.join(rest)}")
    if cores := os.environ.get("EPOCHAL_CORES"):  # as a sweep starts its workers on this machine
        os.sched_setaffinity(0, [int(core) for core in cores.split(",")])
        end_with(int(os.environ["EPOCHAL_PARENT"]))
    sweep = Sweep.find(given.sweep)
    load_tensorflow(verbosity)
    from epochal.app.tuning.worker import work

    work(sweep, given.worker)
    return 0


def _finish(sweep: Sweep) -> int:
    """The summary: figures on stdout, what to do next on stderr."""
    result = sweep.result()
    spread = f" ± {result.spread:.4f}" if result.spread is not None else ""
    optimism = ""
    if result.optimism is not None:
        optimism = f", validation minus test {result.optimism:+.4f}"
    print(
        f"winner: trial {result.winner}, {result.monitor} {result.validation_score:.4f}{spread}; test "
        f"accuracy {result.test_accuracy:.4f} (95 % interval {result.test_accuracy_low:.4f} to "
        f"{result.test_accuracy_high:.4f}, {result.test_count:,} images){optimism}"
    )
    say(f"""
everything lies in {sweep.folder}/: report.html, leaderboard.csv, best.yaml, winner/, trials/
next:
  epochal train --config {sweep.folder}/best.yaml
  epochal export {sweep.folder}/winner""")
    return 0


def _number(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise ArgumentTypeError(f"expected a number from 1, got {text}")
    return int(text)


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ArgumentTypeError(f"expected HOST:PORT, got {text}")
    return text
