"""A task that is learnt in seconds, as files, and a small pretrained model for it."""

import json
import random

from conftest import WORDS, sentences
from micros import micro

GARDEN = ("river", "garden", "mountain", "boat")


def write_task(folder, *, rows=(96, 48), pairs=False, regression=False):
    """``train.jsonl`` and ``validation.jsonl``: does a sentence speak of the garden, or how many words are of it?"""
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(0)
    for name, number in zip(("train", "validation"), rows, strict=True):
        with open(folder / f"{name}.jsonl", "w", encoding="utf-8") as file:
            for sentence in sentences(number, seed=number):
                words = [word for word in sentence.split() if word not in GARDEN]
                count = draw.randint(0, 3) if regression else 3 * draw.randint(0, 1)
                for _ in range(count):
                    words.insert(draw.randrange(len(words)), draw.choice(GARDEN))
                label = float(count) if regression else ("house", "garden")[count > 0]
                row = {"first": " ".join(words), "label": label}
                if pairs:
                    row["second"] = draw.choice(WORDS)
                file.write(json.dumps(row) + "\n")
    return folder


def write_model(folder, tokenizer, name="bert-micro"):
    micro(name, tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
