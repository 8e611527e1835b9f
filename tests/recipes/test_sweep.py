"""Sweeps: which runs there are, how they share a machine, and how their processes end."""

from __future__ import annotations

import math
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from run_folders import make_run
from widthwise.errors import ConfigError, RunError
from widthwise.recipes.loader import load_recipe
from widthwise.recipes.sweep import state as states
from widthwise.recipes.sweep.comparing import common_arm, compared
from widthwise.recipes.sweep.grid import check_points, combinations, read_axes, split_values
from widthwise.recipes.sweep.job import Job, last_error, last_line, search_job
from widthwise.recipes.sweep.local import run_here
from widthwise.recipes.sweep.ray import Cluster, Resources
from widthwise.recipes.sweep.sharing import share
from widthwise.recipes.sweep.state import Event, State
from widthwise.report.comparison import Comparison
from widthwise.report.contest import Contest

PLAIN = st.text("abcXY019._/%-+ é'", min_size=1).filter(
    lambda text: text.strip() == text and text[0] != "'"
)
LISTED = st.lists(PLAIN.filter(lambda text: "'" not in text), max_size=3).map(
    lambda parts: f"[{','.join(parts)}]"
)
VALUES = st.lists(PLAIN | LISTED, min_size=1, max_size=4, unique=True)


# ---------------------------------------------------------------- combinations


@given(VALUES)
def test_values_are_split_where_they_were_joined(values: list[str]) -> None:
    """Commas separate values, except those inside of brackets."""
    assert split_values(",".join(values)) == values
    assert split_values(" , ".join(values)) == values


@given(st.text("ab,[]{}019= ", min_size=1))
def test_quotes_keep_anything_together(value: str) -> None:
    """A value in quotes is one value, whatever is in it."""
    assert split_values(f'1,"{value}"') == ["1", value]


@given(st.dictionaries(st.sampled_from(["seed", "a.lr", "b.lr", "a.name"]), VALUES))
def test_every_combination_is_there_once_under_a_name_of_its_own(
    axes: dict[str, list[str]],
) -> None:
    """As many runs as the product; names can be those of folders, whatever the values are."""
    points = combinations(axes)
    assert len(points) == math.prod(map(len, axes.values()))
    assert len({tuple(point.values.items()) for point in points}) == len(points)
    assert len({point.name.lower() for point in points}) == len(points)
    for point in points:
        assert re.fullmatch(r"\w[\w.+-]{0,200}", point.name, re.ASCII)
        assert all(point.values[key] in values for key, values in axes.items())


@pytest.mark.parametrize(
    ("axes", "names"),
    [
        ({"budget.macs": ["0.2"], "seed": ["0", "1"]}, ["seed0", "seed1"]),
        ({"budget.macs": ["0.2"], "seed": ["0"]}, ["macs0.2-seed0"]),
        ({"method.name": ["dhp", "lw_dna"]}, ["method_dhp", "method_lw_dna"]),
        (
            {"search.lr": ["0.1", "0.2"], "converge.lr": ["1", "2"]},
            [
                "search.lr0.1-converge.lr1",
                "search.lr0.1-converge.lr2",
                "search.lr0.2-converge.lr1",
                "search.lr0.2-converge.lr2",
            ],
        ),
        ({"arms": ["[full, l1]", "[]"]}, ["arms_full_l1", "arms__"]),
        ({"m": ["a/b", "A b"]}, ["m_a_b", "m_A_b_2"]),
        ({}, ["run"]),
    ],
)
def test_names_say_what_differs(axes: dict[str, list[str]], names: list[str]) -> None:
    """Keys with one value are left out, keys are as short as tells them apart."""
    assert [point.name for point in combinations(axes)] == names


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--seed", "0,,1"], "`--seed` has an empty value"),
        (["--seed", "0,1,0"], "`--seed` lists `0` twice"),
        (["--seed", "0", "--seed=1"], "`--seed` is given twice"),
        (["--seed", "0", "1"], "`1` belongs to no key"),
        (["--seed", "--threads", "1"], "`--seed` has no value"),
        (["--arms", "[full,l1"], "`]` is missing"),
        (["--budget.latency", "'2.5ms,batch=8"], "`'` is missing"),
    ],
)
def test_words_that_make_no_sense_are_named(words: list[str], says: str) -> None:
    """Each mistake has its message, with the key."""
    with pytest.raises(ConfigError) as error:
        read_axes(words)
    assert says in str(error.value)
    assert "Hint: " in str(error.value)


