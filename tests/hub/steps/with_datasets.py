"""The ``datasets`` library."""

from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict, load_dataset
from datasets.exceptions import DatasetNotFoundError

from hub.accounts import OTHER_TOKEN
from hub.client import LocalHub

ROWS = Dataset.from_dict({"text": [f"sentence {number}" for number in range(100)], "label": [0, 1] * 50})


def pushed(hub: LocalHub, folder: Path) -> None:
    """A set of splits comes back the same, whole and as a stream, and at an older revision."""
    splits = DatasetDict({"train": ROWS, "test": ROWS.select(range(10))})
    splits.push_to_hub("me/pushed")
    files = {file["rfilename"]: "lfs" in file for file in hub.info("me/pushed", repo_type="dataset")["siblings"]}
    assert files["data/train-00000-of-00001.parquet"]
    first = hub.refs("me/pushed", repo_type="dataset")["branches"]["main"]
    ROWS.select(range(5)).push_to_hub("me/pushed", split="test")

    loaded = load_dataset("me/pushed")
    assert loaded["train"].to_dict() == ROWS.to_dict()
    assert loaded["test"].num_rows == 5
    assert load_dataset("me/pushed", split="test", revision=first).num_rows == 10
    assert list(load_dataset("me/pushed", split="train", streaming=True)) == list(ROWS)


def files_of_text(hub: LocalHub, folder: Path) -> None:
    """Plain files are a data set too."""
    hub.create("me/text", "dataset")
    hub.commit("me/text", {"train.jsonl": b'{"text": "one"}\n{"text": "two"}\n'}, repo_type="dataset")
    assert load_dataset("me/text", split="train")["text"][:] == ["one", "two"]
    streamed = load_dataset("me/text", split="train", streaming=True)
    assert [row["text"] for row in streamed] == ["one", "two"]


def private(hub: LocalHub, folder: Path) -> None:
    """A private data set is not there for others."""
    ROWS.push_to_hub("me/private", private=True)
    assert hub.info("me/private", repo_type="dataset")["private"]
    with pytest.raises(DatasetNotFoundError):
        load_dataset("me/private", token=OTHER_TOKEN)
