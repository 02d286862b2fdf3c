"""Fit the polynomials of fastpw/kernels/vec_math.h and print its coefficient tables.

Run ``python bench/fit_polynomials.py``; it needs mpmath and takes a few seconds. Every table is a minimax
fit in the relative error, found by Remez's exchange (Ralston and Rabinowitz, A First Course in Numerical
Analysis, 2nd ed., 1978, chapter 7).
"""

from mpmath import mp

mp.dps = 60  # the systems are ill-conditioned
GRID = 1001  # intervals between the points where the error is levelled; odd: 0 is no point of [-x, x]


def grid(low, high, bend=None):
    """Points of [low, high], dense at both ends; `bend` spreads them as 1 / (x - low + bend) is spread."""
    steps = [(1 - mp.cos(mp.pi * i / GRID)) / 2 for i in range(GRID + 1)]
    if bend:
        steps = [t / (1 + (1 - t) * (high - low) / bend) for t in steps]
    return [low + (high - low) * t for t in steps]


def solve_levelled(nodes, values, weights, degrees):
    """P and Q (lowest degree first, Q(0) = 1) whose weighted error is +-E in turn at `nodes`.

    Newton's method on P - (f +- E / weight) Q = 0, which is linear but for the product E Q.
    """
    top, bottom = degrees
    level, q = mp.mpf(0), [mp.mpf(1)]
    for _ in range(50):
        rows, right = [], []
        for i, (x, f, w) in enumerate(zip(nodes, values, weights, strict=True)):
            swing = (-1) ** i / w
            target, slope = f + level * swing, swing * mp.polyval(q[::-1], x)
            powers = [x**j for j in range(max(degrees) + 1)]
            rows.append([*powers[: top + 1], *(-target * power for power in powers[1 : bottom + 1]), -slope])
            right.append(target - slope * level)
        *coefficients, new_level = mp.lu_solve(mp.matrix(rows), mp.matrix(right))
        p, q = coefficients[: top + 1], [mp.mpf(1), *coefficients[top + 1 :]]
        level, change = new_level, mp.fabs(new_level - level)
        if change <= mp.fabs(level) * mp.mpf(10) ** -9:
            return p, q
    raise ArithmeticError("Newton's method did not settle")


def alternate(errors, count):
    """Indices of the `count` neighbouring extrema of alternating sign that hold the largest errors."""
    chosen = []
    for i, error in enumerate(errors):
        if chosen and mp.sign(errors[chosen[-1]]) == mp.sign(error):
            if mp.fabs(error) > mp.fabs(errors[chosen[-1]]):
                chosen[-1] = i
        else:
            chosen.append(i)
    while len(chosen) > count:
        chosen.pop(0 if mp.fabs(errors[chosen[0]]) < mp.fabs(errors[chosen[-1]]) else -1)
    return chosen


def remez(function, weight, points, degrees):
    """Minimax P / Q of `degrees` on `points`: (P, Q, largest |weight * error|)."""
    values, weights = [function(x) for x in points], [weight(x) for x in points]
    count = sum(degrees) + 2
    chosen = [round(i * GRID / (count - 1)) for i in range(count)]
    for _ in range(60):
        pick = [[sequence[i] for i in chosen] for sequence in (points, values, weights)]
        p, q = solve_levelled(*pick, degrees)
        errors = [
            w * (mp.polyval(p[::-1], x) / mp.polyval(q[::-1], x) - f)
            for x, f, w in zip(points, values, weights, strict=True)
        ]
        worst = max(map(mp.fabs, errors))
        levelled = min(mp.fabs(errors[i]) for i in chosen)
        if worst <= levelled * mp.mpf("1.001"):
            return p, q, worst
        chosen = alternate(errors, count)
        if len(chosen) < count:
            raise ArithmeticError(f"the error alternates {len(chosen)} times, not {count}")
    raise ArithmeticError("the exchange did not settle")


def curvature(r):
    """(exp(r) - 1 - r) / r**2: what is left to fit when the first two terms are exact."""
    return (mp.expm1(r) - r) / r**2


def curvature_weight(r):
    """Makes an error of `curvature` the relative error of exp(r) - 1."""
    return mp.fabs(r**2 / mp.expm1(r))


def scaled_tail(a):
    """The normal distribution beyond a, times exp(a**2 / 2)."""
    return mp.exp(a**2 / 2) * mp.erfc(a / mp.sqrt(2)) / 2


def rounded(value, bits):
    """`value` to `bits` significant bits, as an exact hexadecimal constant."""
    with mp.workprec(bits):
        return float(+value).hex()


def print_table(name, coefficients, digits):
    numbers = [mp.nstr(c, digits, min_fixed=0, max_fixed=0) for c in coefficients]
    print(f"{name}[] = {{{', '.join(numbers)}}};")


def print_tables(dtype, bits, high_bits, exp_degree, tail_degrees, tail_end):
    digits = 9 if bits == 24 else 17
    with mp.workprec(high_bits):
        high = +mp.log(2)
    print(f"{dtype}\nLN2_HIGH {rounded(high, bits)} LN2_LOW {rounded(mp.log(2) - high, bits)}")
    half = mp.log(2) / 2
    p, _, worst = remez(curvature, curvature_weight, grid(-half, half), (exp_degree, 0))
    print(f"exp(r) - 1 on +-ln(2)/2, relative error {mp.nstr(worst, 2)}")
    print_table("EXP", p, digits)
    points = grid(mp.mpf(0), mp.mpf(tail_end), bend=mp.mpf(2))
    p, q, worst = remez(scaled_tail, lambda a: 1 / scaled_tail(a), points, tail_degrees)
    print(f"normal tail on 0..{tail_end}, relative error {mp.nstr(worst, 2)}")
    print_table("TAIL_P", p, digits)
    print_table("TAIL_Q", q, digits)


if __name__ == "__main__":
    print_tables("float32", 24, 15, 4, (4, 5), 14.5)
    print_tables("float64", 53, 42, 9, (9, 10), 39)
