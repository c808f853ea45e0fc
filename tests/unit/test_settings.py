"""Settings: which source wins, and the sentence for each mistake."""

import errno
import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError, dataclass
from pathlib import Path
from typing import Literal

import pytest

from hfrep.errors import USER_ERROR_EXIT, DataError, told_in_one_sentence
from hfrep.settings import ConfigError, as_dict, differences, parse, resolved, setting

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Length:
    max_steps: int | None = setting(None, "optimizer steps", kind="schedule")
    learning_rate: float = setting(1e-3, "peak", kind="schedule", aliases=("lr",))


@dataclass(frozen=True, kw_only=True)
class Rest:
    corpus: list[str] = setting(["docstrings"], "files", aliases=("train_file",))
    mask_by: Literal["token", "word"] = setting("token", "unit")
    separator: str = setting("blank", "what ends a document")
    quiet: bool = setting(False, "say less", kind="operation")
    private: bool | None = setting(None, "hide it", kind="operation")


def filled(*argv, **defaults):
    return as_dict(parse(Length, Rest, argv=argv, defaults=defaults))


@pytest.fixture
def config(tmp_path):
    def write(content):
        path = tmp_path / "run.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return f"--config={path}"

    return write


def test_flag_over_file_over_default(config):
    """A flag beats the file, the file a recipe's default, this the field's; a null in the file changes nothing."""
    file = config("max_steps: 20\nlearning_rate: 2e-4\nquiet: true\nseparator: null\n")
    got = filled(file, "--max_steps", "30", learning_rate=0.5, mask_by="word")
    assert got["max_steps"] == 30
    assert got["learning_rate"] == 2e-4
    assert got["mask_by"] == "word"
    assert got["separator"] == "blank"
    assert got["quiet"] is True
    assert filled()["max_steps"] is None
    assert filled(*file.split("=", 1), "--quiet", "false")["quiet"] is False


def test_lists_and_dashes_in_the_file(config):
    """A list takes its items, one value is a list of one, and a value may begin with dashes."""
    assert filled(config("corpus: [a.txt, b.txt]"))["corpus"] == ["a.txt", "b.txt"]
    assert filled(config("corpus: a.txt"))["corpus"] == ["a.txt"]
    assert filled(config("separator: '---'"))["separator"] == "---"


def test_aliases(config):
    """A setting answers to its other names, as a flag and in the file."""
    got = filled("--lr", "0.1", "--train_file", "a", "b")
    assert (got["learning_rate"], got["corpus"]) == (0.1, ["a", "b"])
    assert filled(config("lr: 0.1\ntrain_file: [a]"))["learning_rate"] == 0.1


def test_a_bare_flag_means_yes(config):
    """Also where the default is neither yes nor no; a value may follow it, and the next flag is none."""
    assert filled()["private"] is None
    assert filled("--private", "--quiet")["private"] is True
    assert filled("--private", "false")["private"] is False
    assert filled(config("private: true"))["private"] is True


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (
            ["--max_step", "5"],
            r"the command line: expected a known setting, found --max_step; did you mean --max_steps\?",
        ),
        (["--max-step=5"], r"found --max-step; did you mean --max_steps\?"),
        (["--learning"], r"found --learning; did you mean --learning_rate\?"),
        (["5"], "expected a setting before each value, found '5' alone; name its --setting"),
        (["--max_steps", "ten"], "argument --max_steps.*: invalid int value: 'ten'"),
        (["--quiet", "perhaps"], "the command line: expected settings as --help lists them, found "),
        (["--mask_by", "span"], "found argument --mask_by.*: invalid choice: 'span'"),
        (["--config"], "argument --config: expected one argument"),
    ],
)
def test_mistakes_on_the_command_line(argv, words):
    """D17: abbreviations are not guessed: an unknown key names its nearest neighbour; a bad value its setting."""
    with pytest.raises(ConfigError, match=words):
        filled(*argv)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("max_step: 5", r"run\.yaml: expected a known setting, found --max_step; did you mean --max_steps\?"),
        ("max_steps: ten", r"run\.yaml: expected settings .* found argument --max_steps.*: invalid int value: 'ten'"),
        ("config: other.yaml", r"run\.yaml: expected a known setting, found --config"),
        ("help: true", r"run\.yaml: expected a known setting, found --help"),
        ("- max_steps", r"run\.yaml: expected `name: value` lines, found list"),
        ("", "expected `name: value` lines, found NoneType"),
        ("max_steps: [", r"run\.yaml: expected a YAML file, found while parsing"),
        (b"separator: \xff", r"run\.yaml: expected a YAML file, found"),
    ],
)
def test_mistakes_in_the_file(config, content, words):
    """The file is held to the same rules, and named; what is not a mapping is no settings."""
    with pytest.raises(ConfigError, match=words) as caught:
        filled(config(content))
    assert "\n" not in str(caught.value)


