"""How pages of the KV cache lie in memory, for references and cases: NumPy arrays of the declared shape
(heads, pages, page_size, head_dim) to and from the order of a packed page, whatever their element type."""

from __future__ import annotations

PACK_DOC = (
    "elements that lie together along the sum of a product: pages of k_cache are "
    "[head_dim / kv_pack, page_size, kv_pack], of v_cache [page_size / kv_pack, head_dim, kv_pack], where head_dim is "
    "a power of two; 0: both [page_size, head_dim]"
)


def pack_keys(cache, pack):
    if pack == 0:
        return cache
    *outer, size, dim = cache.shape
    return cache.reshape(*outer, size, dim // pack, pack).swapaxes(-3, -2).reshape(cache.shape)


def unpack_keys(cache, pack):
    if pack == 0:
        return cache
    *outer, size, dim = cache.shape
    return cache.reshape(*outer, dim // pack, size, pack).swapaxes(-3, -2).reshape(cache.shape)


def pack_values(cache, pack):
    if pack == 0:
        return cache
    *outer, size, dim = cache.shape
    return cache.reshape(*outer, size // pack, pack, dim).swapaxes(-2, -1).reshape(cache.shape)


def unpack_values(cache, pack):
    if pack == 0:
        return cache
    *outer, size, dim = cache.shape
    return cache.reshape(*outer, size // pack, dim, pack).swapaxes(-2, -1).reshape(cache.shape)
