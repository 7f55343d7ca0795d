"""`python -m hub`: its commands, and what each of them needs."""

import json

import pytest

from hub.__main__ import COMMANDS, main
from tests.processes import run_program

WITHOUT_MATPLOTLIB = """
import contextlib, io, json, sys
sys.modules["matplotlib"] = None  # as where only requirements.txt is installed
from hub.__main__ import COMMANDS, main
answers = {}
for name in COMMANDS:
    errors = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
        try:
            answers[name] = [main([name, "--help"]), errors.getvalue()]
        except SystemExit as end:
            answers[name] = [end.code, errors.getvalue()]
print(json.dumps(answers))
"""


def test_whoever_runs_the_demo_can_ask_every_command_for_help() -> None:
    done = run_program(WITHOUT_MATPLOTLIB)
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert answers == {name: [0, ""] for name in COMMANDS}


def test_the_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    printed = capsys.readouterr().out
    assert all(name in printed for name in COMMANDS)
    with pytest.raises(SystemExit, match="2"):
        main(["no-such-command"])


def test_an_interruption_is_no_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hub.publish.run", interrupted)
    assert main(["publish", "--namespace", "someone", "--dry-run"]) == 130
    assert capsys.readouterr().err == "interrupted\n"
