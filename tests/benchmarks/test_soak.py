"""The soak notices wrong answers, mixes and dying jobs. It runs in full in `make soak`."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import hub
from benchmarks.demo_process import DemoProcess
from benchmarks.pictures import jpegs
from benchmarks.soak import attacks, children, kills
from benchmarks.soak.__main__ import CHECKS, main
from benchmarks.soak.bad_host import BEHAVIOURS, BadHost
from benchmarks.soak.errors import SoakError
from benchmarks.soak.traffic import Question
from benchmarks.visitor import Visitor
from tests.builders import files_of
from visim_models import DataError, ImageSourceError
from visim_models.sources.download import download, origin

FOLDER_NAMES = ("old", "new")


def write(out: Path, text: str) -> None:
    """Write two files as no command of visim may: one after the other, in place."""
    out.mkdir(exist_ok=True)
    (out / "a").write_text(text)
    time.sleep(0.2)
    (out / "b").write_text(text)


def refuse(_: Path) -> None:
    raise DataError("no such thing")


def break_down(_: Path) -> None:
    raise OSError("broken")


def vanish(_: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_jobs_in_processes_of_their_own(tmp_path: Path) -> None:
    error, seconds = children.run_whole(write, tmp_path / "out", "x")
    assert error == ""
    assert seconds >= 0.2
    assert set(files_of(tmp_path / "out")) == {"a", "b"}
    assert children.run_whole(refuse, tmp_path)[0] == "no such thing"
    with pytest.raises(SoakError, match="OSError: broken"):
        children.run_whole(break_down, tmp_path)
    with pytest.raises(SoakError, match="died"):
        children.run_whole(vanish, tmp_path)
    assert children.run_and_kill(write, tmp_path / "cut", "x", after=0.1)
    assert set(files_of(tmp_path / "cut")) == {"a"}


def test_a_mix_is_seen(tmp_path: Path) -> None:
    two = [(tmp_path / "out", name) for name in FOLDER_NAMES]
    with pytest.raises(SoakError, match="mix"):
        kills._kill_writer(write, tmp_path / "out", two, 4)


def test_answers_of_another_picture_are_seen(address: str, repos: dict[str, Path]) -> None:
    similarity = hub.load(repos["car-extractor"])
    one, other = (picture for picture in jpegs("cars", 2, data=repos["car-extractor"]))
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    right = Question("one", one, "cars", similarity.search(one))
    with Visitor(address) as visitor:
        right.ask(visitor)
        Question("other", other, "cars", similarity.search(other)).ask(visitor)
        Question("none", b"no picture", "cars", None).ask(visitor)
        for wrong in (
            replace(right, expected=similarity.search(noise)),
            replace(right, expected=None),
            Question("none", b"no picture", "cars", right.expected),
        ):
            with pytest.raises(AssertionError):
                wrong.ask(visitor)


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_a_bad_host_never_completes_an_answer(behaviour: str) -> None:
    with BadHost(behaviour) as host, pytest.raises(ImageSourceError, match=r"too slow|more than"):
        download(host.address, timeout=1.0, max_bytes=2**20, trusted_origin=origin(host.address))


def test_slow_and_wrong_answers_during_an_attack_are_seen(
    address: str, repos: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo = DemoProcess(address, os.getpid(), tmp_path / "log")
    picture = jpegs("cars", 1, data=repos["car-extractor"])[0]
    right = Question("one", picture, "cars", hub.load(repos["car-extractor"]).search(picture))
    for attack in attacks.attacks():
        fact = attacks.check_attack(demo, attack, [right], 0.2)
        assert "answers to another visitor" in fact
        assert "got nothing" not in fact
    with pytest.raises(SoakError, match="no right answer"):
        attacks.check_attack(demo, attack, [replace(right, expected=None)], 0.2)
    monkeypatch.setattr(attacks, "_LONGEST", 0.0)
    with pytest.raises(SoakError, match="the slowest in"):
        attacks.check_attack(demo, attack, [right], 0.2)


def test_the_command_line_names_the_checks(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "nothing"])
    refusal = capsys.readouterr().err
    assert all(name in refusal for name in CHECKS)
