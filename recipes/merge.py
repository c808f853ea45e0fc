"""Merge an adapter into its base model: one stock model, which opens without peft and without the base.

    python recipes/merge.py --adapter runs/glue/mrpc/lora/seed-0/adapter --output_dir runs/merged
    python recipes/merge.py --adapter me/adapters/mrpc/lora@main --output_dir runs/merged
    python recipes/merge.py --adapter my_adapter --base moved/model --output_dir runs/merged

An adapter is a folder or a Hub id, of this package or of another, for a classifier or a language model.

The weights are merged in float32. What the merged model computes for a few sentences is compared with what the adapter
computes, and the largest difference printed; then it is reopened in a process without hfrep and compared once more.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel

from hfrep.card import Base, Card, Usage
from hfrep.card.private import without_paths
from hfrep.errors import ConfigError, told_in_one_sentence
from hfrep.export import Reopening, export, prove_reload
from hfrep.fetching import fetched, pinned
from hfrep.hub.plan import Plan
from hfrep.hub.sending import push
from hfrep.hub.settings import PushSettings
from hfrep.models.adapter_files import open_adapter
from hfrep.models.isolation import longest_document
from hfrep.models.language_model import CAUSAL, MASKED
from hfrep.models.merging import merge
from hfrep.settings import parse, setting, writable_folder
from hfrep.training.launch import ThreadSettings, start_alone

SENTENCES = (
    "The committee will meet again on Thursday.",
    "Nobody expected the second half to be any better than the first, and yet it was.",
    "What a waste of a good evening!",
    "The price rose by 3.5 percent, to $12.40 a share, after the company raised its forecast for the year.",
)
LENGTH = 32  # tokens at most
USAGE = """
tokenizer = AutoTokenizer.from_pretrained($here)
model = {}.from_pretrained($here)
"""


@dataclass(frozen=True, kw_only=True)
class MergeSettings:
    adapter: str = setting("", "the adapter: a folder or a Hub id")
    base: str | None = setting(
        None,
        "its base model: a folder or a Hub id; default: where the adapter says, or any below runs of equal weights",
    )
    output_dir: str = setting(
        "runs/merged", "folder for the merged model, which goes into model/ there", kind="operation"
    )

    def __post_init__(self) -> None:
        if not self.adapter:
            raise ConfigError(where="--adapter", expected="the folder of an adapter", found="none", do="give --adapter")


GROUPS = (MergeSettings, PushSettings, ThreadSettings)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the recipe; returns the status to exit with."""
    settings, hub, threads = parse(*GROUPS, argv=argv, description=__doc__)
    device = start_alone(threads)
    plan = Plan.of(hub, Path(settings.output_dir)) if hub.push_to_hub else None
    adapter = fetched(settings.adapter, where="--adapter", what="adapter")
    model, tokenizer = open_adapter(adapter, settings.base, name=settings.adapter)
    config = model.peft_config[model.active_adapter]
    auto_class, pipeline_tag, kind = _kind(model.get_base_model())
    here = Path(settings.adapter).is_dir()
    base = str(model.config._name_or_path)
    folder = _target(settings, base)
    print(f"adapter    {settings.adapter}: {config.peft_type.value}")
    print(f"base       {base}", flush=True)

    length = min(LENGTH, longest_document(model.config) or LENGTH)
    sentences = list(SENTENCES if tokenizer.pad_token else SENTENCES[:1])
    encoded = tokenizer(
        sentences, padding=len(sentences) > 1, truncation=True, max_length=length, return_tensors="pt"
    ).to(device)
    inputs = {name: encoded[name] for name in ("input_ids", "attention_mask")}
    merged, difference = merge(model.to(device), inputs)

    card = Card(
        title=folder.resolve().parent.name,
        summary=f"{kind}: an adapter merged into its base model.",
        library_name="transformers",
        pipeline_tag=pipeline_tag,
        tags=["hfrep", "merged", config.peft_type.value.lower()],
        usages=[Usage([f"from transformers import {auto_class}, AutoTokenizer"], USAGE.format(auto_class))],
        base=Base.named(base),
        training=without_paths(
            {
                "adapter": settings.adapter if here else pinned(settings.adapter),  # a branch may move
                "method": config.peft_type.value,
            }
        ),
        proofs=[
            f"logits differ by {difference:.2g} at most from the adapter's, on {len(sentences)} sentences, in float32"
        ],
        limits="Those of the adapter and its base model.",
    )
    export(merged, tokenizer, folder, card)
    with torch.inference_mode():
        logits = merged(**inputs).logits.float().cpu().numpy()
    arrays = {name: part.cpu().numpy() for name, part in inputs.items()}
    ids = tokenizer(SENTENCES[0])["input_ids"]
    probe = Reopening(folder, card.snippets(), arrays, logits, SENTENCES[:1], ids).write()
    (opened,) = prove_reload([probe])
    print(f"reloaded   {opened}")
    print(f"difference {difference:.2g} at most between logits, on {len(sentences)} sentences")
    print(f"model      {folder}", flush=True)
    if plan is not None:
        push(Path(settings.output_dir), hub, plan, strict=hub.hub_strict)
    return 0


def _kind(model: PreTrainedModel) -> tuple[str, str, str]:
    """What opens a model, what the Hub shows it as, and what it is in words."""
    name = type(model).__name__
    if name in MASKED:
        return "AutoModelForMaskedLM", "fill-mask", "A masked language model"
    if name in CAUSAL:
        return "AutoModelForCausalLM", "text-generation", "A causal language model"
    if "SequenceClassification" in name:
        named = {number: label for number, label in model.config.id2label.items() if label != f"LABEL_{number}"}
        told = f" ({', '.join(f'{number} = {label}' for number, label in sorted(named.items()))})" if named else ""
        return "AutoModelForSequenceClassification", "text-classification", f"A text classifier{told}"
    raise ConfigError(
        where="--adapter",
        expected="an adapter of a classifier or a language model",
        found=f"one of {name}, which computes no logits",
        do="give it as --model_name_or_path, where it is merged for the while",
    )


def _target(settings: MergeSettings, base: str) -> Path:
    """The folder that is replaced by the merged model: neither the adapter, nor its base, nor the model of a run."""
    folder = writable_folder(settings.output_dir)
    kept = [Path(name).resolve() for name in (settings.adapter, base)]
    if (folder / "run.json").exists() or any((folder / "model").resolve() in (one, *one.parents) for one in kept):
        raise ConfigError(
            where="--output_dir",
            expected="a folder whose model/ may be replaced",
            found=f"{folder}, which holds a run, the adapter or its base",
            do="name another",
        )
    return folder / "model"


if __name__ == "__main__":
    with told_in_one_sentence():
        sys.exit(main())
