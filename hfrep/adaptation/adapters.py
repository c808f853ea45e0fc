"""Adapters: a small part is trained and saved, beside a base model that stays as it is (peft).

What a checkpoint does not have, the head and perhaps a pooler, is drawn at random when it is opened. Of it peft saves
only modules called ``classifier`` and ``score``; the rest would stay random, frozen and unsaved, and a reopened adapter
would compute something else. So all that is new goes into ``modules_to_save``.
"""

import dataclasses
import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from peft import LoraConfig, PeftConfig, PeftModel, PromptLearningConfig, TaskType, get_peft_model
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from hfrep.adaptation.adapter_methods import read_peft_config, refuse_combination
from hfrep.adaptation.adapter_targets import choose_targets
from hfrep.card import Card
from hfrep.card.files import write_card
from hfrep.errors import ConfigError
from hfrep.export import written_aside
from hfrep.fetching import HubName, commit_of, pinned
from hfrep.models.adapter_facts import AdapterFacts
from hfrep.models.adapter_files import method_of
from hfrep.models.base_weights import Weights
from hfrep.models.classifier import Classifier
from hfrep.models.named import is_whole, model_folder
from hfrep.models.quiet import quiet_library
from hfrep.models.stored import reason
from hfrep.settings import setting

SAVED_BY_PEFT = ("classifier", "score")
TRIED = 8  # tokens


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdapterSettings:
    lora_r: int = setting(8, "LoRA: rank of the change of a weight matrix")
    lora_alpha: int = setting(16, "LoRA: the change is scaled by this over the rank")
    lora_dropout: float = setting(0.0, "LoRA: share of its inputs dropped in training")
    lora_target_modules: list[str] | None = setting(
        None, "LoRA: names of modules, or ends of them; default: all linear layers of the blocks"
    )
    peft_config: str | None = setting(
        None, "JSON file of any method of peft (with peft_type, as in adapter_config.json), in place of these settings"
    )

    @property
    def digest(self) -> str:
        """Hex digest of what the file says; empty where there is none."""
        return "" if self.peft_config is None else hashlib.blake2b(Path(self.peft_config).read_bytes()).hexdigest()

    def __post_init__(self) -> None:
        for name, fits, expected in (
            ("lora_r", self.lora_r >= 1, "1 or more"),
            ("lora_alpha", self.lora_alpha >= 1, "1 or more"),
            ("lora_dropout", 0 <= self.lora_dropout < 1, "a share in [0, 1)"),
        ):
            if not fits:
                raise ConfigError(where=f"--{name}", expected=expected, found=f"{getattr(self, name)}", do="correct it")
        if self.peft_config is None:
            return
        for field in dataclasses.fields(self):
            if field.name.startswith("lora_") and getattr(self, field.name) != field.default:
                raise ConfigError(
                    where=f"--{field.name}",
                    expected="it in the file, where --peft_config is given",
                    found=f"{getattr(self, field.name)}",
                    do="leave one of the two out",
                )


def add_adapter(classifier: Classifier, settings: AdapterSettings, *, base: str) -> PeftModel:
    """The model of `classifier` with an adapter, in eval mode; only the adapter and what is new takes gradients.

    New weights come from torch's global generator. The model is changed in place.

    Args:
        base: the folder or Hub id that the model was opened from, which the saved adapter names.

    Raises:
        ConfigError: the method does not fit the model, or names modules that it does not have.
    """
    model = classifier.model
    config = _config(settings)
    refuse_combination(config, model)
    config.task_type, config.inference_mode = TaskType.SEQ_CLS, False
    config.base_model_name_or_path = config.revision = None
    kept = getattr(config, "modules_to_save", None) or []
    config.modules_to_save = [*([kept] if isinstance(kept, str) else kept), *classifier.new, *SAVED_BY_PEFT]
    choose_targets(config, model)
    if isinstance(config, PromptLearningConfig):
        _fill_sizes(config, model)
    model.name_or_path, revision = _for_peft(base)
    model.config._name_or_path = pinned(base if is_whole(base) else model.name_or_path)
    with quiet_library(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            adapted = get_peft_model(model, config, revision=revision).eval()
            _try(adapted)
        except Exception as error:  # each method of peft has its own ways to say that it does not fit
            raise ConfigError(
                where="the adapter",
                expected=f"a method that peft can add to {type(model).__name__}",
                found=f"{method_of(config)}, of which it says: {reason(error)}",
                do="correct the settings, or choose another, such as LORA",
            ) from error
    return adapted


def save_adapter(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    *,
    labels: Sequence[str] | None,
    card: Card,
) -> None:
    """Write a stock peft folder with tokenizer, card and labels to `folder`, replacing what was there.

    There is no config.json in it: beside an adapter_config.json it makes the auto classes fail.

    Args:
        labels: names of the classes in the order of their numbers; None for one number.

    Raises:
        CheckpointError: the base model is no longer where it was opened from.
    """
    config = model.peft_config[model.active_adapter]
    base = str(model.config._name_or_path)
    weights = Weights.of(model_folder(base))
    facts = AdapterFacts(None if labels is None else tuple(labels), base, weights)
    config.modules_to_save = sorted(set(config.modules_to_save))  # peft adds its own each time
    with written_aside(folder) as aside:
        # Embeddings are the base's own: left to itself, peft looks on the Hub whether they were resized.
        model.save_pretrained(str(aside), save_embedding_layers=False)
        tokenizer.save_pretrained(aside)
        facts.write(aside)
        write_card(card, aside)


def _config(settings: AdapterSettings) -> PeftConfig:
    if settings.peft_config is not None:
        return read_peft_config(Path(settings.peft_config))
    names = settings.lora_target_modules
    return LoraConfig(
        r=settings.lora_r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules="all-linear" if names is None or names == ["all-linear"] else names,
    )


def _for_peft(base: str) -> tuple[str, str | None]:
    """How an adapter names the model `base`, so that peft opens it from anywhere, and its commit.

    peft knows of no subfolders and of no adapters on adapters: these are named by the folder on this machine.
    """
    hub = None if Path(base).is_dir() else HubName.parse(base)
    if hub is None or hub.subfolder or not is_whole(base):
        return str(model_folder(base).resolve()), None
    return hub.repository, commit_of(base)


def _fill_sizes(config: PromptLearningConfig, model: PreTrainedModel) -> None:
    """Sizes that peft reads off a configuration's dictionary, where some kinds of models have other words for them.

    Prompts are as wide as the embeddings beside which they stand, which in some kinds are narrower than the layers.
    """
    in_layers = method_of(config) in ("PREFIX_TUNING", "CARTRIDGE")
    for field, size in (
        ("token_dim", model.config.hidden_size if in_layers else model.get_input_embeddings().weight.shape[1]),
        ("num_layers", model.config.num_hidden_layers),
        ("num_attention_heads", model.config.num_attention_heads),
    ):
        if getattr(config, field) is None:
            setattr(config, field, size)


def _try(model: PeftModel) -> None:
    """Some methods fail only in a forward pass."""
    token = 0 if model.config.pad_token_id else 1
    tokens = torch.full((1, TRIED), token, device=model.device)
    with torch.no_grad():
        model(input_ids=tokens, attention_mask=torch.ones_like(tokens))
