"""What attention over the paged KV cache computes, in NumPy, and the cases of its kernels."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from kernels.dtypes import round_to
from kernels.kv_pages import pack_keys, pack_values, unpack_keys, unpack_values
from kernels.spec import Case, Tolerance


def _attend(key, args, visit) -> None:
    """Calls visit(query row, head, tile, weights' exponents, values) for every row the tiles list."""
    group = key["num_heads"] // key["num_kv_heads"]
    size, dim, pack = key["page_size"], key["head_dim"], key.get("kv_pack", 0)
    k_cache, v_cache = unpack_keys(args["k_cache"], pack), unpack_values(args["v_cache"], pack)
    for tile in range(args["tiles"]):
        seq, first = int(args["tile_seq"][tile]), int(args["tile_first"][tile])
        queries, context = int(args["seq_queries"][seq]), int(args["seq_context"][seq])
        tokens = min(queries - first, key["tile_tokens"])
        table = args["page_table"][seq]
        for head in range(key["num_heads"]):
            gather = lambda cache: np.concatenate(
                [cache[head // group, table[p]] for p in range(-(-context // size))]
            ).astype(np.float64)[:context]
            keys, values = gather(k_cache), gather(v_cache)
            for token in range(first, first + tokens):
                row = int(args["seq_start"][seq]) + token
                position = context - queries + token
                low = max(0, position - args["window"] + 1) if key["has_window"] else 0
                query = args["q"].reshape(-1)[row * key["q_stride"] + head * dim :][:dim].astype(np.float64)
                s = keys[low : position + 1] @ query * args["scale"]
                if key["has_softcap"]:
                    s = args["softcap"] * np.tanh(s / args["softcap"])
                if key["has_alibi"]:
                    s = s + args["slopes"][head] * (np.arange(low, position + 1) - position)
                tile_low = max(0, context - queries + first - args["window"] + 1) if key["has_window"] else 0
                visit(row, head, low, s, values[low : position + 1], tile_low, context - queries + first + tokens)


def attention_reference(key, args):
    splits, size = key["num_splits"], key["page_size"]
    result = {name: None if args[name] is None else args[name].copy() for name in ("out", "partial", "lse")}

    def visit(row, head, low, s, values, tile_begin, tile_end):
        def mean(chosen):
            weight = np.exp(s[chosen] - s[chosen].max())
            return weight @ values[chosen] / weight.sum(), (s[chosen].max() + np.log(weight.sum())) / math.log(2)

        if splits == 1:
            result["out"].reshape(-1, key["num_heads"], key["head_dim"])[row, head] = mean(slice(None))[0]
            return
        first_page = tile_begin // size
        pages = -(-tile_end // size) - first_page
        share = -(-pages // min(max((pages + key["split_pages"] // 2) // key["split_pages"], 1), splits))
        page = (low + np.arange(len(s))) // size - first_page
        for split in range(splits):
            chosen = page // share == split
            some = chosen.any()
            result["partial"][row, head, split] = mean(chosen)[0] if some else 0.0
            result["lse"][row, head, split] = mean(chosen)[1] if some else -np.inf

    _attend(key, args, visit)
    written = ("out",) if splits == 1 else ("partial", "lse")
    return {name: result[name] for name in written}


def attention_merge_reference(key, args):
    rows = args["rows"]
    lse = args["lse"][:rows].astype(np.float64)
    highest = lse.max(axis=-1, keepdims=True)
    weight = np.where(np.isneginf(lse), 0.0, np.exp2(lse - np.where(np.isneginf(highest), 0.0, highest)))
    values = np.where(weight[..., None] > 0, args["partial"][:rows].astype(np.float64), 0.0)
    total = weight.sum(axis=-1, keepdims=True)
    out = args["out"].copy()
    out[:rows] = (values * weight[..., None]).sum(axis=-2) / np.where(total == 0, 1.0, total)
    return {"out": out}


def make_case(
    rng, name, sequences, heads=(3, 1), dim=64, page=16, tile_tokens=1, splits=1, q_dtype="f32", cache="f32",
    out_dtype="f32", window=0, softcap=0.0, alibi=False, extra_stride=0, split_pages=1,
):  # fmt: skip
    """`sequences`: (queries, context) of each."""
    num_heads, num_kv_heads = heads
    stride = num_heads * dim + extra_stride
    needed = [-(-context // page) for _, context in sequences]
    max_pages, total = max(needed) + 1, sum(needed) + 2
    order = rng.permutation(total)
    table = np.full((len(sequences), max_pages), total - 1, np.int32)
    caches = [rng.standard_normal((num_kv_heads, total, page, dim)).astype(np.float32) for _ in range(2)]
    used = 0
    for s, ((_, context), count) in enumerate(zip(sequences, needed)):
        table[s, :count] = order[used : used + count]
        if context % page:
            for values in caches:  # never written
                values[:, table[s, count - 1], context % page :] = np.nan
        used += count
    starts = np.cumsum([0] + [queries for queries, _ in sequences])
    tiles = [(s, f) for s, (queries, _) in enumerate(sequences) for f in range(0, queries, tile_tokens)]
    rows = int(starts[-1])
    shape = (rows + 1, num_heads, splits)
    split = splits > 1
    key = {
        "q_dtype": q_dtype, "cache_dtype": cache, "out_dtype": out_dtype, "num_heads": num_heads,
        "num_kv_heads": num_kv_heads, "head_dim": dim, "page_size": page, "q_stride": stride,
        "tile_tokens": tile_tokens, "num_splits": splits, "split_pages": split_pages, "has_window": int(window > 0),
        "has_softcap": int(softcap > 0), "has_alibi": int(alibi),
    }  # fmt: skip
    args = {
        "q": 2 * rng.standard_normal((rows + 1, stride), dtype=np.float32),
        "k_cache": round_to(caches[0], cache),
        "v_cache": round_to(caches[1], cache),
        "tile_seq": np.array([s for s, _ in tiles], np.int32),
        "tile_first": np.array([f for _, f in tiles], np.int32),
        "seq_start": starts[:-1].astype(np.int32),
        "seq_queries": np.array([queries for queries, _ in sequences], np.int32),
        "seq_context": np.array([context for _, context in sequences], np.int32),
        "page_table": table,
        "slopes": (0.5 ** np.arange(1, num_heads + 1)).astype(np.float32) if alibi else None,
        "out": None if split else np.full((rows + 1, num_heads * dim), -7, np.float32),
        "partial": np.full((*shape, dim), -7, np.float32) if split else None,
        "lse": np.full(shape, -7, np.float32) if split else None,
        "tiles": len(tiles), "max_pages": max_pages, "num_pages": total, "scale": dim**-0.5, "window": window, "softcap": softcap,
    }  # fmt: skip
    exact = (q_dtype != cache and cache != "f8e4m3") or q_dtype == "f32"
    tight, loose = Tolerance(2e-5, 2e-5), Tolerance(3e-2, 1e-2)
    inner = tight if exact else loose
    outer = Tolerance(max(inner.atol, 2e-3), 8e-3) if out_dtype != "f32" else inner
    return Case(name=name, key=key, args=args, tolerance={"out": outer, "partial": inner, "lse": inner})


def _packed(case):
    pack = 1 if case.key["cache_dtype"] == "f32" else 2
    caches = {"k_cache": pack_keys(case.args["k_cache"], pack), "v_cache": pack_values(case.args["v_cache"], pack)}
    return replace(
        case, name=f"{case.name}_packed", key={**case.key, "kv_pack": pack}, args={**case.args, **caches}
    )


def attention_cases():
    for case in unpacked_cases():
        case = replace(case, key={**case.key, "kv_pack": 0})
        yield case
        head_dim = case.key["head_dim"]
        if head_dim & (head_dim - 1) == 0 and case.key["cache_dtype"] != "f8e4m3":
            yield _packed(case)


def unpacked_cases():
    rng = np.random.default_rng(61)
    bf16 = {"q_dtype": "bf16", "cache": "bf16", "out_dtype": "bf16"}
    for label, dtypes in (("f32", {}), ("bf16", bf16)):
        yield make_case(rng, f"first_token_{label}", [(1, 1)], **dtypes)
        yield make_case(rng, f"decode_{label}", [(1, 100)], heads=(9, 3), extra_stride=384, **dtypes)
        yield make_case(rng, f"decode_split_{label}", [(1, 515)], heads=(9, 3), page=32, splits=4, **dtypes)
        yield make_case(
            rng, f"big_splits_{label}", [(1, 515), (1, 90), (1, 5)], heads=(9, 3), page=32, splits=4, split_pages=6,
            **dtypes,
        )  # fmt: skip
        yield make_case(rng, f"empty_splits_{label}", [(1, 17), (1, 16), (1, 1)], splits=8, **dtypes)
        yield make_case(rng, f"prefill_{label}", [(70, 70)], heads=(9, 3), tile_tokens=21, extra_stride=384, **dtypes)
        yield make_case(rng, f"chunk_{label}", [(40, 133)], heads=(3, 3), tile_tokens=16, page=64, **dtypes)
        yield make_case(
            rng, f"ragged_{label}", [(5, 5), (1, 48), (33, 64), (1, 1), (17, 30)], tile_tokens=5, page=16, **dtypes
        )
        yield make_case(
            rng, f"tiles_of_32_{label}", [(70, 300), (33, 33), (5, 131), (1, 1)], heads=(6, 2), page=32, tile_tokens=32,
            **dtypes,
        )  # fmt: skip
        yield make_case(rng, f"split_chunk_{label}", [(9, 90), (2, 200)], tile_tokens=4, splits=3, **dtypes)
    for heads in ((1, 1), (3, 1), (8, 2), (7, 1), (16, 2)):
        group = heads[0] // heads[1]
        yield make_case(rng, f"group{group}_decode", [(1, 33), (1, 64)], heads=heads)
        yield make_case(rng, f"group{group}_prefill", [(19, 40)], heads=heads, tile_tokens=8)
    for dim in (16, 40, 80, 96, 128):
        yield make_case(rng, f"dim{dim}_decode", [(1, 50)], dim=dim)
        yield make_case(rng, f"dim{dim}_prefill", [(20, 50)], dim=dim, tile_tokens=5, **bf16)
    for window in (1, 7, 16, 33, 1000):
        yield make_case(rng, f"window{window}_decode", [(1, 80), (1, 81), (1, 3)], window=window)
        yield make_case(rng, f"window{window}_prefill", [(60, 75)], window=window, tile_tokens=10, splits=2)
    yield make_case(rng, "softcap", [(20, 50), (1, 9)], softcap=5.0, tile_tokens=5)
    yield make_case(rng, "alibi", [(20, 50), (1, 9)], heads=(8, 2), alibi=True, tile_tokens=5)
    yield make_case(rng, "everything", [(20, 50)], heads=(6, 2), alibi=True, softcap=9.0, window=11, tile_tokens=3, splits=2)
    yield make_case(rng, "f16_cache", [(9, 50)], cache="f16", tile_tokens=5)
    yield make_case(rng, "bf16_query_f32_cache", [(9, 50)], q_dtype="bf16", tile_tokens=5)
    yield make_case(rng, "f32_query_bf16_cache", [(1, 50), (1, 7)], cache="bf16")
    for q_dtype in ("f32", "bf16"):
        more = {"q_dtype": q_dtype, "cache": "f8e4m3", "out_dtype": q_dtype}
        yield make_case(rng, f"f8_cache_{q_dtype}_decode", [(1, 100), (1, 7)], heads=(9, 3), **more)
        yield make_case(rng, f"f8_cache_{q_dtype}_split", [(1, 515)], heads=(8, 2), dim=128, page=32, splits=4, **more)
        yield make_case(rng, f"f8_cache_{q_dtype}_prefill", [(70, 90)], heads=(4, 2), dim=80, tile_tokens=8, **more)
    for page in (16, 32, 64):
        for context in (page - 1, page, page + 1):
            yield make_case(rng, f"page{page}_context{context}", [(1, context)], page=page)


def attention_merge_cases():
    rng = np.random.default_rng(62)
    for label, rows, heads, dim, splits, out_dtype in (
        ("decode", 1, 9, 64, 4, "bf16"), ("odd", 3, 5, 80, 3, "f32"), ("many", 20, 2, 128, 16, "f32"),
        ("one_split", 2, 2, 16, 1, "f32"),
    ):  # fmt: skip
        lse = 4 * rng.standard_normal((rows, heads, splits)).astype(np.float32)
        partial = rng.standard_normal((rows, heads, splits, dim)).astype(np.float32)
        if splits > 1:
            lse[:, 0, 1:] = -np.inf
            partial[:, 0, 1:] = np.nan
            lse[0, 1] = -np.inf
        yield Case(
            name=label,
            key={"out_dtype": out_dtype, "num_heads": heads, "head_dim": dim, "num_splits": splits},
            args={"partial": partial, "lse": lse, "out": np.full((rows + 1, heads, dim), -7, np.float32), "rows": rows},
        )
