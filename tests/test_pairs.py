"""The choice of combinations: every pair of values occurs, and little else."""

from itertools import combinations, product

import pytest
from pairs import pairwise


def pairs_of(combined):
    return {pair for values in combined for pair in combinations(sorted(values.items()), 2)}


@pytest.mark.parametrize("sizes", [(2, 3), (5, 2, 3, 3, 2, 2), (18, 4, 2, 2), (1, 1, 1)], ids=str)
def test_every_pair_of_values_occurs(sizes):
    combined = [dict(zip("abcdef", numbers, strict=False)) for numbers in product(*map(range, sizes))]
    kept = [combined[number] for number in pairwise(combined)]
    assert pairs_of(kept) == pairs_of(combined)
    if len(sizes) > 2 and len(combined) > 1:
        most, second = sorted(sizes)[-1], sorted(sizes)[-2]
        assert len(kept) <= 1.5 * most * second


def test_combinations_that_do_not_exist_are_not_missed():
    combined = [{"a": a, "b": b, "c": c} for a, b, c in product(range(4), repeat=3) if a + b < 5 or c == 1]
    kept = [combined[number] for number in pairwise(combined)]
    assert pairs_of(kept) == pairs_of(combined)
    assert len(kept) < len(combined) / 2


@pytest.mark.pairwise
@pytest.mark.parametrize("a", range(3))
@pytest.mark.parametrize("b", range(3))
@pytest.mark.parametrize("c", range(3))
def test_a_marked_test_runs_for_some(a, b, c, request):
    """Nine to twelve of 27."""
    same = [item for item in request.session.items if item.originalname == request.node.originalname]
    if len(same) > 1:  # or somebody asks for this one
        assert 9 <= len(same) <= 12
