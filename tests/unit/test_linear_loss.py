"""The chunked loss of a linear layer against the dense one, in value and in every gradient."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hfrep.objectives import linear_loss
from hfrep.objectives.base import IGNORED
from hfrep.objectives.linear_loss import chunk_positions, linear_cross_entropy

WIDTH, VOCABULARY, CHUNK = 16, 100, 64


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(linear_loss, "CHUNK_LOGITS", CHUNK * VOCABULARY)


def problem(number: int, *, bias: bool = True, scale: float = 1.0, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Hidden states, weight and bias that want gradients, and labels a third of which are ignored."""
    generator = torch.Generator().manual_seed(number)
    shapes = [(number, WIDTH), (VOCABULARY, WIDTH), *([(VOCABULARY,)] if bias else [])]
    tensors = [(scale * torch.randn(shape, generator=generator, dtype=dtype)).requires_grad_() for shape in shapes]
    labels = torch.randint(0, VOCABULARY, (number,), generator=generator)
    labels[torch.rand(number, generator=generator) < 1 / 3] = IGNORED
    return [*tensors, *([] if bias else [None]), labels]


def dense(hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor) -> Tensor:
    return F.cross_entropy(F.linear(hidden, weight, bias), labels, ignore_index=IGNORED, reduction="sum")


def gradients(total: Tensor, *tensors: Tensor | None) -> list[Tensor]:
    # Of a multiple, since the sum is divided by a count after it.
    return list(torch.autograd.grad(0.3 * total, [tensor for tensor in tensors if tensor is not None]))


