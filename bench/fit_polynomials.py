"""Fit the polynomials of fastpw/kernels/vec_math.h and print its coefficient tables.

Run ``python bench/fit_polynomials.py`` (needs mpmath, takes a minute).  Every
table is a minimax fit in the relative error, found by Remez's exchange
(Ralston & Rabinowitz, A First Course in Numerical Analysis, 1978, chapter 7;
rational functions as there, with the system linearised in the levelled error).
"""

from mpmath import cos, erfc, exp, expm1, fabs, log, lu_solve, matrix, mp, mpf, nstr, pi, polyval, sign, sqrt, workprec

mp.dps = 60
GRID = 1001  # odd: zero, where a relative error has no meaning, is no point of a symmetric grid


def grid(low, high, bend=None):
    """GRID + 1 points of [low, high], dense at the ends; with `bend`, spread in 1 / (low + x + bend)."""
    points = [(1 - cos(pi * i / GRID)) / 2 for i in range(GRID + 1)]
    if bend:
        reach = (high - low) / bend
        points = [t / (1 + reach * (1 - t)) for t in points]
    return [low + (high - low) * t for t in points]


def solve_levelled(nodes, values, weights, degrees):
    """P and Q (lowest degree first, Q(0) = 1) whose weighted error is +-E in turn at `nodes`.

    Newton's method on P - (f +- E / weight) Q = 0, which is linear but for the product E Q.
    """
    top, bottom = degrees
    level, q = mpf(0), [mpf(1)]
    for _ in range(50):
        rows, right = [], []
        for i, (x, f, w) in enumerate(zip(nodes, values, weights, strict=True)):
            swing = (-1) ** i / w
            target, slope = f + level * swing, swing * polyval(q[::-1], x)
            rows.append([x**j for j in range(top + 1)] + [-target * x**j for j in range(1, bottom + 1)] + [-slope])
            right.append(target - slope * level)
        *coefficients, new_level = lu_solve(matrix(rows), matrix(right))
        p, q = coefficients[: top + 1], [mpf(1), *coefficients[top + 1 :]]
        level, change = new_level, fabs(new_level - level)
        if change <= fabs(level) * mpf(10) ** -9:
            return p, q
    raise ArithmeticError("Newton's method did not settle")


def alternate(points, errors, count):
    """The `count` neighbouring extrema of alternating sign that hold the largest errors."""
    chosen = []
    for i, error in enumerate(errors):
        if chosen and sign(errors[chosen[-1]]) == sign(error):
            if fabs(error) > fabs(errors[chosen[-1]]):
                chosen[-1] = i
        else:
            chosen.append(i)
    while len(chosen) > count:
        chosen.pop(0 if fabs(errors[chosen[0]]) < fabs(errors[chosen[-1]]) else -1)
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
            w * (polyval(p[::-1], x) / polyval(q[::-1], x) - f)
            for x, f, w in zip(points, values, weights, strict=True)
        ]
        worst = max(map(fabs, errors))
        levelled = min(fabs(errors[i]) for i in chosen)
        if worst <= levelled * mpf("1.001"):
            return p, q, worst
        chosen = alternate(points, errors, count)
        if len(chosen) < count:
            raise ArithmeticError(f"the error alternates {len(chosen)} times, not {count}")
    raise ArithmeticError("the exchange did not settle")


def curvature(r):
    """(exp(r) - 1 - r) / r**2: what is left to fit when the first two terms are exact."""
    return (expm1(r) - r) / r**2 if r else mpf(1) / 2


def curvature_weight(r):
    """Makes an error of `curvature` the relative error of exp(r) - 1."""
    return fabs(r**2 / expm1(r)) if r else mpf(0)


def scaled_tail(a):
    """The normal distribution beyond a, times exp(a**2 / 2)."""
    return exp(a**2 / 2) * erfc(a / sqrt(2)) / 2


def rounded(value, bits):
    """`value` to `bits` significant bits, as an exact hexadecimal constant."""
    with workprec(bits):
        return float(+value).hex()


def print_table(name, coefficients, digits):
    numbers = [nstr(c, digits, min_fixed=0, max_fixed=0) for c in coefficients]
    print(f"{name}[] = {{{', '.join(numbers)}}};")


def print_tables(dtype, bits, high_bits, exp_degree, tail_degrees, tail_end):
    digits = 9 if bits == 24 else 17
    with workprec(high_bits):
        high = +log(2)
    print(f"{dtype}\nLN2_HIGH {rounded(high, bits)} LN2_LOW {rounded(log(2) - high, bits)}")
    half = log(2) / 2
    p, _, worst = remez(curvature, curvature_weight, grid(-half, half), (exp_degree, 0))
    print(f"exp(r) - 1 on +-ln(2)/2, relative error {nstr(worst, 2)}")
    print_table("EXP", p, digits)
    p, q, worst = remez(scaled_tail, lambda a: 1 / scaled_tail(a), grid(mpf(0), mpf(tail_end), mpf(2)), tail_degrees)
    print(f"normal tail on 0..{tail_end}, relative error {nstr(worst, 2)}")
    print_table("TAIL_P", p, digits)
    print_table("TAIL_Q", q, digits)


if __name__ == "__main__":
    print_tables("float32", 24, 15, 4, (4, 5), 14.5)
    print_tables("float64", 53, 42, 9, (9, 10), 39)
