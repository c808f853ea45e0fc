"""Train, load and check subword tokenizers: WordPiece, byte-level BPE, Unigram.

WordPiece is BERT's (Devlin et al. 2019), byte-level BPE is GPT-2's (Radford et al. 2019) with RoBERTa's special tokens,
so that it serves encoders and decoders, Unigram is SentencePiece's (Kudo 2018). Pad is a token of its own always: where
it is also the end token, a model never learns to end.

Documents may say "[MASK]" or "<s>" themselves. `encode_documents` keeps that as ordinary text; the library's default
turns it into the special token.

The library's WordPiece trainer numbers the ``##x`` pieces in the order of a hash map, so that two runs give two
vocabularies. Here the alphabet is chosen and numbered before training; training the same text again then gives the
same file, byte for byte. The same holds for BPE as it is. It does not for Unigram, whose trainer adds floats in hash
order; the result is saved, so what is trained with it is repeatable all the same.
"""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tokenizers import (
    AddedToken,
    Encoding,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from hfrep.errors import ConfigError, DataError, ProofError
from hfrep.fetching import fetched
from hfrep.models.adapter_facts import base_name, is_adapter
from hfrep.settings import setting

Documents = Callable[[], Iterable[str]]

VOCABULARY_STEP = 64  # matrix kernels like multiples
ALPHABET = 500  # characters of a WordPiece vocabulary; each costs two pieces
BERT_TOKENS = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
ROBERTA_TOKENS = {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>", "mask": "<mask>"}
LONGEST_READ = 100_000  # characters the library is given at a time: it takes a hundred bytes for each
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model")


@dataclass(frozen=True, kw_only=True)
class TokenizerSettings:
    algorithm: Literal["wordpiece", "bpe", "unigram"] = setting("wordpiece", "wordpiece, byte-level bpe, or unigram")
    vocab_size: int = setting(8192, f"tokens, special ones included; a multiple of {VOCABULARY_STEP} is fastest")
    any_vocab_size: bool = setting(False, f"allow a --vocab_size that is no multiple of {VOCABULARY_STEP}")
    lowercase: bool | None = setting(None, "fold case and strip accents; default: only for wordpiece")
    model_max_length: int = setting(512, "tokens, the longest input the tokenizer calls valid")

    def __post_init__(self) -> None:
        uneven = self.vocab_size % VOCABULARY_STEP and not self.any_vocab_size
        if self.vocab_size < VOCABULARY_STEP or uneven:
            raise ConfigError(
                where="vocab_size",
                expected=f"a positive multiple of {VOCABULARY_STEP}, which matrix kernels like",
                found=str(self.vocab_size),
                do=f"give {max(1, round(self.vocab_size / VOCABULARY_STEP)) * VOCABULARY_STEP}"
                + (", or add --any_vocab_size" if self.vocab_size > VOCABULARY_STEP else ""),
            )
        if self.model_max_length < 1:
            found = str(self.model_max_length)
            raise ConfigError(where="model_max_length", expected="1 or more", found=found, do="raise it")


def train_tokenizer(documents: Documents, settings: TokenizerSettings) -> PreTrainedTokenizerFast:
    """A tokenizer of the requested size, trained in bounded memory; `documents()` begins a pass over the text.

    Raises:
        DataError: the text has too few words for such a vocabulary.
    """
    lowercase = settings.algorithm == "wordpiece" if settings.lowercase is None else settings.lowercase
    train = {"wordpiece": _train_wordpiece, "bpe": _train_bpe, "unigram": _train_unigram}[settings.algorithm]
    backend = train(documents, settings.vocab_size, lowercase)
    trained = backend.get_vocab_size()
    if trained > settings.vocab_size:
        raise DataError(
            where="training a tokenizer",
            expected="a vocabulary with room for its special tokens and single characters",
            found=f"{settings.vocab_size:,} tokens, where these alone take {trained:,}",
            do=f"give --vocab_size {-(-trained // VOCABULARY_STEP) * VOCABULARY_STEP} or more",
        )
    if trained < settings.vocab_size:
        raise DataError(
            where="training a tokenizer",
            expected=f"text with enough different words for {settings.vocab_size:,} tokens",
            found=f"enough for {trained:,}",
            do="give more text or a smaller --vocab_size",
        )
    names = dict(BERT_TOKENS) if settings.algorithm == "wordpiece" else dict(ROBERTA_TOKENS)
    names.setdefault("cls", names.get("bos", ""))
    names.setdefault("sep", names.get("eos", ""))
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=settings.model_max_length,
        padding_side="right",
        clean_up_tokenization_spaces=False,
        **{f"{name}_token": token for name, token in names.items()},
    )


def encode_documents(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], *, special: bool = False
) -> list[Encoding]:
    """Encode without special tokens, truncation or padding.

    Special tokens that the text spells out stay text, or with `special` are such.
    """
    backend = tokenizer.backend_tokenizer
    before = backend.encode_special_tokens
    backend.encode_special_tokens = not special
    backend.no_truncation()
    backend.no_padding()
    try:
        encodings: list[Encoding] = backend.encode_batch(list(texts), add_special_tokens=False)
    finally:
        backend.encode_special_tokens = before
    return encodings


