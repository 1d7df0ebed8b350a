"""Compiled loops of the search: 8-bit codes of rows, shortlists from products, and exact distances.

A distance is a float64 sum in the order of `geometry.squared_lengths`, so it depends on the two rows only. Values that
only decide which distances are computed are rounded within the bounds that `quantised` states. Bank rows are float32 or
float64 and have a factor, `inverse`: 1 / length for rows that are not at length 1 yet, 0 for a zero row, else 1.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from detectors.geometry import SUMS

LANES = 64
"""Sets of columns of a tile (column number modulo LANES); for most tiles, only the largest value of each is used."""

LOWEST = np.float32(-3e38)
"""A value below all others, for columns of padding."""

ROUNDING = 2.0**-20
"""Upper bound of the relative float32 rounding error of product * scale + offset."""

UNDERFLOW = 1e-30
"""Upper bound of the float32 error of products and offsets that underflow."""

SAFE_INVERSE = (1e-30, 1e30)
"""Range in which 1 / length of a row neither underflows nor overflows in float32."""

BEST_FIRST = 8
"""Rows of a tile, beside two per neighbour, that are taken in the order of their products, the rest in any order.

The first few lower the k-th distance early. After that, finding the next largest product costs more than it saves.
"""

_ANY_ORDER = {"reassoc", "nsz"}
_LOOSE = {"reassoc", "nsz", "contract", "nnan"}


def _compiled(fastmath: set[str] | bool = False) -> Callable[..., Any]:
    """As `njit`, with a cache on disk if a folder for it can be written."""

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return njit(nogil=True, cache=True, fastmath=fastmath)(function)
        except RuntimeError:  # no folder can be written: every process compiles again
            return njit(nogil=True, fastmath=fastmath)(function)

    return decorate


@_compiled()
def _squared_offset(unit, row, inverse, sums):  # type: ignore[no-untyped-def]
    """Squared length of `unit` - `row` * `inverse`, as `geometry.squared_lengths`; `sums` (SUMS,) is overwritten."""
    d, half = unit.shape[0], SUMS
    while half >= 2 * d:
        half //= 2  # the upper half stays 0
    for lane in range(half):
        sums[lane] = 0.0
    for start in range(0, d - SUMS + 1, SUMS):
        left, right = unit[start : start + SUMS], row[start : start + SUMS]
        for lane in range(SUMS):
            offset = left[lane] - np.float64(right[lane]) * inverse
            sums[lane] += offset * offset
    start = d - d % SUMS
    for lane in range(d - start):
        offset = unit[start + lane] - np.float64(row[start + lane]) * inverse
        sums[lane] += offset * offset
    while half > 1:
        half //= 2
        for lane in range(half):
            sums[lane] += sums[lane + half]
    return sums[0]


@_compiled()
def unit_rows(X, units, inverse):  # type: ignore[no-untyped-def]
    """Write rows of X (n, d) at length 1 to float64 `units`, as `geometry.unit`, bit for bit.

    `inverse` becomes 0 for a zero row; for other rows of float32 it becomes 1 / length.
    """
    n, d = X.shape
    origin, sums = np.zeros(d), np.empty(SUMS)
    for i in range(n):
        squares, size = _squared_offset(origin, X[i], 1.0, sums), 1.0
        if not 1e-290 < squares < 1e290:  # a zero row, or one whose squares may have overflowed or underflowed
            size = np.float64(np.abs(X[i]).max())
            if size == 0.0:
                units[i], inverse[i] = 0.0, 0.0
                continue
            units[i] = X[i] / size
            squares = _squared_offset(origin, units[i], 1.0, sums)
        inverse[i] = 1.0 / np.sqrt(squares)
        for j in range(d):
            units[i, j] = np.float64(X[i, j]) / size * inverse[i]


@_compiled(_ANY_ORDER)
def centre_rows(units, centre, centred, half):  # type: ignore[no-untyped-def]
    """Write float64 `units` (n, d) minus `centre` to float32 `centred`, and half their squared lengths to `half`."""
    n, d = units.shape
    for i in range(n):
        squares = 0.0
        for j in range(d):
            value = units[i, j] - centre[j]
            squares += value * value
            centred[i, j] = np.float32(value)
        half[i] = 0.5 * squares


@_compiled(_LOOSE)
def encode_rows(values, scales, codes, error):  # type: ignore[no-untyped-def]
    """Write 8-bit codes (n, d) of float32 `values`, and the length of each row's coding error to `error`.

    A scale above 0 in `scales` (n,) is used. Otherwise, it is computed from the row's largest value and written there.
    `error` is accurate to 2**-22 of the length of the values.
    """
    n, d = values.shape
    for i in range(n):
        scale = scales[i]
        if not scale > 0.0:
            largest = np.float32(0.0)
            for j in range(d):
                largest = max(largest, abs(values[i, j]))
            scale = max(np.float64(largest) / 127.0, 1e-30)
            scales[i] = scale
        step, inverse, squares = np.float32(scale), np.float32(1.0 / scale), np.float32(0.0)
        for j in range(d):
            code = np.rint(values[i, j] * inverse)
            codes[i, j] = np.int8(code)
            left = values[i, j] - code * step
            squares += left * left
        error[i] = np.sqrt(np.float64(squares) * (1.0 + (d + 4) * 2.0**-23))


@_compiled(_LOOSE)
def _lower_bound(unit, row, inverse, rounding):  # type: ignore[no-untyped-def]
    """Lower bound of half the squared distance in float32, which changes the length of the offset by `rounding`."""
    squares, scale = np.float32(0.0), np.float32(inverse)
    for j in range(unit.shape[0]):
        offset = np.float32(row[j]) * scale - unit[j]
        squares += offset * offset
    length = np.sqrt(np.float64(squares) * (1.0 - (unit.shape[0] + 4) * 2.0**-23)) - rounding
    return 0.5 * length * length if length > 0.0 else 0.0


@_compiled(_LOOSE)
def _largest(maxima):  # type: ignore[no-untyped-def]
    largest = LOWEST
    for value in maxima:
        largest = max(largest, value)
    return largest


@_compiled()
def _lane_of(maxima, value):  # type: ignore[no-untyped-def]
    for lane in range(LANES):
        if maxima[lane] == value:
            return lane
    return 0


@_compiled(_LOOSE)
def _lane_maxima(products, offsets, scale, maxima):  # type: ignore[no-untyped-def]
    """Largest value, product * scale + offset, of each lane."""
    maxima[:] = LOWEST
    for start in range(0, products.shape[0], LANES):
        line, offset = products[start : start + LANES], offsets[start : start + LANES]  # no negative indices
        for lane in range(LANES):
            maxima[lane] = max(maxima[lane], np.float32(line[lane]) * scale + offset[lane])


@_compiled(_LOOSE)
def _best_of_lane(products, offsets, scale, lane, used):  # type: ignore[no-untyped-def]
    """Column and value of the largest unused value of a lane."""
    column, largest = lane, LOWEST
    for start in range(0, products.shape[0], LANES):
        at = np.uintp(start + lane)  # unsigned: never negative
        value = np.float32(products[at]) * scale + offsets[at]
        if value > largest and not used[at]:
            column, largest = start + lane, value
    return column, largest


@_compiled()
def insert(distance, row, best_distance, best_row):  # type: ignore[no-untyped-def]
    """Insert a neighbour into the top k, sorted by (distance, row), unless it is farther than all of them."""
    at = best_row.shape[0] - 1
    if distance > best_distance[at] or (distance == best_distance[at] and row >= best_row[at]):
        return
    while at > 0 and (
        distance < best_distance[at - 1] or (distance == best_distance[at - 1] and row < best_row[at - 1])
    ):
        best_distance[at], best_row[at] = best_distance[at - 1], best_row[at - 1]
        at -= 1
    best_distance[at], best_row[at] = distance, row


@_compiled()
def _update_zero_query(rows, excluded, distances, top_ids):  # type: ignore[no-untyped-def]
    """Update the top k of a zero query: it is at 0 from zero rows and at 2 from all others."""
    _, inverse, ids = rows
    for column in range(len(ids)):
        if ids[column] != excluded:
            insert(0.0 if inverse[column] == 0.0 else 2.0, ids[column], distances, top_ids)


@_compiled()
def _measure(column, rows, query, excluded, top):  # type: ignore[no-untyped-def]
    """Compute the distance of one row, unless its lower bound is too large, and insert it into the query's top k."""
    bank, inverse, ids = rows
    unit, unit32, rounding, farthest, sums = query
    distances, top_ids = top
    if ids[column] == excluded:
        return
    if inverse[column] == 0.0:
        insert(2.0, ids[column], distances, top_ids)
    elif not SAFE_INVERSE[0] < inverse[column] < SAFE_INVERSE[1] or (
        _lower_bound(unit32, bank[column], inverse[column], rounding) <= distances[-1]
    ):
        half = 0.5 * _squared_offset(unit, bank[column], inverse[column], sums)
        insert(min(half, farthest), ids[column], distances, top_ids)


