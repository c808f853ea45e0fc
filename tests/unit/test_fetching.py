"""What a name means on this machine, with a cache as huggingface_hub lays it out and no network."""

import json

import pytest
from huggingface_hub import constants

from hfrep import fetching
from hfrep.data.tokenizer import load_tokenizer
from hfrep.errors import ConfigError
from hfrep.fetching import HubName, commit_of, fetched, pinned

FIRST, SECOND = "1" * 40, "2" * 40


@pytest.fixture(autouse=True)
def _anew(monkeypatch, tmp_path):
    """Each test has a cache of its own, and a folder that is its working directory."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def cached(root, repository, commit, files, *, refs=("main",), tree=None):
    """Lay `files` out as a snapshot of `repository`; with `tree`, all files of the repository are known."""
    storage = root / "cache" / f"models--{repository.replace('/', '--')}"
    for name in files:
        path = storage / "snapshots" / commit / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    for ref in refs:
        (storage / "refs" / ref).parent.mkdir(parents=True, exist_ok=True)
        (storage / "refs" / ref).write_text(commit)
    if tree is not None:
        (storage / "trees").mkdir()
        entries = {path: {"size": 2, "blob_id": "0" * 40} for path in tree}
        (storage / "trees" / f"{commit}.json").write_text(json.dumps({"format_version": 1, "files": entries}))
    return storage / "snapshots" / commit


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("gpt2", ("gpt2", "", None)),
        ("gpt2@main", ("gpt2", "", "main")),
        ("me/tiny", ("me/tiny", "", None)),
        ("me/tiny@step-500", ("me/tiny", "", "step-500")),
        ("me/tiny@refs/pr/4", ("me/tiny", "", "refs/pr/4")),
        ("me/adapters/cola/lora", ("me/adapters", "cola/lora", None)),
        (f"me/adapters/cola@{FIRST}", ("me/adapters", "cola", FIRST)),
        ("me/tiny-1.5_b", ("me/tiny-1.5_b", "", None)),
    ],
)
def test_names_of_the_hub(name, parts):
    """Repository, folder in it, revision; and back."""
    assert HubName.parse(name) == HubName(*parts)
    assert str(HubName(*parts)) == name


@pytest.mark.parametrize(
    "name", ["", "./x", "../x", "/x", "me/", "me//x", "me/tiny/", "me/tiny@", "a@b@c", "me/*", "me/../x", "~/x", "é/x"]
)
def test_other_strings_are_no_names(name):
    """Paths, and what holds signs that the Hub's names do not: told as a folder that is missing."""
    assert HubName.parse(name) is None
    if name:
        with pytest.raises(ConfigError) as told:
            fetched(name, where="--tokenizer", what="tokenizer")
        expected = f"expected a folder with a tokenizer, or a Hub id, found no folder {name}; correct the path."
        assert str(told.value) == f"--tokenizer: {expected}"


@pytest.mark.parametrize("name", ["me/a--b", "me/a..b", "me/x.git"])
def test_names_that_the_hub_does_not_allow(name):
    """They are told in the same way, before anything is asked."""
    with pytest.raises(ConfigError, match=f"found no folder {name}; correct the path"):
        fetched(name)


def test_a_folder_is_itself_and_hides_the_hub(tmp_path):
    """A folder called as a repository is taken, with an @ too; it has no commit, and is pinned by its whole path."""
    cached(tmp_path, "me/tiny", FIRST, ["config.json"])
    for name in ("me/tiny", "odd@name"):
        (tmp_path / "here" / name).mkdir(parents=True)
        assert str(fetched(name)) == name
        assert commit_of(name) is None
        assert pinned(name) == str(tmp_path / "here" / name)


def test_revisions_and_subfolders_in_the_cache(tmp_path):
    """Each revision has its folder, also by its commit; a subfolder is one in it; pinned, a name keeps its meaning."""
    first = cached(tmp_path, "me/tiny", FIRST, ["config.json", "cola/lora/adapter_config.json"])
    second = cached(tmp_path, "me/tiny", SECOND, ["config.json"], refs=("step-500", "refs/pr/4"))
    for name, folder, commit in [
        ("me/tiny", first, FIRST),
        ("me/tiny@main", first, FIRST),
        ("me/tiny@step-500", second, SECOND),
        ("me/tiny@refs/pr/4", second, SECOND),
        (f"me/tiny@{SECOND}", second, SECOND),
        ("me/tiny/cola/lora", first / "cola" / "lora", FIRST),
    ]:
        assert fetched(name) == folder
        assert commit_of(name) == commit
        assert pinned(name) == f"{name.partition('@')[0]}@{commit}"
        assert fetched(pinned(name)) == folder


def test_a_name_means_the_same_as_long_as_a_process_lives(tmp_path):
    """A branch that moves between tokenizer and weights does not mix two models."""
    first = cached(tmp_path, "me/tiny", FIRST, ["config.json", "tokenizer.json"])
    assert fetched("me/tiny", weights=False) == first
    cached(tmp_path, "me/tiny", SECOND, ["config.json", "model.safetensors"])
    assert fetched("me/tiny") == first
    assert commit_of("me/tiny") == FIRST


