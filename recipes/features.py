"""Vectors of texts, from any layer of any stock model, for use elsewhere.

    python recipes/features.py --model_name_or_path runs/mlm/model --texts sentences.txt --output_file vectors.npy
    python recipes/features.py --model_name_or_path runs/clm/model --texts reviews.jsonl --text_column review \
        --pooling last --layer -2 --output_file vectors.parquet

A .txt has a text a line; .jsonl, .csv and .parquet have them in a column. An .npy holds float32 [texts, width], or
[texts, layers, width] with --layer all; a .parquet has a row for each text, with the text and a list for each layer.
"""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from transformers import AutoModel

from hfrep.adaptation.source import SourceSettings
from hfrep.data import local
from hfrep.data.examples import encode
from hfrep.errors import ConfigError, DataError, told_in_one_sentence
from hfrep.models.classifier import require_text_body
from hfrep.models.features import chosen_layers, features_of, module_hash
from hfrep.models.named import load_with_new_head
from hfrep.settings import parse, setting, writable_folder
from hfrep.training.launch import ThreadSettings, start_alone

ENDINGS = (".npy", ".parquet")


@dataclass(frozen=True, kw_only=True)
class FeatureFileSettings:
    texts: str = setting("", "file or folder of texts: .txt (one a line), .jsonl, .csv, .parquet")
    text_column: str = setting("text", "column of .jsonl, .csv and .parquet that holds the text")
    pooling: Literal["cls", "mean", "last", "max"] = setting(
        "mean", "of a layer's vectors: the first token's (cls), the last one's, their mean, or their largest numbers"
    )
    layer: str = setting("-1", "number of the layer, 0 for the embeddings, negative from the end; or all")
    output_file: str = setting("features.npy", "an .npy or a .parquet", kind="operation")

    def __post_init__(self) -> None:
        if not self.texts:
            raise ConfigError(where="--texts", expected="a file or a folder of texts", found="none", do="give --texts")
        if not self.output_file.endswith(ENDINGS):
            expected = f"a file ending in {' or '.join(ENDINGS)}"
            raise ConfigError(where="--output_file", expected=expected, found=self.output_file, do="name another")


GROUPS = (SourceSettings, FeatureFileSettings, ThreadSettings)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the recipe; returns the status to exit with."""
    source, wanted, threads = parse(*GROUPS, argv=argv, description=__doc__)
    device = start_alone(threads)
    files = local.find_files(Path(wanted.texts))
    texts = [text.rstrip("\n") for text in local.read_all(files, separator="line", column=wanted.text_column)]
    if not texts:
        raise DataError(where=wanted.texts, expected="texts", found="none", do="name another file or column")
    for number, text in enumerate(texts, 1):
        if not text.strip():  # left out, the vectors would no longer be those of the rows of their number
            raise DataError(where=wanted.texts, expected="a text in each row", found=f"none in {number}", do="fill it")
    tokenizer = source.open_tokenizer()
    model = load_with_new_head(source.model_name_or_path, AutoModel)[0].to(device)
    require_text_body(model, tokenizer, source.model_name_or_path)
    layers = chosen_layers(model.config, wanted.layer)
    output = Path(wanted.output_file)
    folder = writable_folder(str(output.parent))
    examples = encode(tokenizer, [texts], None, max_length=source.length(tokenizer))
    print(f"model      {source.model_name_or_path}: {type(model).__name__}")
    print(f"texts      {len(texts):,} from {wanted.texts}, {examples.truncated.sum():,} cut", flush=True)

    with tempfile.TemporaryDirectory(dir=folder) as aside:
        made = features_of(
            model, examples, pooling=wanted.pooling, layers=layers, cache=Path(aside), digest=module_hash(model)
        )
        vectors = np.array(made.features if wanted.layer == "all" else made.features[:, 0])
    write(output, texts, layers, vectors)
    print(f"vectors    {wanted.pooling} of layer {wanted.layer}, {' × '.join(map(str, vectors.shape))}: {output}")
    return 0


def write(file: Path, texts: Sequence[str], layers: Sequence[int], vectors: np.ndarray) -> None:
    """Put `vectors` [n, H] or [n, layers, H] into `file`."""
    if file.suffix == ".npy":
        np.save(file, vectors)
        return
    by_layer = {"vector": vectors} if vectors.ndim == 2 else {f"layer_{n}": vectors[:, k] for k, n in enumerate(layers)}
    columns = {name: pa.FixedSizeListArray.from_arrays(part.ravel(), part.shape[1]) for name, part in by_layer.items()}
    parquet.write_table(pa.table({"text": list(texts), **columns}), file)


if __name__ == "__main__":
    with told_in_one_sentence():
        sys.exit(main())
