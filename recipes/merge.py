"""Merge an adapter into its base model: one stock model, which opens without peft and without the base.

    python recipes/merge.py --adapter runs/glue/mrpc/lora/seed-0/adapter --output_dir runs/merged
    python recipes/merge.py --adapter my_adapter --base moved/model --output_dir runs/merged

The weights are merged in float32. What the merged model computes for a few sentences is compared with what the adapter
computes, and the largest difference printed; then it is reopened in a process without hfrep and compared once more.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from hfrep.adaptation.adapter_files import open_adapter
from hfrep.adaptation.merging import merge
from hfrep.adaptation.saved import CLASS_USAGE
from hfrep.card import Card
from hfrep.errors import ConfigError, told_in_one_sentence
from hfrep.export import Reopening, export, prove_reload
from hfrep.models.isolation import longest_document
from hfrep.settings import parse, setting, writable_folder
from hfrep.training.launch import ThreadSettings, start_alone

SENTENCES = (
    "The committee will meet again on Thursday.",
    "Nobody expected the second half to be any better than the first, and yet it was.",
    "What a waste of a good evening!",
    "The price rose by 3.5 percent, to $12.40 a share, after the company raised its forecast for the year.",
)
LENGTH = 32  # tokens at most


@dataclass(frozen=True, kw_only=True)
class MergeSettings:
    adapter: str = setting("", "folder of the adapter")
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


GROUPS = (MergeSettings, ThreadSettings)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the recipe; returns the status to exit with."""
    settings, threads = parse(*GROUPS, argv=argv, description=__doc__)
    device = start_alone(threads)
    model, tokenizer = open_adapter(Path(settings.adapter), settings.base)
    config = model.peft_config[model.active_adapter]
    folder = _target(settings, str(config.base_model_name_or_path))
    print(f"adapter    {settings.adapter}: {config.peft_type.value}")
    print(f"base       {config.base_model_name_or_path}", flush=True)

    length = min(LENGTH, longest_document(model.config) or LENGTH)
    encoded = tokenizer(list(SENTENCES), padding=True, truncation=True, max_length=length, return_tensors="pt").to(
        device
    )
    inputs = {name: encoded[name] for name in ("input_ids", "attention_mask")}
    merged, difference = merge(model.to(device), inputs)

    card = Card(
        metadata={"library_name": "transformers", "pipeline_tag": "text-classification", "tags": ["hfrep"]},
        title=folder.resolve().parent.name,
        summary="A text classifier: an adapter merged into its base model.",
        usage=CLASS_USAGE,
        training={
            "adapter": settings.adapter,
            "method": config.peft_type.value,
            "base": config.base_model_name_or_path,
        },
        results={"largest difference of logits": f"{difference:.2g}"},
        proofs=[f"compared with the adapter on {len(SENTENCES)} sentences, in float32"],
        limits="Those of the adapter and its base model.",
    )
    export(merged, tokenizer, folder, str(card))
    with torch.inference_mode():
        logits = merged(**inputs).logits.float().cpu().numpy()
    arrays = {name: part.cpu().numpy() for name, part in inputs.items()}
    probe = Reopening(folder, CLASS_USAGE, arrays, logits, SENTENCES[:1], tokenizer(SENTENCES[0])["input_ids"]).write()
    (opened,) = prove_reload([probe])
    print(f"reloaded   {opened}")
    print(f"difference {difference:.2g} at most between logits, on {len(SENTENCES)} sentences")
    print(f"model      {folder}")
    return 0


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