@pytest.mark.parametrize("name", ["me/other", "me/tiny@nope", f"me/tiny@{'3' * 40}", "runs/mlm/model"])
def test_what_is_not_in_the_cache(tmp_path, name):
    """Another repository, an unknown revision or commit, and a path that is not there, which could be a repository."""
    cached(tmp_path, "me/tiny", FIRST, ["config.json"])
    with pytest.raises(ConfigError) as told:
        fetched(name)
    assert str(told.value) == (
        "--model_name_or_path: expected a folder, or a Hub id that can be fetched or is in the cache, found "
        f"{name!r}, which is no folder here and not in the cache, and the Hub out of reach; correct the path, or fetch "
        "the model while there is a network."
    )


@pytest.mark.parametrize("below", ["", "/sub"])
def test_what_is_in_the_cache_in_part(tmp_path, below):
    """Where only the tokenizer was fetched it is all that opens; which files there are is known."""
    files = [f"{below}/{name}".removeprefix("/") for name in ("config.json", "tokenizer.json", "model.safetensors")]
    folder = cached(tmp_path, "me/tiny", FIRST, files[:2], tree=files)
    assert fetched(f"me/tiny{below}", weights=False) == folder / below.removeprefix("/")
    with pytest.raises(ConfigError, match=f"'me/tiny{below}', which is no folder here and only in part in the cache"):
        fetched(f"me/tiny{below}")


def test_a_tokenizer_needs_no_weights(tmp_path, wordpiece):
    """Of a large model only a few files are fetched for it; it is called as the user called it."""
    wordpiece.save_pretrained(tmp_path / "saved")
    names = [path.name for path in (tmp_path / "saved").iterdir()]
    folder = cached(tmp_path, "me/tiny", FIRST, names, tree=[*names, "model.safetensors"])
    wordpiece.save_pretrained(folder)
    opened = load_tokenizer("me/tiny@main")
    assert opened.get_vocab() == wordpiece.get_vocab()
    assert opened.name_or_path == "me/tiny@main"


def test_what_is_not_needed_is_not_missed(tmp_path):
    """Older formats beside newer ones, checkpoints, other frameworks' files and other folders are left alone."""
    files = ["config.json", "model.safetensors", "model.safetensors.index.json", "tokenizer.json", "vocab.txt"]
    others = ["pytorch_model.bin", "model.fp16.safetensors", "onnx/config.json", "checkpoint-5/model.safetensors"]
    folder = cached(tmp_path, "me/tiny", FIRST, files, tree=[*files, *others, "README.md", "optimizer.pt"])
    assert fetched("me/tiny") == folder
    with pytest.raises(ConfigError, match="only in part"):
        fetched("me/tiny/onnx")


@pytest.mark.parametrize("weights", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "adapter_model.bin"])
def test_older_formats_are_needed_where_there_is_no_other(tmp_path, weights):
    """They are missed where they are all there is."""
    cached(tmp_path, "me/tiny", FIRST, ["config.json"], tree=["config.json", weights, "sub/model.safetensors"])
    with pytest.raises(ConfigError, match="only in part"):
        fetched("me/tiny")


@pytest.mark.parametrize("tree", [True, False])
def test_a_folder_without_a_model_is_told_with_those_that_have_one(tmp_path, tree):
    """The nearest name first; known from what is listed, or from what is there."""
    files = ["cola/lora/adapter_config.json", "cola/full/config.json", "sst2/lora/adapter_config.json", "notes/a.json"]
    cached(tmp_path, "me/all", FIRST, files, tree=files if tree else None)
    with pytest.raises(ConfigError) as told:
        fetched("me/all/cola/lorra@main", what="tokenizer")
    assert str(told.value) == (
        "--model_name_or_path: expected a tokenizer in me/all/cola/lorra@main, found none; give me/all/cola/lora@main, "
        "me/all/cola/full@main, me/all/sst2/lora@main."
    )
    with pytest.raises(ConfigError, match="expected a model in me/all, found none; give me/all/"):
        fetched("me/all")


def test_a_repository_without_any_model(tmp_path):
    """There is nothing to give instead."""
    cached(tmp_path, "me/data", FIRST, ["notes.json"])
    with pytest.raises(ConfigError, match="expected a model in me/data, found none; name another repository"):
        fetched("me/data")


def test_many_folders_are_told_in_few_words(tmp_path):
    """A sentence names the nearest and counts the rest."""
    cached(tmp_path, "me/all", FIRST, [f"{number}/config.json" for number in range(20)])
    with pytest.raises(ConfigError, match=r"give (me/all/\d+, ){7}me/all/\d+ or 12 others\."):
        fetched("me/all/x")


def test_nothing_is_asked_twice(tmp_path, monkeypatch):
    """What was found once is not looked for again."""
    cached(tmp_path, "me/tiny", FIRST, ["config.json"])
    folder = fetched("me/tiny")
    monkeypatch.setattr(fetching, "snapshot_download", lambda *given, **more: pytest.fail("asked again"))
    assert fetched("me/tiny") == folder