@_compiled({"contract"})
def update_from_tile(products, tile, rows, queries, terms, excluded, top):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """Update the top k of m queries with the rows of a tile.

    products: int32 or float32 (m, t), t a multiple of LANES and at least the number of rows. tile: offsets float32
    (t,), scale, length and error. rows: (n, d), inverse, ids. queries: in float64 and in float32. terms (6, m): scale,
    error, length, and half the squared length; rounding of `_lower_bound`; the largest distance, 0 for a zero query.
    Lengths are those of centred rows, and errors are those of the float32 or 8-bit factors that replace these. Up to
    the errors, the distance of a query and a row is half - product * scale * scale - offset. top: distances and ids
    (m, k). Returns the number of pairs that the products could not skip.
    """
    offsets, tile_scale, tile_length, tile_error = tile
    ids = rows[2]
    last, measured = top[1].shape[1] - 1, 0
    maxima, used, sums = np.empty(LANES, np.float32), np.zeros(products.shape[1], np.bool_), np.empty(SUMS)
    for q in range(products.shape[0]):
        line, distances, top_ids = products[q], top[0][q], top[1][q]
        if terms[5, q] == 0.0:
            _update_zero_query(rows, excluded[q], distances, top_ids)
            continue
        query = (queries[0][q], queries[1][q], terms[4, q], terms[5, q], sums)
        scale, length, error = np.float32(terms[0, q] * tile_scale), terms[2, q], terms[1, q]
        size = length + error + tile_length + tile_error
        slack = error * tile_length + (length + error) * tile_error + ROUNDING * 0.5 * size * size + UNDERFLOW
        base = terms[3, q] - slack
        _lane_maxima(line, offsets, scale, maxima)
        largest = _largest(maxima)
        left = most = BEST_FIRST + 2 * len(distances)
        while left and largest > LOWEST and base - largest <= distances[last]:
            lane = _lane_of(maxima, largest)
            column = _best_of_lane(line, offsets, scale, lane, used)[0]
            used[column] = True
            _measure(column, rows, query, excluded[q], (distances, top_ids))
            maxima[lane] = _best_of_lane(line, offsets, scale, lane, used)[1]
            largest = _largest(maxima)
            left -= 1
        measured += most - left
        if largest > LOWEST and base - largest <= distances[last]:
            for column in range(len(ids)):
                value = np.float32(line[column]) * scale + offsets[column]
                if base - value <= distances[last] and not used[column]:
                    _measure(column, rows, query, excluded[q], (distances, top_ids))
                    measured += 1
        if left < most:
            used[:] = False
    return measured