def load_tokenizer(name_or_path: str, *, own_pad: bool = True) -> PreTrainedTokenizerFast:
    """The tokenizer in a folder or on the Hub; of an adapter that has none, its base's.

    Args:
        own_pad: refuse one without a pad token of its own, from which a model cannot learn to end. Whoever only scores
            masks the padding out and needs none.

    Raises:
        ConfigError, HubError: it is not there, and cannot be fetched.
        DataError: there is none in it, or none that opens, or it has no pad token of its own.
    """
    where = f"tokenizer {name_or_path}"
    folder = fetched(name_or_path, where=where, what="tokenizer", weights=False)
    if is_adapter(folder) and not has_tokenizer(folder):
        folder = fetched(base_name(folder), where=where, what="tokenizer", weights=False)
    if not has_tokenizer(folder):
        # The library would give an empty tokenizer of five tokens, without an error.
        found = ", ".join(sorted(path.name for path in folder.iterdir())[:5]) or "nothing"
        raise _no_tokenizer(name_or_path, "tokenizer.json or vocabulary files", found, "name the right folder")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # on a damaged file the library underneath raises nothing narrower
        found = f"{type(error).__name__}: {error}".splitlines()[0]
        raise _no_tokenizer(name_or_path, "a tokenizer that opens", found, "save it again") from error
    tokenizer.name_or_path = name_or_path
    for name in ("is_local", "local_files_only"):  # how it was opened here, which the library would save with it
        tokenizer.init_kwargs.pop(name, None)
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        found = type(tokenizer).__name__
        raise _no_tokenizer(name_or_path, "a fast tokenizer (tokenizer.json)", found, "convert it") from None
    if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):
        # What the library makes up for a folder or a repository that has settings but no vocabulary (D12).
        raise _no_tokenizer(
            name_or_path, "a vocabulary", "special tokens only", "save the tokenizer again, or name another"
        )
    others = {getattr(tokenizer, f"{name}_token_id") for name in ("unk", "bos", "eos", "cls", "sep", "mask")}
    if own_pad and tokenizer.pad_token_id in others | {None}:
        found = f"{tokenizer.pad_token!r}" if tokenizer.pad_token else "none"
        raise _no_tokenizer(
            name_or_path, "a pad token of its own", found, "add one with add_special_tokens and save it"
        )
    return tokenizer


def has_tokenizer(folder: Path) -> bool:
    """Whether `folder` holds a tokenizer's files."""
    return any((folder / name).exists() for name in TOKENIZER_FILES)


def tokenizer_hash(tokenizer: PreTrainedTokenizerFast) -> str:
    """Hex digest of what decides the ids of a text, whatever padding and truncation the last call left set."""
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_padding()
    backend.no_truncation()
    special = sorted((name, str(token)) for name, token in tokenizer.special_tokens_map.items())
    return hashlib.sha256(f"{backend.to_str()}{special}".encode()).hexdigest()[:32]


@dataclass(frozen=True)
class TokenizerReport:
    """What a trained tokenizer was shown to do.

    Attributes:
        fertility: tokens per white-space word.
        exact: whether decoding gives back every byte; otherwise it does up to case, accents and spaces.
        unknown_share: share of unknown tokens in the sample.
    """

    fertility: float
    exact: bool
    unknown_share: float

    def __str__(self) -> str:
        trip = "exact" if self.exact else "exact up to case, accents and spaces"
        return f"{self.fertility:.3f} tokens per word, {self.unknown_share:.3%} unknown, round trip {trip}"


UNSEEN = ("".join(map(chr, range(256))), "日本語 и ελληνικά 🦄 ﷽ \u200d")


