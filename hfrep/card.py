"""The model card: what was trained, on what, for how long, how well, and what was proved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

PROOFS = "## Proofs\n\n"


@dataclass(frozen=True, kw_only=True)
class Card:
    """The facts a card states.

    Attributes:
        metadata: Hub metadata for the YAML header (``library_name``, ``pipeline_tag`` …).
        title, summary: the heading and the sentence below it.
        usage: Python that opens the model with stock classes.
        training, results: tables of name and value.
        proofs: sentences on what was checked.
        examples: what the model does with a few inputs, as text.
        limits: what it should not be used for.
    """

    metadata: Mapping[str, Any]
    title: str
    summary: str
    usage: str
    training: Mapping[str, Any]
    results: Mapping[str, Any]
    proofs: Sequence[str]
    examples: Sequence[str] = field(default=())
    limits: str

    def __str__(self) -> str:
        parts = [
            f"---\n{yaml.safe_dump(dict(self.metadata), sort_keys=False).strip()}\n---",
            f"# {self.title}",
            self.summary,
            f"## Use\n\n```python\n{self.usage.strip()}\n```",
            f"## Training\n\n{_table(self.training)}",
            f"## Results\n\n{_table(self.results)}",
            PROOFS + "\n".join(f"- {proof}" for proof in self.proofs),
        ]
        if self.examples:
            parts.append("## Examples\n\n```\n" + "\n".join(self.examples) + "\n```")
        parts.append(f"## Limits\n\n{self.limits}")
        return "\n\n".join(parts) + "\n"


def pretrained_card(
    *,
    name: str,
    auto_class: str,
    pipeline_tag: str,
    corpora: Sequence[str],
    facts: Mapping[str, Any],
    metrics: Mapping[str, float],
    examples: Sequence[str],
) -> Card:
    """The card of a language model trained from raw text.

    Args:
        name: of the model, for the heading.
        auto_class, pipeline_tag: what opens it, and what the Hub shows it as.
        corpora: what it was trained on, as the user named them.
        facts: what the run told of itself, among them what was ``proved`` at its start.
        metrics: of the last evaluation.
    """
    proofs = [str(facts["proved"])] if "proved" in facts else []
    return Card(
        metadata={
            "library_name": "transformers",
            "pipeline_tag": pipeline_tag,
            "tags": ["hfrep"],
        },
        title=name,
        summary=f"A {pipeline_tag} model trained with hfrep on {', '.join(corpora)}.",
        usage=(
            f"from transformers import {auto_class}, AutoTokenizer\n\n"
            f'tokenizer = AutoTokenizer.from_pretrained(".")\n'
            f'model = {auto_class}.from_pretrained(".")\n'
        ),
        training={key: value for key, value in facts.items() if key != "proved"},
        results={key.removeprefix("eval_"): value for key, value in metrics.items()},
        proofs=proofs,
        examples=examples,
        limits="It knows what its corpus says and how it says it; it has not been checked for bias or for truth.",
    )


def add_proof(file: Path, proof: str) -> None:
    """Put a proof that came after the card into its `file`."""
    head, rest = file.read_text(encoding="utf-8").split(PROOFS, 1)
    gap = "" if rest.startswith("- ") else "\n"  # before the next heading, where it is the first one
    file.write_text(f"{head}{PROOFS}- {proof}\n{gap}{rest.lstrip()}", encoding="utf-8")


def _table(values: Mapping[str, Any]) -> str:
    rows = (f"| {name} | {_shown(value)} |" for name, value in values.items())
    return "\n".join(["| | |", "| --- | --- |", *rows])


def _shown(value: Any) -> str:
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return f"{value:.4f}" if isinstance(value, float) else text.replace("|", "\\|")
