"""What the tree promises: one loop, imports that point one way, a README that says what is there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LIBRARY = sorted((ROOT / "hfrep").rglob("*.py"))
RECIPES = sorted((ROOT / "recipes").glob("*.py"))
# Each part may import itself and what stands before it.
LAYERS = [
    {"errors", "settings", "network", "fetching"},
    {"data", "models"},
    {"tasks", "objectives"},
    {"training", "adaptation", "evaluation", "export", "card", "reports"},
    {"hub", "publish"},
]


def calls(path):
    """Names of the methods that a file calls, as often as it does."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [
        node.func.attr for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    ]


def imported(path):
    """The parts of hfrep that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hfrep."):
            yield node.module.split(".")[1]


def test_there_is_one_loop():
    """A gradient is computed in one place of library and recipes, and no recipe steps an optimizer."""
    backward = [path.name for path in [*LIBRARY, *RECIPES] for call in calls(path) if call == "backward"]
    assert backward == ["step.py"]
    assert not [path.name for path in RECIPES if "zero_grad" in calls(path)]


def test_imports_point_one_way():
    """No file of a part imports a later part, and training knows no concrete objective."""
    level = {part: number for number, layer in enumerate(LAYERS) for part in layer}
    for path in LIBRARY:
        part = path.relative_to(ROOT / "hfrep").parts[0].removesuffix(".py")
        if part == "__init__":
            continue
        later = [other for other in imported(path) if level[other] > level[part]]
        assert not later, f"{path} imports {later}"
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "hfrep" / "training").rglob("*.py")]
    known = {name for source in sources for name in re.findall(r"hfrep\.objectives\.(\w+)", source)}
    assert known == {"base"}
    together = [path for path in (ROOT / "hfrep" / "evaluation").rglob("*.py") if "training" in imported(path)]
    assert not together


def test_recipes_hide_no_library():
    """A script's folder comes first on the path: no recipe has the name of a package that hfrep uses."""
    text = (ROOT / "pyproject.toml").read_text()
    packages = set(re.findall(r'^    "([a-z_]+)', text, re.MULTILINE))
    assert {"evaluate", "datasets"} <= packages
    assert not packages & {path.stem for path in RECIPES}


def test_readme_names_what_is_there():
    """Every path of the README's tree exists, and every recipe, part and folder has its line."""
    tree = README.split("## The tree")[1].split("```")[1]
    folder, named = ROOT, set()
    for line in filter(str.strip, tree.splitlines()):
        name = line.split()[0]
        if not line.startswith(" "):
            folder = ROOT / name
        path = folder if not line.startswith(" ") else folder / name
        assert path.exists(), path
        named.add(path)
    shown = [path for path in (ROOT / "hfrep").iterdir() if path.is_dir() and path.name != "__pycache__"]
    shown += [ROOT / name for name in ("hfrep", "recipes", "tokenizers", "benchmarks", "tests")]
    assert set(shown) <= named
    for recipe in RECIPES:
        assert f"**`recipes/{recipe.name}`**" in README


def test_readme_make_targets_exist():
    """What the README tells to make is in the Makefile."""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    told = re.findall(r"^make ([a-z-]+)", README, re.MULTILINE)
    assert {"mlm", "test"} <= set(told)
    assert set(told) <= set(targets)


def test_configs_are_ones_accelerate_reads():
    """Each launch configuration loads, and says in its first line how it is used."""
    from accelerate.commands.config.config_args import load_config_from_file

    files = sorted((ROOT / "recipes" / "configs").glob("*.yaml"))
    assert len(files) >= 4
    for file in files:
        assert f"recipes/configs/{file.name}" in file.read_text()
        assert load_config_from_file(str(file)).num_processes >= 1


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_says_what_it_is_for(path):
    """Each module opens with what it holds and why."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree) or not tree.body