def test_every_combination_is_checked_before_anything_starts() -> None:
    """All that is wrong is said at once, with keys and the run that has it first."""
    axes = read_axes(["--converge.epochs", "3,0", "--seed", "0,x", "--budget.macs", "0.5"])
    with pytest.raises(ConfigError) as error:
        check_points("digits", combinations(axes))
    text = str(error.value)
    assert "`epochs0-seed0`: A training stage is set up wrongly" in text
    assert "`epochs3-seedx`" not in text
    assert '`epochs3-seed_x`: Recipe `digits`: Parser key "seed"' in text
    with pytest.raises(ConfigError, match=r"unrecognized arguments: --sed=0"):
        check_points("digits", combinations({"sed": ["0", "1"]}))


def test_the_recipes_are_those_of_the_values() -> None:
    """Also where another method is chosen, and where a value has commas."""
    axes = read_axes(["--method.name=dhp,lw_dna", "--arms", "[full,uniform]", "--seed", "4"])
    dhp, lw_dna = check_points("digits", combinations(axes))
    assert (dhp.method.name, lw_dna.method.name) == ("dhp", "lw_dna")
    assert dhp == load_recipe("digits", ["--arms=[full,uniform]", "--seed=4"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--seed=1,01"], "`seed1` and `seed01` are the same recipe"),
        (["--seed=0,1", "--hardware.num_nodes=2"], "`hardware.num_nodes` is 2"),
    ],
)
def test_what_a_sweep_does_not_run_is_refused(words: list[str], says: str) -> None:
    """Runs that are the same, and runs that need a launcher of their own."""
    with pytest.raises(ConfigError, match=re.escape(says)):
        check_points("digits", combinations(read_axes(words)))


# ---------------------------------------------------------------- state


def sweep_of(**keys: Sequence[str]) -> states.Sweep:
    return states.new_sweep("digits", keys)


