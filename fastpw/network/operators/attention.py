"""Attention, of the products and the softmax that other operators have, and RotaryEmbedding."""

from __future__ import annotations

import math

import numpy as np

from ..graph import Node
from ..plan import Plan
from ..values import Value
from .joins import concat
from .products import matmul
from .reductions import softmax
from .registry import operator
from .scaling import add, everywhere
from .shapes import reshape_to
from .whole import wants, whole


def _node(op: str, **attributes: object) -> Node:
    return Node(op, ["a", "b"], ["y"], attributes)


def _heads(plan: Plan, x: Value, count: int | None) -> Value:
    """(N, L, heads * size) as (N, heads, L, size)."""
    if x.ndim == 4:
        return x
    if not count or x.ndim != 3 or x.shape[2] % count:
        raise ValueError(f"as many heads as divide the last axis are needed, got {count} for {x.shape}")
    n, length, size = x.shape
    x = reshape_to(plan, x, (n, length, count, size // count))
    return plan.view(x, lambda a: a.transpose(0, 2, 1, 3))


def _repeated(plan: Plan, x: Value, heads: int) -> Value:
    """Each head as often as several heads of queries share it."""
    n, own, length, size = x.shape
    if own == heads:
        return x
    if heads % own:
        raise ValueError(f"{heads} heads of queries cannot share {own} of keys")
    return whole(
        plan, lambda a: np.repeat(a, heads // own, axis=1), x, shape=(n, heads, length, size), dtype=x.dtype
    )


@operator("Attention")
def attention(
    plan: Plan,
    node: Node,
    q: Value,
    k: Value,
    v: Value,
    mask: Value | None = None,
    past_k: Value | None = None,
    past_v: Value | None = None,
    lengths: Value | None = None,
) -> tuple[Value | None, ...]:
    """softmax(q @ k.T * scale + mask) @ v for each head.

    Vaswani et al. 2017, Attention is all you need, arXiv:1706.03762, section 3.2.
    """
    get = node.attributes.get
    flat = q.ndim == 3
    q = _heads(plan, q, get("q_num_heads"))
    k, v = (_heads(plan, x, get("kv_num_heads")) for x in (k, v))
    start = 0 if past_k is None else past_k.shape[2]
    if past_k is not None:
        k, v = (concat(plan, _node("Concat", axis=2), past, x) for past, x in ((past_k, k), (past_v, v)))
    present = k, v
    heads, length = q.shape[1], q.shape[2]
    k, v = (_repeated(plan, x, heads) for x in (k, v))
    scale = math.sqrt(get("scale") or 1 / math.sqrt(q.shape[3]))
    q, k = (everywhere(plan, x, scale, 0.0, None) for x in (q, k))
    scores = matmul(plan, _node("MatMul"), q, plan.view(k, lambda a: a.transpose(0, 1, 3, 2)))
    exposed = [scores]
    softcap = get("softcap", 0.0)
    if softcap:
        scores = everywhere(plan, scores, 1 / softcap, 0.0, "tanh")
        scores = everywhere(plan, scores, softcap, 0.0, None)
    exposed.append(scores)
    bias = _bias(plan, node, (length, k.shape[2], start), q.dtype, mask, lengths)
    if bias is not None:
        scores = add(plan, scores, bias)
    exposed.append(scores)
    shares = softmax(plan, _node("Softmax"), scores)
    if bias is not None:
        shares = _without_masked(plan, shares, bias)
    exposed.append(shares)
    y = matmul(plan, _node("MatMul"), shares, v)
    if flat:
        n, _, _, size = y.shape
        y = plan.view(y, lambda a: a.transpose(0, 2, 1, 3))
        y = reshape_to(plan, y, (n, length, heads * size))
    results = y, *present, exposed[get("qk_matmul_output_mode", 0)]
    return tuple(r if number == 0 or wants(node, number) else None for number, r in enumerate(results))


def _bias(
    plan: Plan,
    node: Node,
    sizes: tuple[int, int, int],
    dtype: np.dtype,
    mask: Value | None,
    lengths: Value | None,
) -> Value | None:
    """What is added to the scores: minus infinity where a query does not see a key. None: it sees all.

    `sizes`: queries, keys, and where the first query stands among the keys.
    """
    get = node.attributes.get
    causal, left, right = get("is_causal", 0), get("left_window_size", -1), get("right_window_size", -1)
    if mask is None and lengths is None and not causal and left < 0 and right < 0:
        return None
    queries, keys, start = sizes
    place, key = np.arange(queries)[:, np.newaxis], np.arange(keys)

    def run(mask: np.ndarray | None, lengths: np.ndarray | None) -> np.ndarray:
        first = start if lengths is None else lengths.reshape(-1, 1, 1, 1) - queries
        ahead = key - place - first  # how far a key lies before its query
        seen = np.ones(np.shape(ahead), bool)
        if causal:
            seen &= ahead <= 0
        if left >= 0:
            seen &= -ahead <= left
        if right >= 0:
            seen &= ahead <= right
        if lengths is not None:
            seen &= key < lengths.reshape(-1, 1, 1, 1)
        bias = np.where(seen, 0, -np.inf).astype(dtype)
        if mask is None:
            return bias
        given = np.where(mask, 0, -np.inf).astype(dtype) if mask.dtype == bool else mask
        missing = [(0, 0)] * (mask.ndim - 1) + [(0, max(keys - mask.shape[-1], 0))]
        return bias + np.pad(given, missing, constant_values=-np.inf)

    shape = (queries, keys) if lengths is None else (lengths.size, 1, queries, keys)
    if mask is not None:
        shape = np.broadcast_shapes(shape, (*mask.shape[:-1], keys))
    return whole(plan, run, mask, lengths, shape=shape, dtype=dtype)


def _without_masked(plan: Plan, shares: Value, bias: Value) -> Value:
    """Queries that see no key have shares of zero."""

    def run(shares: np.ndarray, bias: np.ndarray, out: np.ndarray) -> None:
        np.copyto(out, shares)
        blind = np.isneginf(bias.max(axis=-1, keepdims=True))
        if blind.any():
            np.copyto(out, 0, where=blind)

    return plan.compute(run, shares, bias, shape=shares.shape, dtype=shares.dtype)


@operator("RotaryEmbedding")
def rotary_embedding(
    plan: Plan, node: Node, x: Value, cos: Value, sin: Value, positions: Value | None = None
) -> Value:
    """Pairs of numbers turned by an angle that grows with the position.

    Su et al. 2021, RoFormer, arXiv:2104.09864, section 3.4.2.
    """
    get = node.attributes.get
    flat = x.ndim == 3
    heads = _heads(plan, x, get("num_heads"))
    n, count, length, size = heads.shape
    turned = get("rotary_embedding_dim", 0) or size
    interleaved = get("interleaved", 0)

    def run(x: np.ndarray, cos: np.ndarray, sin: np.ndarray, positions: np.ndarray | None) -> np.ndarray:
        c, s = ((a if positions is None else a[positions])[:, np.newaxis] for a in (cos, sin))
        part = x[..., :turned]
        a, b = (part[..., ::2], part[..., 1::2]) if interleaved else np.split(part, 2, axis=-1)
        pair = a * c - b * s, a * s + b * c
        both = np.stack(pair, axis=-1).reshape(part.shape) if interleaved else np.concatenate(pair, -1)
        return np.concatenate([both, x[..., turned:]], axis=-1)

    y = whole(plan, run, heads, cos, sin, positions, shape=heads.shape, dtype=x.dtype)
    if not flat:
        return y
    return reshape_to(plan, plan.view(y, lambda a: a.transpose(0, 2, 1, 3)), (n, length, count * size))
