"""The README's commands are ones that the recipes take, and its outputs have the shape of what is printed."""

import json
import re
import shlex
from pathlib import Path

import pytest
from conftest import documents, recipe

from hfrep.training.launch import LaunchSettings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [README, (ROOT / "tokenizers" / "README.md").read_text(encoding="utf-8")]


def commands():
    """Each command line of the pages that starts a recipe: its name and its flags."""
    text = "\n".join(PAGES).replace("\\\n", " ")
    for line in re.findall(r"[^\n`]*\brecipes/\w+\.py[^\n`]*", text):
        command, _, flags = line.partition(".py")
        if re.search(r"\b(launch|python) ", command) and "NAME" not in line and "--help" not in line:
            yield pytest.param(command.split("recipes/")[1], shlex.split(flags, comments=True), id=line.strip()[:60])


@pytest.fixture
def user_folder(tmp_path, monkeypatch):
    """A folder with the files that the examples name; the built-in corpus is a small one."""
    (tmp_path / "my_texts").mkdir()
    for path in (tmp_path / "my_texts" / "one.txt", tmp_path / "docstrings.txt"):
        path.write_text("\n\n".join(documents(300)))
    (tmp_path / "my.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in documents(300, seed=1)))
    for module in ("docstrings", "corpus"):
        monkeypatch.setattr(f"hfrep.data.{module}.docstrings_file", lambda cache: tmp_path / "docstrings.txt")
    monkeypatch.setenv("HFREP_CACHE", str(tmp_path / "cache"))  # the real corpus has the same key
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_TOKEN", "of a user who has logged in")


@pytest.mark.usefixtures("user_folder")
@pytest.mark.parametrize(("name", "flags"), commands())
def test_commands_are_taken(name, flags, capsys):
    """Training recipes resolve each command up to where training would start; the others' settings parse."""
    module = recipe(name)
    if LaunchSettings not in module.GROUPS:
        module.parse(*module.GROUPS, argv=flags, positional=getattr(module, "POSITIONAL", None))
        return
    if "runs/blocks" in flags:
        recipe("prepare").main([])
        capsys.readouterr()
    assert module.main([*flags, "--dry_run"]) == 0
    printed = capsys.readouterr().out
    assert "stopped here" in printed
    for flag in flags:
        if flag.startswith("--"):
            assert f"  {flag.removeprefix('--')}: " in printed


def test_readme_shows_what_the_main_job_prints():
    """The lines of the output it shows are those that the recipe prints, in their order."""
    shown = README.split("as it printed:")[1].split("```")[1]
    firsts = [line.split()[0] for line in shown.strip().splitlines() if not line.startswith(" ")]
    expected = ["model", "text", "proved", "device", "budget", "step", "reloaded", "validation", "baselines"]
    assert [word for word in firsts if word in expected] == expected
    assert firsts[-1] == "model:"