def test_a_sweep_is_read_as_it_was_written(tmp_path: Path) -> None:
    """State and reasons too."""
    sweep = sweep_of(seed=["0", "1", "2"])
    sweep = sweep.after(Event(name="seed1", state=State.failed, problem="DataError: none"))
    sweep = sweep.after(Event(name="seed2", state=State.finished))
    states.write_sweep(tmp_path, sweep)
    assert states.read_sweep(tmp_path) == sweep
    assert [run.state.value for run in sweep.runs] == ["waiting", "failed", "finished"]


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"format": 2}'])
def test_a_damaged_state_is_named(text: str, tmp_path: Path) -> None:
    """No traceback of what the file lacks."""
    (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(RunError, match=r"sweep\.json"):
        states.read_sweep(tmp_path)


def test_only_what_is_not_there_is_done(tmp_path: Path) -> None:
    """A finished run is skipped, unless its results have been deleted."""
    sweep = sweep_of(seed=["0", "1", "2"])
    for name in ("seed0", "seed1"):
        sweep = sweep.after(Event(name=name, state=State.finished))
    make_run(tmp_path / "seed0")
    assert [run.name for run in states.unfinished(sweep, tmp_path)] == ["seed1", "seed2"]


@pytest.mark.parametrize(
    ("recipe", "keys", "says"),
    [
        (None, {"seed": ["0", "2"]}, "seed  '0,1' -> '0,2'"),
        (None, {"seed": ["0", "1"], "threads": ["1"]}, "threads  None -> '1'"),
        ("digits_sss", {}, "RECIPE  'digits' -> 'digits_sss'"),
    ],
)
def test_a_sweep_goes_on_as_it_was_started(
    recipe: str | None, keys: Mapping[str, Sequence[str]], says: str, tmp_path: Path
) -> None:
    """What was given differently is named with both values; the same words or none will do."""
    sweep = sweep_of(seed=["0", "1"])
    states.check_same(tmp_path, sweep, recipe=None, keys={})
    states.check_same(tmp_path, sweep, recipe="digits", keys={"seed": ["0", "1"]})
    with pytest.raises(ConfigError, match=re.escape(says)):
        states.check_same(tmp_path, sweep, recipe=recipe, keys=keys)


def test_a_recipe_that_has_changed_is_noticed(tmp_path: Path) -> None:
    """Runs that have not started would be of another recipe than those that have."""
    path = tmp_path / "mine.yaml"
    path.write_text("seed: 0\nconverge: {lr: 0.1}\n")
    sweep = states.new_sweep(str(path), {"seed": ["0", "1"]})
    path.write_text("seed: 0\nconverge: {lr: 0.2}\n")
    with pytest.raises(ConfigError, match=re.escape("converge.lr  0.1 -> 0.2")):
        states.check_same(tmp_path, sweep, recipe=None, keys={})


# ---------------------------------------------------------------- processes


def job(folder: Path, name: str, code: str) -> Job:
    """A process that runs a line of Python."""
    return Job(
        name=name,
        command=(sys.executable, "-S", "-c", code),
        folder=folder / name,
        log=folder / f"{name}.log",
    )


def never() -> int:
    return 0


def test_one_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    """Each ends by itself; the last error of the log and the signal are said."""
    jobs = [
        job(tmp_path, "raises", "print('epoch 1'); raise ValueError('no')"),
        job(tmp_path, "killed", "import os; os.kill(os.getpid(), 9)"),
        job(tmp_path, "silent", "import os; os._exit(3)"),
        replace(job(tmp_path, "absent", ""), command=(str(tmp_path / "no-python"),)),
        job(tmp_path, "good", "print('done')"),
    ]
    events = list(run_here(jobs, slots=[{}], stopping=never))
    problems = {event.name: event.problem for event in events if event.problem}
    assert problems["raises"] == "ValueError: no"
    assert problems["killed"] == "killed (SIGKILL, by the system if memory was short)"
    assert problems["silent"] == "exit code 3"
    assert problems["absent"].startswith("not started: ")
    assert events[-1] == Event(name="good", state=State.finished)
    assert last_line(tmp_path / "good.log") == "done"


@pytest.mark.parametrize("slots", [1, 2])
def test_as_many_run_at_a_time_as_there_are_slots(slots: int, tmp_path: Path) -> None:
    """Never more, and each in the environment of its slot."""
    code = "import os, time; time.sleep(0.2); print(os.environ['SLOT'])"
    jobs = [job(tmp_path, str(number), code) for number in range(4)]
    going, most, seen = 0, 0, []
    for event in run_here(jobs, slots=[{"SLOT": str(n)} for n in range(slots)], stopping=never):
        going += 1 if event.state is State.running else -1
        most = max(most, going)
        if event.state is State.finished:
            seen.append(last_line(tmp_path / f"{event.name}.log"))
    assert (most, going, len(seen)) == (slots, 0, 4)
    assert set(seen) == {str(number) for number in range(slots)}


STUBBORN = (
    "import os, signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('up', flush=True); time.sleep(60)"
)


@pytest.mark.parametrize("times", [1, 2])
def test_whoever_stops_leaves_nothing_running(times: int, tmp_path: Path) -> None:
    """The first request is passed on; the second does not wait for one that will not hear."""
    code = STUBBORN if times == 2 else "import time; print('up', flush=True); time.sleep(60)"
    jobs = [job(tmp_path, name, code) for name in "abc"]
    asked = [0]

    def stopping() -> int:
        if all(last_line(tmp_path / f"{name}.log") == "up" for name in "ab"):
            asked[0] = min(asked[0] + 1, times)
        return asked[0]

    began = time.monotonic()
    events = list(run_here(jobs, slots=[{}, {}], stopping=stopping))
    assert time.monotonic() - began < 10
    assert [(event.name, event.state.value) for event in events] == [
        ("a", "running"),
        ("b", "running"),
        ("a", "stopped"),
        ("b", "stopped"),
    ]
    assert not (tmp_path / "c.log").exists()


def test_processes_do_not_outlive_an_error(tmp_path: Path) -> None:
    """Also where whoever listens to a sweep fails, its processes and theirs end."""
    code = "import subprocess, sys, time; p = subprocess.Popen(['sleep', '60']); print(p.pid)"
    events = run_here(
        [job(tmp_path, "a", f"{code}; sys.stdout.flush(); time.sleep(60)")],
        slots=[{}],
        stopping=never,
    )
    next(events)
    while not last_line(tmp_path / "a.log"):
        time.sleep(0.05)
    events.close()
    below = Path("/proc") / last_line(tmp_path / "a.log") / "stat"
    time.sleep(0.1)
    # A child whose parent has ended stays as a zombie where nobody collects it.
    assert not below.exists() or below.read_text().split()[2] == "Z"


def test_a_started_run_is_resumed_and_its_log_goes_on(tmp_path: Path) -> None:
    """What was said in an earlier attempt is kept, and not taken for the reason of this one."""
    search = search_job("digits", combinations({"seed": ["-1"]})[0], tmp_path)
    assert search.line()[-1] == "--seed=-1"
    search.folder.mkdir()
    (search.folder / "config.yaml").touch()
    assert search.line()[-1] == "--resume"
    first = job(tmp_path, "a", "raise OSError('full')")
    second = job(tmp_path, "a", "import os; os._exit(1)")
    said = [list(run_here([each], slots=[{}], stopping=never))[-1] for each in (first, second)]
    assert [event.problem for event in said] == ["OSError: full", "exit code 1"]
    assert "OSError: full" in (tmp_path / "a.log").read_text()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", None),
        ("$ widthwise search\n", None),
        ("epoch 1\nDataError: no folder.\nHint: download it.\n", "DataError: no folder."),
        ("torch.OutOfMemoryError: CUDA\n", "torch.OutOfMemoryError: CUDA"),
        ("ValueError: a\n$ widthwise search\nepoch 1\n", "epoch 1"),
        ("x" * 100_000 + "\nRunError: full\n", "RunError: full"),
    ],
)  # fmt: skip
def test_the_last_error_is_found(text: str, found: str | None, tmp_path: Path) -> None:
    """Its first line, of the last attempt only; else the last line of all."""
    (tmp_path / "log").write_text(text)
    assert last_error(tmp_path / "log") == found


