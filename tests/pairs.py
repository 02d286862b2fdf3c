"""Of all combinations of a test's parameters, as few as hold every pair of two values.

A fault that shows nowhere but where three parameters meet is rare, and combinations are many.
"""

from itertools import combinations


def pairwise(combined):
    """The numbers of those combinations that are enough.

    Parameters
    ----------
    combined : list of dict
        For each combination a number for each value, by the parameter's name.
    """
    pairs = [set(combinations(sorted(values.items()), 2)) for values in combined]
    left = set().union(*pairs)
    kept = []
    # At first those alone that bring as many new pairs as there can be.
    for least in range(max(map(len, pairs), default=0), 0, -1):
        for number, some in enumerate(pairs):
            if len(some & left) >= least:
                kept.append(number)
                left -= some
    return sorted(kept)


def numbered(params):
    """A number for each value. All combinations share one object for each, which needs no order and no hash.

    An instruction set and a dtype are one value, a kernel set: each has code of its own.
    """
    numbers = {name: id(value) for name, value in params.items()}
    if "isa" in numbers and "dtype" in numbers:
        numbers["isa"] = numbers["isa"], numbers.pop("dtype")
    return numbers


def thin(items):
    """The tests that run, and the others: of a function that is marked as pairwise, those that are enough."""
    by_function = {}
    for item in items:
        if item.get_closest_marker("pairwise") is not None and hasattr(item, "callspec"):
            by_function.setdefault(item.nodeid.partition("[")[0], []).append(item)
    dropped = set()
    for same in by_function.values():
        combined = [numbered(item.callspec.params) for item in same]
        if len(combined[0]) > 1:
            enough = set(pairwise(combined))
            dropped.update(item for number, item in enumerate(same) if number not in enough)
    return [item for item in items if item not in dropped], [item for item in items if item in dropped]