def test_missing_file():
    """A configuration file that is not there is a user's mistake."""
    with pytest.raises(
        ConfigError, match=r"nowhere\.yaml: expected a YAML file, found .*No such file.*correct --config"
    ):
        filled("--config", "nowhere.yaml")


def test_filled_settings_by_kind_and_their_differences():
    """Settings are frozen; those of one kind can be had alone, and what differs is told as stored → given."""
    groups = parse(Length, Rest, argv=["--max_steps", "3"])
    assert as_dict(groups, "schedule") == {"max_steps": 3, "learning_rate": 1e-3}
    assert as_dict(groups, "operation") == {"quiet": False, "private": None}
    assert differences({"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 5}) == ["b: 5 → 2"]
    with pytest.raises(FrozenInstanceError):
        groups[0].max_steps = 4


@pytest.mark.parametrize(
    ("rank", "begins"), [(None, "error: here"), ("0", "error: here"), ("3", "error on rank 3: here")]
)
def test_one_sentence_and_status_two(capsys, monkeypatch, rank, begins):
    """A user's mistake is one line on standard error and exit status 2; any other error keeps its traceback."""
    monkeypatch.delenv("RANK", raising=False)
    if rank:
        monkeypatch.setenv("RANK", rank)
    with pytest.raises(SystemExit) as left, told_in_one_sentence():
        raise DataError(where="here", expected="this", found="that", do="turn back")
    assert left.value.code == USER_ERROR_EXIT == 2
    assert capsys.readouterr().err == f"{begins}: expected this, found that; turn back.\n"
    with pytest.raises(ZeroDivisionError), told_in_one_sentence():
        raise ZeroDivisionError
    with pytest.raises(OSError, match="broken"), told_in_one_sentence():
        raise OSError(errno.EIO, "broken")


def test_a_missing_permission_is_told_wherever_it_is_met(capsys):
    """The path and what to do about it."""
    with pytest.raises(SystemExit) as left, told_in_one_sentence():
        raise PermissionError(errno.EACCES, "Permission denied", "/secret")
    assert left.value.code == USER_ERROR_EXIT
    told = "error: /secret: expected a path that this user may use, found Permission denied; change its permissions"
    assert told in capsys.readouterr().err


def test_an_error_may_be_sent_to_another_process():
    """With its class and its four facts."""
    error = DataError(where="here", expected="this", found="that", do="turn back")
    sent = pickle.loads(pickle.dumps(error))
    assert (type(sent), str(sent), sent.found) == (DataError, str(error), "that")


def test_defaults_that_a_recipe_resolves_take_their_place():
    """The group of that type is another one, the others stay, in their order."""
    ten = Length(max_steps=10)
    assert resolved((Length(), Rest()), ten) == (ten, Rest())


def test_a_full_disk_is_told_wherever_it_is_met(capsys):
    """A write that finds no room, here of a real full device, names the file and what to do."""
    with pytest.raises(SystemExit) as left, told_in_one_sentence():
        Path("/dev/full").write_text("text")
    assert left.value.code == USER_ERROR_EXIT
    assert "expected room to write, found No space left on device; free space and start" in capsys.readouterr().err


def test_ctrl_c_outside_of_training_is_no_traceback(capsys):
    """Status 130, as shells have it, and a line."""
    with pytest.raises(SystemExit) as left, told_in_one_sentence():
        raise KeyboardInterrupt
    assert left.value.code == 130
    assert capsys.readouterr().err == "error: stopped by Ctrl-C; what was saved stands.\n"


def test_recipe_prints_no_traceback():
    """A recipe with an abbreviated setting ends with the sentence alone and status 2."""
    command = [sys.executable, "recipes/train_tokenizer.py", "--vocab_siz", "64"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1] == (
        "error: the command line: expected a known setting, found --vocab_siz; did you mean --vocab_size? (--help)."
    )
    assert "Traceback" not in ended.stderr