# ---------------------------------------------------------------- sharing


@pytest.mark.parametrize(
    ("threads", "at_once", "variables", "says"),
    [
        (["1"], 2, {}, []),
        (["4"], 2, {}, ["2 runs at a time with up to 4 threads each are more than the 4 cores"]),
        (["null"], 2, {"OMP_NUM_THREADS": "2"}, ["share 4 cores: 2 threads each"]),
        (["null"], 1, {}, []),
        (["8"], 1, {}, []),
        (["null"], 8, {"OMP_NUM_THREADS": "1"}, ["1 thread each (", "8 runs at a time with up"]),
    ],
)
def test_threads_are_those_of_the_recipe_or_divided(
    threads: list[str], at_once: int, variables: dict[str, str], says: list[str]
) -> None:
    """What the recipe leaves open is divided; too much is said."""
    recipes = check_points("digits", combinations({"threads": threads}))
    found = share(recipes, at_once=at_once, cores=4, cards=0, environment={})
    assert found.slots == (variables,) * at_once
    assert len(found.notes) == len(says)
    assert all(text in note for text, note in zip(says, found.notes, strict=True))
    own = share(recipes, at_once=at_once, cores=4, cards=0, environment={"OMP_NUM_THREADS": "3"})
    assert own.slots == ({},) * at_once


def test_each_slot_has_its_own_graphics_cards() -> None:
    """As many as a run takes; where they do not suffice, that is said."""
    recipes = [load_recipe("digits", ["--hardware.devices=2"])]
    cards = "CUDA_VISIBLE_DEVICES"
    found = share(recipes, at_once=2, cores=8, cards=4, environment={})
    assert [slot[cards] for slot in found.slots] == ["0,1", "2,3"]
    assert not found.notes
    found = share(recipes, at_once=2, cores=8, cards=3, environment={cards: "4,5,7"})
    assert [slot[cards] for slot in found.slots] == ["4,5", "7,4"]
    assert "share 3 graphics cards" in found.notes[0]


@pytest.mark.parametrize(
    ("words", "cpus", "gpus"),
    [
        (["--threads=3"], 3, 1),
        (["--threads=null"], 4, 1),
        (["--hardware.devices=2"], 1, 2),
        (["--hardware.accelerator=cpu"], 1, 0),
    ],
)
def test_a_run_takes_of_a_cluster_what_its_recipe_says(
    words: list[str], cpus: int, gpus: int
) -> None:
    """Threads are CPUs and devices GPUs; what no machine has is said."""
    cluster = Cluster(nodes=(Resources(cpus=16, gpus=2), Resources(cpus=4, gpus=0)))
    needed = cluster.needed(load_recipe("digits", words))
    assert needed == Resources(cpus=cpus, gpus=gpus)
    assert not any("wait" in note for note in cluster.notes(needed))
    assert "wait" in cluster.notes(Resources(cpus=5, gpus=3))[-1]
    assert Cluster(nodes=(Resources(cpus=2, gpus=0),)).needed(load_recipe("digits")).gpus == 0


# ---------------------------------------------------------------- comparing


def test_all_runs_are_compared_with_an_arm_that_all_have(tmp_path: Path) -> None:
    """With `uniform` if it is there, else with another; without one, by configuration."""
    both = [make_run(tmp_path / f"both{seed}", seed=seed) for seed in (0, 1)]
    full = make_run(tmp_path / "full", arms=["full"], seed=2)
    none = make_run(tmp_path / "none", arms=[], seed=3)
    assert common_arm(both) == "uniform"
    assert common_arm([*both, full]) == "full"
    assert common_arm([full, none]) is None
    found, why = compared(both)
    assert isinstance(found, Contest) and why is None
    found, why = compared([none])
    assert isinstance(found, Comparison) and why is not None


def test_runs_that_no_table_can_hold_have_one_each(tmp_path: Path) -> None:
    """Networks of other data are not compared over methods, and the reason is said."""
    runs = [make_run(tmp_path / data, data=data) for data in ("digits", "letters")]
    found, why = compared(runs)
    assert isinstance(found, Comparison)
    assert len(found.groups) == 2
    assert why is not None and "task.dataset is letters" in why
