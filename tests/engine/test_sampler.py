"""Laws of the sampler: each setting does what it says, and a row depends on nothing but itself."""

import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

from glimt.engine.messages import SamplingParams
from glimt.engine.sampler import Drawn, Sampler
from glimt.engine.sequence import Sequence

VOCAB = 16


def make_sequence(
    prompt: list[int] | None = None, drawn: list[int] | None = None, **sampling
) -> Sequence:
    prompt = prompt or [0]
    return Sequence(
        connection=0,
        id=0,
        tokens=prompt + (drawn or []),
        num_prompt=len(prompt),
        sampling=SamplingParams(**sampling),
    )


def draw(sequences: list[Sequence], logits: Tensor, *, sampler: Sampler | None = None) -> Drawn:
    """One step of a fresh sampler, which may not change the caller's logits."""
    return (sampler or Sampler(logits.shape[-1])).sample(sequences, logits.clone())


def frequencies(logits: Tensor, *, num_draws: int = 4000, **sampling) -> Tensor:
    """The share of each token over many seeds, one row each."""
    sequences = [make_sequence(seed=seed, **sampling) for seed in range(num_draws)]
    tokens = draw(sequences, logits.expand(num_draws, -1)).tokens
    counts = Counter(tokens)
    return torch.tensor([counts[i] / num_draws for i in range(len(logits))])


