"""COMPARISONS: all rows of the benchmark, by name, in the order of the table; more where there is a GPU."""

from comparison import Comparison

from comparisons.adaptation import FROZEN, FULL, LORA
from comparisons.causal_training import CAUSAL_TRAINING
from comparisons.masked_training import MASKED_TRAINING, MASKED_TRAINING_LAUNCHED
from comparisons.masking import MASKING
from comparisons.minimal_pairs import MINIMAL_PAIRS
from comparisons.on_gpu import ON_GPU
from comparisons.packing import PACKING
from comparisons.prompting import PROMPTING
from comparisons.start_up import START_UP

COMPARISONS: dict[str, Comparison] = {
    comparison.name: comparison
    for comparison in (
        MASKED_TRAINING,
        MASKED_TRAINING_LAUNCHED,
        CAUSAL_TRAINING,
        PACKING,
        MASKING,
        FULL,
        LORA,
        FROZEN,
        PROMPTING,
        MINIMAL_PAIRS,
        START_UP,
        *ON_GPU,
    )
}