def assert_dense(given: list[Tensor]) -> None:
    total, expected = linear_cross_entropy(*given)[0], dense(*given)
    torch.testing.assert_close(total, expected, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(gradients(total, *given[:3]), gradients(expected, *given[:3]), strict=True):
        assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max() + 1e-7


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("number", [1, CHUNK - 1, CHUNK, 3 * CHUNK + 5])
def test_chunks_are_the_dense_loss(number: int, bias: bool) -> None:
    """Below, at and above the size of a chunk, and where the last one is not full."""
    assert_dense(problem(number, bias=bias))


@pytest.mark.parametrize("scale", [0.0, 30.0])
def test_any_size_of_logits(scale: float) -> None:
    """Where all words are alike, and where logits are in the thousands: nothing overflows, nothing is lost."""
    given = problem(100, scale=scale)
    assert scale == 0 or F.linear(*given[:3]).abs().max() > 1000
    assert_dense(given)


def test_all_labels_ignored() -> None:
    """No target: a loss of 0 with gradients of 0, not NaN."""
    *tensors, labels = problem(CHUNK + 3)
    total, correct = linear_cross_entropy(*tensors, torch.full_like(labels, IGNORED), count_correct=True)
    assert (total.item(), correct.item()) == (0, 0)
    assert all(gradient.eq(0).all() for gradient in gradients(total, *tensors))


def test_one_label() -> None:
    """A single target among ignored ones is its own cross-entropy."""
    *tensors, labels = problem(2 * CHUNK)
    labels = torch.full_like(labels, IGNORED)
    labels[CHUNK + 7] = 42
    assert_dense([*tensors, labels])


def test_no_position() -> None:
    """Nothing to name gives 0 and gradients of the right shapes."""
    given = problem(0)
    total = linear_cross_entropy(*given)[0]
    assert total.item() == 0
    assert [gradient.shape for gradient in gradients(total, *given[:3])] == [tensor.shape for tensor in given[:3]]


def test_loss_by_hand() -> None:
    """Two words with logits 0 and ln 3: the second has probability ¾."""
    hidden, weight = torch.ones(1, 1), torch.tensor([[0.0], [math.log(3)]])
    for label, probability in ((0, 0.25), (1, 0.75)):
        total, correct = linear_cross_entropy(hidden, weight, None, torch.tensor([label]), count_correct=True)
        assert total.item() == pytest.approx(-math.log(probability))
        assert correct.item() == label


def test_right_guesses_are_counted() -> None:
    """As many as argmax finds, ignored positions left out; none are counted unless asked."""
    *tensors, labels = problem(3 * CHUNK + 5)
    guesses = F.linear(*tensors).argmax(-1)
    labels[::2] = torch.where(labels[::2] == IGNORED, IGNORED, guesses[::2])
    _, correct = linear_cross_entropy(*tensors, labels, count_correct=True)
    assert correct.item() == (guesses == labels).sum() > CHUNK
    assert not correct.requires_grad
    assert linear_cross_entropy(*tensors, labels)[1].item() == 0


def test_tied_weights_add_up() -> None:
    """A weight that is the word vectors too gets both gradients."""
    weight, labels = torch.randn(VOCABULARY, WIDTH, requires_grad=True), torch.arange(CHUNK + 9) % VOCABULARY
    hidden = F.embedding(labels.flip(0), weight).tanh()
    ours = gradients(linear_cross_entropy(hidden, weight, None, labels)[0], weight)
    hidden = F.embedding(labels.flip(0), weight).tanh()
    torch.testing.assert_close(ours, gradients(dense(hidden, weight, None, labels), weight), rtol=1e-5, atol=1e-5)


def test_a_second_backward_pass_is_the_first() -> None:
    """With a retained graph the gradients that were made in the forward pass are still there."""
    *tensors, labels = problem(CHUNK + 9)
    total = linear_cross_entropy(*tensors, labels)[0]
    first = torch.autograd.grad(0.3 * total, tensors, retain_graph=True)
    torch.testing.assert_close(gradients(total, *tensors), list(first), rtol=0, atol=0)


def test_second_derivatives_are_refused() -> None:
    """They would be wrong; torch says so instead."""
    *tensors, labels = problem(5)
    total = linear_cross_entropy(*tensors, labels)[0]
    (first,) = torch.autograd.grad(total.square(), tensors[0], create_graph=True)
    with pytest.raises(RuntimeError, match="marked with @once_differentiable"):
        first.sum().backward()


@pytest.mark.parametrize("wanted", [0, 1, 2])
def test_only_asked_for_gradients_are_made(wanted: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frozen weight or input costs no product; without gradients none is made, and the loss is the same."""
    *tensors, labels = problem(CHUNK + 9)
    made = []
    chunked = linear_loss._chunked

    def noted(*arguments):
        result = chunked(*arguments)
        made.append([gradient is not None for gradient in result[2]])
        return result

    monkeypatch.setattr(linear_loss, "_chunked", noted)
    frozen = [tensor.detach().requires_grad_(number == wanted) for number, tensor in enumerate(tensors)]
    total = linear_cross_entropy(*frozen, labels)[0]
    with torch.no_grad():
        assert linear_cross_entropy(*tensors, labels)[0] == total
    assert made == [[number == wanted for number in range(3)], [False] * 3]
    expected = gradients(dense(*tensors, labels), tensors[wanted])
    torch.testing.assert_close(gradients(total, frozen[wanted]), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("autocast", [True, False])
def test_half_precision(autocast: bool, dtype: torch.dtype) -> None:
    """Of operations or of weights: a float32 loss, gradients in their tensor's dtype, all near the exact ones."""
    exact = problem(CHUNK + 9, scale=0.3)
    *tensors, labels = exact
    given = tensors if autocast else [tensor.detach().to(dtype).requires_grad_() for tensor in tensors]
    with torch.autocast("cpu", dtype=dtype, enabled=autocast):
        total = linear_cross_entropy(*given, labels)[0]
    assert total.dtype == torch.float32
    torch.testing.assert_close(total, dense(*exact), rtol=1e-2, atol=0)
    expected = gradients(dense(*exact), *tensors)
    for tensor, ours, theirs in zip(given, gradients(total, *given), expected, strict=True):
        assert ours.dtype == tensor.dtype
        assert (ours.float() - theirs).abs().max() <= 0.03 * theirs.abs().max()


def test_float16_holds_any_vocabulary() -> None:
    """Over more words than float16 counts, all alike: gradients are one over their number, not infinite."""
    size = 70_000
    weight, labels = torch.zeros(size, 1, requires_grad=True), torch.tensor([3, IGNORED])
    with torch.autocast("cpu", dtype=torch.float16):
        total = linear_cross_entropy(torch.ones(2, 1), weight, None, labels)[0]
    assert total.item() == pytest.approx(math.log(size), rel=1e-6)
    (gradient,) = torch.autograd.grad(total, weight)
    assert gradient[3].item() == pytest.approx(-1, rel=1e-2)
    assert gradient[4:].sum().item() == pytest.approx(1, rel=1e-2)


def test_gradients_are_exact() -> None:
    """Finite differences in float64."""
    *tensors, labels = problem(7, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda *given: linear_cross_entropy(*given, labels)[0], tensors)


def test_logits_are_never_all_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tensor in forward or backward is larger than a chunk's logits or a gradient."""
    *tensors, labels = problem(20 * CHUNK)
    largest = max(CHUNK * VOCABULARY, *(tensor.numel() for tensor in tensors))

    class Watching(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            for tensor in result if isinstance(result, tuple) else (result,):
                if isinstance(tensor, Tensor):
                    assert tensor.untyped_storage().nbytes() <= 4 * largest, function
            return result

    with Watching():
        linear_cross_entropy(*tensors, labels)[0].backward()


def test_a_chunk_is_never_empty() -> None:
    """Vocabularies of any size give a multiple of 64 positions."""
    assert [chunk_positions(size, "cpu") for size in (1, VOCABULARY, 10**9)] == [CHUNK * VOCABULARY, CHUNK, CHUNK]


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiles_as_one_graph(backend: str) -> None:
    """torch.compile meets no break, and gradients are the same."""
    *tensors, labels = problem(2 * CHUNK + 9)
    torch._dynamo.reset()
    compiled = torch.compile(lambda *given: linear_cross_entropy(*given)[0], backend=backend, fullgraph=True)
    total, expected = compiled(*tensors, labels), linear_cross_entropy(*tensors, labels)[0]
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(gradients(total, *tensors), gradients(expected, *tensors))