def random_logits(seed: int, *shape: int, scale: float = 2.0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def definition(logits: Tensor, *, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0) -> Tensor:
    """The distribution to draw from, written down token by token."""
    probabilities = (logits.double() / temperature).softmax(-1).tolist()
    order = sorted(range(len(probabilities)), key=lambda i: -probabilities[i])
    kept = [i for i in order if probabilities[i] >= min_p * probabilities[order[0]]]
    if top_k:
        kept = kept[:top_k]
    total = sum(probabilities[i] for i in kept)
    nucleus = []
    for i in kept:
        if sum(probabilities[j] for j in nucleus) >= top_p * total:
            break
        nucleus.append(i)
    share = sum(probabilities[i] for i in nucleus)
    result = torch.zeros(len(probabilities), dtype=torch.float64)
    for i in nucleus:
        result[i] = probabilities[i] / share
    return result


@pytest.mark.parametrize(
    "sampling",
    [
        {},
        {"temperature": 0.5},
        {"temperature": 2.5},
        {"top_k": 3},
        {"top_k": 100},
        {"top_p": 0.8},
        {"top_p": 0.05},
        {"min_p": 0.2},
        {"min_p": 1.0},
        {"temperature": 1.5, "top_k": 8, "top_p": 0.7, "min_p": 0.05},
        {"top_k": 2, "top_p": 0.9},
    ],
)
def test_draws_follow_the_definition(sampling: dict[str, float]):
    """Shares over 4000 seeds are within five standard deviations of the definition's."""
    logits = random_logits(3, VOCAB)
    expected = definition(logits, **sampling)
    observed = frequencies(logits, **sampling).double()
    deviation = (expected * (1 - expected) / 4000).sqrt()
    assert ((observed - expected).abs() <= 5 * deviation + 1e-12).all()
    assert not observed[expected == 0].any()


def test_a_large_vocabulary_is_drawn_evenly():
    """Rounding of the running sum over 150 000 equal tokens favours none of ten tenths."""
    logits = torch.zeros(4, 150_000)
    sampler = Sampler(150_000, seed=1)
    sequences = [make_sequence() for _ in range(4)]
    tenths: Counter[int] = Counter()
    for _ in range(75):
        for sequence, token in zip(
            sequences, draw(sequences, logits, sampler=sampler).tokens, strict=True
        ):
            sequence.tokens.append(token)
            tenths[token // 15_000] += 1
    assert len(tenths) == 10
    assert max(tenths.values()) < 30 + 5 * math.sqrt(27)
    assert min(tenths.values()) > 30 - 5 * math.sqrt(27)


@pytest.mark.parametrize("sampling", [{"temperature": 0.0}, {"top_k": 1}, {"temperature": 1e-9}])
def test_greedy_takes_the_most_likely_and_the_lowest_of_equals(sampling: dict[str, float]):
    """Temperature 0, next to 0, and top_k 1 are the same thing."""
    logits = random_logits(1, 1, VOCAB)
    logits[0, [5, 11]] = 50
    assert draw([make_sequence(**sampling)], logits).tokens == [5]


@pytest.mark.parametrize(
    ("sampling", "kept"),
    [
        ({"top_k": 2}, {0, 1, 2}),
        ({"top_p": 0.3}, {0, 1, 2}),
        ({"min_p": 1.0}, {0, 1, 2}),
        ({"top_p": 1e-9}, {0, 1, 2}),
        ({"top_k": 4}, {0, 1, 2, 3}),
    ],
)
def test_equals_of_the_last_one_kept_are_kept(sampling: dict[str, float], kept: set[int]):
    """No order among equally likely tokens decides which of them may be drawn."""
    logits = torch.tensor([3.0, 3.0, 3.0, 1.0, 0.0])
    observed = frequencies(logits, num_draws=800, **sampling)
    assert {i for i in range(5) if observed[i] > 0} == kept


def test_settings_of_one_row_do_not_reach_another():
    """A batch of different settings draws for each row what it draws alone."""
    rows = [
        {"temperature": 0.0},
        {"seed": 1},
        {"seed": 2, "top_p": 0.5},
        {"seed": 3, "top_k": 3, "temperature": 1.7},
        {"seed": 4, "min_p": 0.3},
        {"seed": 5, "repetition_penalty": 1.8},
        {"temperature": 0.0, "frequency_penalty": 1.5, "presence_penalty": 0.5},
        {"seed": 6, "logit_bias": {3: 4.0}},
        {"seed": 7, "min_tokens": 30, "stop_token_ids": (1, 2, 3)},
        {"seed": 8, "top_logprobs": 2},
    ]

    def run(group: list[dict]) -> list[list[int]]:
        sequences = [make_sequence([1, 2], **row) for row in group]
        sampler = Sampler(VOCAB)
        for position in range(25):
            logits = torch.cat([random_logits(position, 1, VOCAB) for _ in group])
            for sequence, token in zip(
                sequences, draw(sequences, logits, sampler=sampler).tokens, strict=True
            ):
                sequence.tokens.append(token)
        return [sequence.tokens for sequence in sequences]

    together = run(rows)
    assert together == [run([row])[0] for row in rows]
    assert together == run(rows[::-1])[::-1]


def test_a_seed_repeats_and_another_seed_does_not():
    """Equal seeds give equal draws in any sampler, other seeds and later positions do not."""
    logits = torch.zeros(1, 10_000)

    def first(**sampling) -> int:
        return draw([make_sequence(**sampling)], logits).tokens[0]

    assert first(seed=7) == first(seed=7) == first(seed=7 + 2**64)
    assert first(seed=-1) == first(seed=-1)
    assert len({first(seed=seed) for seed in range(20)}) > 15
    assert len({first() for _ in range(20)}) > 15
    drawn = [draw([make_sequence([0], [0] * n, seed=7)], logits).tokens[0] for n in range(20)]
    assert len(set(drawn)) > 15


def test_unseeded_requests_repeat_only_with_the_engine_seed():
    """The engine's own seed fixes the draws of requests without one."""
    logits = torch.zeros(6, 10_000)
    sequences = [make_sequence() for _ in range(6)]

    def run(seed: int | None) -> list[int]:
        return draw(sequences, logits, sampler=Sampler(10_000, seed=seed)).tokens

    assert run(5) == run(5)
    assert run(5) != run(6)
    assert run(None) != run(None)
    assert len(set(run(5))) > 1


@settings(max_examples=40, deadline=None)
@given(
    prompt=st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=20),
    drawn=st.lists(st.integers(0, VOCAB - 1), max_size=20),
    repetition=st.sampled_from([1.0, 0.5, 1.3]),
    presence=st.sampled_from([0.0, -0.7, 1.5]),
    frequency=st.sampled_from([0.0, 0.4, -1.1]),
    bias=st.dictionaries(st.integers(0, VOCAB - 1), st.sampled_from([-5.0, 2.0]), max_size=3),
    seed=st.integers(0, 1000),
)
def test_penalties_follow_their_definitions(
    prompt: list[int],
    drawn: list[int],
    repetition: float,
    presence: float,
    frequency: float,
    bias: dict[int, float],
    seed: int,
):
    """Kept counts give the same greedy tokens, step by step, as formulas over all tokens."""
    sampling = {
        "temperature": 0.0,
        "repetition_penalty": repetition,
        "presence_penalty": presence,
        "frequency_penalty": frequency,
        "logit_bias": bias,
    }
    other = make_sequence(prompt, temperature=0.0, repetition_penalty=1.1)
    sequence = make_sequence(prompt, drawn, **sampling)
    sampler = Sampler(VOCAB)
    for position in range(6):
        logits = random_logits(seed * 10 + position, 2, VOCAB)
        expected = logits[1].tolist()
        for token in range(VOCAB):
            value = expected[token] + bias.get(token, 0.0)
            if token in sequence.tokens:
                value = value / repetition if value > 0 else value * repetition
            count = sequence.tokens[sequence.num_prompt :].count(token)
            expected[token] = value - frequency * count - presence * (count > 0)
        tokens = draw([other, sequence], logits, sampler=sampler).tokens
        assert expected[tokens[1]] == pytest.approx(max(expected), abs=1e-4)
        other.tokens.append(tokens[0])
        sequence.tokens.append(tokens[1])


def test_counts_survive_a_change_of_the_batch():
    """A penalised sequence that sits out some steps, or changes rows, keeps its counts."""
    sampler = Sampler(VOCAB)
    first = make_sequence(temperature=0.0, frequency_penalty=2.0)
    second = make_sequence(temperature=0.0, frequency_penalty=2.0)
    logits = torch.arange(VOCAB).float().expand(2, VOCAB)
    for batch in ([first], [first, second], [second], [second, first]):
        tokens = draw(batch, logits[: len(batch)], sampler=sampler).tokens
        for sequence, token in zip(batch, tokens, strict=True):
            sequence.tokens.append(token)
    assert first.tokens[1:] == second.tokens[1:] == [15, 14, 13]


def test_a_slot_is_clean_for_its_next_owner():
    """After `forget` a new sequence in the same row of the table starts from nothing."""
    sampler = Sampler(VOCAB)
    logits = torch.arange(VOCAB).float().expand(1, VOCAB)
    for _ in range(20):
        sequence = make_sequence(temperature=0.0, presence_penalty=2.0, repetition_penalty=1.2)
        assert draw([sequence], logits, sampler=sampler).tokens == [15]
        sampler.forget(sequence)
    assert not sampler.remembered
    assert len(sampler._penalties.factors) == 4


def test_stop_tokens_wait_for_min_tokens():
    """No stop token comes before `min_tokens` tokens, whatever its logit."""
    sampler = Sampler(VOCAB)
    for temperature in (0.0, 1.0):
        sequence = make_sequence(temperature=temperature, min_tokens=5, stop_token_ids=(3, 4))
        logits = torch.zeros(1, VOCAB)
        logits[0, 3], logits[0, 4] = 100, 90
        while 3 not in sequence.tokens:
            assert 4 not in sequence.tokens
            sequence.tokens += draw([sequence], logits, sampler=sampler).tokens
        assert sequence.num_generated == 6


def test_logprobs_are_those_of_the_raw_logits():
    """Temperature, penalties, bias and filters leave reported log-probabilities alone."""
    logits = random_logits(9, 3, VOCAB)
    expected = logits.log_softmax(-1)
    sequences = [
        make_sequence(temperature=0.0, top_logprobs=3, logit_bias={2: 100.0}),
        make_sequence(temperature=0.0),
        make_sequence(
            [1], [2, 2], temperature=3.0, top_p=0.5, top_logprobs=0, presence_penalty=2.0
        ),
    ]
    drawn = draw(sequences, logits)
    assert drawn.tokens[0] == 2
    assert drawn.logprobs.keys() == drawn.top.keys() == {0, 2}
    for row in (0, 2):
        assert drawn.logprobs[row] == pytest.approx(expected[row, drawn.tokens[row]].item())
    best = expected[0].topk(3)
    assert [token for token, _ in drawn.top[0]] == best.indices.tolist()
    assert [value for _, value in drawn.top[0]] == pytest.approx(best.values.tolist())
    assert drawn.top[2] == []


def test_each_row_gets_as_many_alternatives_as_it_asked_for():
    """`top_logprobs` of different rows are cut separately, and at the vocabulary's end."""
    sequences = [make_sequence(top_logprobs=n) for n in (0, 1, 5, 20)]
    drawn = draw(sequences, random_logits(2, 4, VOCAB))
    assert [len(drawn.top[row]) for row in range(4)] == [0, 1, 5, VOCAB]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize(
    "sampling",
    [{"temperature": 0.0}, {}, {"top_p": 0.5, "top_k": 5}, {"repetition_penalty": 1.3}],
)
def test_a_row_that_is_not_finite_draws_nothing(bad: float, sampling: dict[str, float]):
    """NaN and infinity give -1 in their row and leave the others alone."""
    logits = random_logits(4, 3, VOCAB)
    logits[1, 7] = bad
    sequences = [make_sequence(seed=1, **sampling) for _ in range(3)]
    tokens = draw(sequences, logits).tokens
    assert tokens[1] == -1
    alone = draw([sequences[0], sequences[2]], logits[[0, 2]]).tokens
    assert [tokens[0], tokens[2]] == alone


def test_a_row_without_any_possible_token_draws_nothing():
    """Minus infinity means impossible; when everything is, the row is broken."""
    logits = torch.zeros(2, VOCAB)
    logits[0, 1:] = -math.inf
    logits[1] = -math.inf
    for temperature in (0.0, 1.0):
        sequences = [make_sequence(temperature=temperature) for _ in range(2)]
        assert draw(sequences, logits).tokens == [0, -1]


def test_nothing_is_remembered_of_greedy_sequences():
    """State exists only for what needs it."""
    sampler = Sampler(VOCAB)
    draw([make_sequence(temperature=0.0)], torch.zeros(1, VOCAB), sampler=sampler)
    assert not sampler.remembered


def test_logits_made_under_inference_mode_are_welcome():
    """The runner's tensors may be inference tensors, and may be overwritten."""
    with torch.inference_mode():
        logits = torch.zeros(2, VOCAB)
    sequences = [make_sequence(logit_bias={4: 100.0}), make_sequence(repetition_penalty=1.5)]
    assert Sampler(VOCAB).sample(sequences, logits).tokens[0] == 4


def test_what_requests_name_is_read_once_however_often_the_batch_changes():
    """Bias and stop tokens become tensors once a request, not once a change of the batch."""
    reads: list[int] = []

    class Watched(dict[int, float]):
        def values(self):
            reads.append(1)
            return super().values()

        def items(self):
            reads.append(1)
            return super().items()

    named = dict.fromkeys(range(8), -100.0)
    sequences = [
        make_sequence(
            temperature=0.0, logit_bias=Watched(named), stop_token_ids=(9, 10), min_tokens=5
        )
        for _ in range(3)
    ]
    logits = torch.arange(VOCAB, 0, -1).float().repeat(3, 1)
    sampler = Sampler(VOCAB)
    for batch in (sequences, sequences[:2], sequences[1:], sequences[::-1]):
        assert draw(batch, logits[: len(batch)], sampler=sampler).tokens == [8] * len(batch)
    assert len(reads) == 3
    assert sampler.remembered == set(sequences)
    for sequence in sequences:
        sampler.forget(sequence)
    assert not sampler.remembered