@_compiled()
def update_from_lists(columns, rows, queries, terms, excluded, top):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """Update the top k of m queries, none of them zero, with the rows `columns` (m, l) that are listed for each."""
    sums = np.empty(SUMS)
    for q in range(columns.shape[0]):
        query = (queries[0][q], queries[1][q], terms[4, q], terms[5, q], sums)
        for column in columns[q]:
            _measure(column, rows, query, excluded[q], (top[0][q], top[1][q]))


@_compiled(_ANY_ORDER)
def first_not_finite(X):  # type: ignore[no-untyped-def]
    """Number of the first row of X (n, d) with a value that is not finite, or -1."""
    for i in range(X.shape[0]):
        total = np.float32(0.0)
        for j in range(X.shape[1]):
            total += X[i, j] * np.float32(0.0)
        if total != 0.0:
            return i
    return -1


@_compiled()
def hash_texts(texts):  # type: ignore[no-untyped-def]
    """64-bit FNV-1a hash (n,) of every row of bytes (n, w), without the zeros at its end."""
    hashes = np.empty(texts.shape[0], np.uint64)
    for i in range(texts.shape[0]):
        end = texts.shape[1]
        while end > 0 and texts[i, end - 1] == 0:
            end -= 1
        value = np.uint64(14695981039346656037)
        for j in range(end):
            value = (value ^ np.uint64(texts[i, j])) * np.uint64(1099511628211)
        hashes[i] = value
    return hashes
