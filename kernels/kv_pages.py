"""How pages of the KV cache lie in memory, for references and cases: NumPy arrays of the declared shape
(heads, pages, page_size, head_dim) to and from the order of a packed page, whatever their element type."""

from __future__ import annotations

PACK_DOC = (
    "elements that lie together along the sum of a product: pages of k_cache are "
    "[head_dim / kv_pack, page_size, kv_pack], of v_cache [page_size / kv_pack, head_dim, kv_pack], where head_dim is "
    "a power of two; 0: both [page_size, head_dim]"
)


def _reordered(cache, pack, parts, axes):
    """Every page as `parts`, two of them exchanged."""
    if pack == 0:
        return cache
    return cache.reshape(*cache.shape[:-2], *parts).swapaxes(*axes).reshape(cache.shape)


def pack_keys(cache, pack):
    return _reordered(cache, pack, (cache.shape[-2], -1, pack), (-3, -2))


def unpack_keys(cache, pack):
    return _reordered(cache, pack, (-1, cache.shape[-2], pack), (-3, -2))


def pack_values(cache, pack):
    return _reordered(cache, pack, (-1, pack, cache.shape[-1]), (-2, -1))


def unpack_values(cache, pack):
    return _reordered(cache, pack, (-1, cache.shape[-1], pack), (-2, -1))