def prove_tokenizer(tokenizer: PreTrainedTokenizerFast, sample: Sequence[str]) -> TokenizerReport:
    """Check round trips, unknown tokens and special tokens on `sample` and on characters not seen in training.

    Raises:
        ProofError: one of them does not hold.
    """
    _prove_special_tokens(tokenizer)
    bytewise = isinstance(tokenizer.backend_tokenizer.pre_tokenizer, pre_tokenizers.ByteLevel)
    texts = [*sample, *UNSEEN] if bytewise else list(sample)
    encodings = encode_documents(tokenizer, texts)
    tokens = sum(len(encoding.ids) for encoding in encodings)
    unknown = sum(encoding.ids.count(tokenizer.unk_token_id) for encoding in encodings)
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    for text, encoding in zip(texts, encodings, strict=True):
        if special.intersection(encoding.ids):
            raise _not_proved("text never to become a special token", f"one in {text[:40]!r}")
        back = tokenizer.decode(encoding.ids)
        if bytewise and back != text:
            raise _not_proved("decoding to give the text back", f"{back[:40]!r} for {text[:40]!r}")
        lossless = tokenizer.unk_token_id not in encoding.ids
        if not bytewise and lossless and _folded(back) != _folded(text):
            raise _not_proved("decoding to give the text back up to case and spaces", f"{back[:40]!r}")
    if bytewise and unknown:
        raise _not_proved("no unknown token on any bytes", f"{unknown}")
    words = sum(len(text.split()) for text in sample)
    return TokenizerReport(tokens / max(1, words), bytewise, unknown / max(1, tokens))


def _prove_special_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = {name: getattr(tokenizer, f"{name}_token_id") for name in BERT_TOKENS}
    missing = [name for name, number in ids.items() if number is None]
    if missing:
        raise _not_proved("pad, unk, cls, sep and mask tokens", f"no {' and no '.join(missing)}")
    if len({*ids.values(), tokenizer.eos_token_id} - {None}) < len(ids):
        raise _not_proved("special tokens that differ", f"{ids}")
    for name, number in ids.items():
        found = tokenizer(getattr(tokenizer, f"{name}_token"), add_special_tokens=False).input_ids
        if found != [number]:
            raise _not_proved(f"the {name} token to be one id, {number}", f"{found}")


def _train_wordpiece(documents: Documents, size: int, lowercase: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]", continuing_subword_prefix="##"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    counts: Counter[str] = Counter()
    for document in _readable(documents):
        counts.update(tokenizer.normalizer.normalize_str(document))
    ranked = sorted((sign for sign in counts if not sign.isspace()), key=lambda sign: (-counts[sign], sign))
    alphabet = sorted(ranked[: min(ALPHABET, size // 4)])
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        # Named as special, the pieces of one character are numbered before training, not in the order of a hash map.
        special_tokens=[*BERT_TOKENS.values(), *alphabet, *(f"##{sign}" for sign in alphabet)],
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        continuing_subword_prefix="##",
        show_progress=False,
    )
    tokenizer.train_from_iterator(_readable(documents), trainer)
    vocabulary = tokenizer.get_vocab()
    trained = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    trained.normalizer, trained.pre_tokenizer = tokenizer.normalizer, tokenizer.pre_tokenizer
    trained.add_special_tokens(list(BERT_TOKENS.values()))
    trained.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
    )
    trained.decoder = decoders.WordPiece()
    return trained


def _train_bpe(documents: Documents, size: int, lowercase: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    if lowercase:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=_roberta_tokens(),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),  # all 256 bytes, so that nothing is unknown
        show_progress=False,
    )
    tokenizer.train_from_iterator(_readable(documents), trainer)
    tokenizer.post_processor = _roberta_frame()
    return tokenizer


def _train_unigram(documents: Documents, size: int, lowercase: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    folding = [normalizers.Lowercase()] if lowercase else []
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), *folding])
    # Signs stand alone, so that "<s>" in a text cannot be read as the piece of that name.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()])
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=size, special_tokens=_roberta_tokens(), unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(_readable(documents), trainer)
    tokenizer.post_processor = _roberta_frame()
    return tokenizer


def _readable(documents: Documents) -> Iterator[str]:
    """One pass over the text, with long documents cut before a blank, so that a file in one piece fits in memory."""
    for document in documents():
        while len(document) > LONGEST_READ:
            blank = re.compile(r"(?<=\S)\s").search(document, LONGEST_READ)
            cut = blank.start() if blank else len(document)
            yield document[:cut]
            document = document[cut:]
        yield document


def _roberta_tokens() -> list[str | AddedToken]:
    """In the order of their ids 0 to 4; the mask takes the blank before it, as a word does."""
    *others, mask = ROBERTA_TOKENS.values()
    return [*others, AddedToken(mask, lstrip=True, normalized=False, special=True)]


def _roberta_frame() -> processors.TemplateProcessing:
    return processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )


def _folded(text: str) -> str:
    """What is left of a text without case, accents and spaces."""
    plain = unicodedata.normalize("NFKD", text.lower())
    return "".join(sign for sign in plain if not sign.isspace() and unicodedata.category(sign)[0] not in "MC")


def _no_tokenizer(name: str, expected: str, found: str, do: str) -> DataError:
    return DataError(where=f"tokenizer {name}", expected=expected, found=found, do=do)


def _not_proved(expected: str, found: str) -> ProofError:
    return ProofError(where="the trained tokenizer", expected=expected, found=found, do="report this with the text")
