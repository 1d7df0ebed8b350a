"""Compiled loops of the streamed search: rows to 8-bit codes, products to candidates, candidates to exact distances.

Distances are sums in float64 in one fixed order, so they depend on the two rows alone. What only decides which rows are
measured may round as it likes, within the bounds that `quantised` states.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

LANES = 64
"""Sets into which the columns of a tile are dealt; the largest value of each is all that most tiles are asked for."""

NEVER = np.float32(-3e38)
"""A value below every other; that of columns which are no row."""

ROUNDING = 2.0**-20
"""More than float32 arithmetic takes from a product times a scale plus an offset, relative to what it adds up."""

LEAST = 1e-30
"""More than products and offsets lose where they are too small for float32."""

PLAIN = (1e-30, 1e30)
"""Between these, 1 / length of a row loses nothing in float32 and overflows nowhere."""

BEST_FIRST = 8
"""Rows of a tile measured in the order of their products, beside two per neighbour; a few bring the bar up early, and
where many rows remain above it, order costs more than it saves."""

_FIXED = {"reassoc", "nsz"}  # sums in vectors, yet no fused multiply-add: equal rows must be at 0 exactly
_LOOSE = {"reassoc", "nsz", "contract", "nnan"}


def _compiled(fastmath: set[str] | bool = False) -> Callable[..., Any]:
    """As `njit`, kept on disk where some folder can be written."""

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return njit(nogil=True, cache=True, fastmath=fastmath)(function)
        except RuntimeError:  # neither the package's folder nor the user's: compiled again in every process
            return njit(nogil=True, fastmath=fastmath)(function)

    return decorate


@_compiled(_FIXED)
def unit_rows(X, units, inverse):  # type: ignore[no-untyped-def]
    """Rows of float32 X (n, d) at length 1 into float64 `units`, and 1 / length; a zero row stays zero, with 0."""
    n, d = X.shape
    for i in range(n):
        squares = 0.0
        for j in range(d):
            squares += np.float64(X[i, j]) * np.float64(X[i, j])
        inverse[i] = 1.0 / np.sqrt(squares) if squares > 0.0 else 0.0
        for j in range(d):
            units[i, j] = np.float64(X[i, j]) * inverse[i]


@_compiled(_FIXED)
def centre_rows(units, centre, centred, half):  # type: ignore[no-untyped-def]
    """Float64 `units` (n, d) less `centre` in float32, and half of the squared length of each in float64."""
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
    """8-bit codes (n, d) of float32 `values`, and the length of what each leaves out, to 2**-22 of that of the values.

    A scale above 0 in `scales` (n,) is taken as it is; otherwise the row's largest value decides, and is written there.
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


@_compiled(_FIXED)
def distance_of(unit, row, inverse):  # type: ignore[no-untyped-def]
    """Half the squared distance of a float64 unit row and a float32 row at length 1, both with a direction."""
    squares = 0.0
    for j in range(unit.shape[0]):
        offset = unit[j] - np.float64(row[j]) * inverse
        squares += offset * offset
    return min(0.5 * squares, 2.0)


@_compiled(_LOOSE)
def _at_least(unit, row, inverse):  # type: ignore[no-untyped-def]
    """A lower bound of `distance_of`, in float32: rounding moves no offset of unit rows by more than 2**-21."""
    squares, scale = np.float32(0.0), np.float32(inverse)
    for j in range(unit.shape[0]):
        offset = row[j] * scale - unit[j]
        squares += offset * offset
    length = np.sqrt(np.float64(squares) * (1.0 - (unit.shape[0] + 4) * 2.0**-23)) - 2.0**-21
    return 0.5 * length * length if length > 0.0 else 0.0


@_compiled(_LOOSE)
def _largest(maxima):  # type: ignore[no-untyped-def]
    largest = NEVER
    for value in maxima:
        largest = max(largest, value)
    return largest


@_compiled()
def _lane_of(maxima, value):  # type: ignore[no-untyped-def]
    for lane in range(LANES):
        if maxima[lane] == value:
            return lane
    return 0


@_compiled()
def _has_direction(unit):  # type: ignore[no-untyped-def]
    for value in unit:  # noqa: SIM110 (compiled: a generator would not be)
        if value != 0.0:
            return True
    return False


@_compiled(_LOOSE)
def _lane_maxima(products, offsets, scale, maxima):  # type: ignore[no-untyped-def]
    """Largest value, product * scale + offset, of each lane."""
    maxima[:] = NEVER
    for start in range(0, products.shape[0], LANES):
        line, offset = products[start : start + LANES], offsets[start : start + LANES]  # so that no index is negative
        for lane in range(LANES):
            maxima[lane] = max(maxima[lane], np.float32(line[lane]) * scale + offset[lane])


@_compiled(_LOOSE)
def _best_of_lane(products, offsets, scale, lane, used):  # type: ignore[no-untyped-def]
    """Column and value of the largest that is left in a lane."""
    column, largest = lane, NEVER
    for start in range(0, products.shape[0], LANES):
        at = np.uintp(start + lane)  # an index that cannot be negative
        value = np.float32(products[at]) * scale + offsets[at]
        if value > largest and not used[at]:
            column, largest = start + lane, value
    return column, largest


@_compiled()
def insert(distance, row, best_distance, best_row):  # type: ignore[no-untyped-def]
    """Put a neighbour where it belongs in the lists (k,), which rise by (distance, row), or nowhere."""
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
def _from_nowhere(rows, excluded, distances, found):  # type: ignore[no-untyped-def]
    """Neighbours of a query without direction: at 0 from rows like it, at 2 from all others."""
    _, inverse, ids = rows
    for column in range(len(ids)):
        if ids[column] != excluded:
            insert(0.0 if inverse[column] == 0.0 else 2.0, ids[column], distances, found)


@_compiled()
def _measure(column, rows, query, excluded, best):  # type: ignore[no-untyped-def]
    """Measure one row, unless a cheap bound says that it is too far, and put it into the query's lists."""
    bank, inverse, ids = rows
    distances, found = best
    if ids[column] == excluded:
        return
    if inverse[column] == 0.0:
        insert(2.0, ids[column], distances, found)
    elif not PLAIN[0] < inverse[column] < PLAIN[1] or (
        _at_least(query[1], bank[column], inverse[column]) <= distances[-1]
    ):
        insert(distance_of(query[0], bank[column], inverse[column]), ids[column], distances, found)


@_compiled({"contract"})
def take_tile(products, tile, rows, queries, facts, excluded, best):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """Bring the lists of m queries up to date with the rows of a tile.

    products: int32 or float32 (m, t), t a multiple of LANES and at least the number of rows. tile: offsets float32
    (t,), scale, length and error. rows: float32 (n, d), 1 / length, ids. queries: unit rows in float64 and in float32.
    facts (4, m): scale, error, length and half of its square. Lengths are those of rows less the centre, errors those
    of what stands for them. The distance of a query and a row is half - product * scale * scale - offset, but for the
    errors. best: distances and ids (m, k).
    """
    offsets, tile_scale, tile_length, tile_error = tile
    ids = rows[2]
    units, units32 = queries
    last = best[1].shape[1] - 1
    maxima, used = np.empty(LANES, np.float32), np.zeros(products.shape[1], np.bool_)
    for q in range(products.shape[0]):
        line, distances, found, query = products[q], best[0][q], best[1][q], (units[q], units32[q])
        if not _has_direction(query[0]):
            _from_nowhere(rows, excluded[q], distances, found)
            continue
        scale, length, error = np.float32(facts[0, q] * tile_scale), facts[2, q], facts[1, q]
        size = length + error + tile_length + tile_error
        slack = error * tile_length + (length + error) * tile_error + ROUNDING * 0.5 * size * size + LEAST
        base = facts[3, q] - slack
        _lane_maxima(line, offsets, scale, maxima)
        largest = _largest(maxima)
        left = most = BEST_FIRST + 2 * len(distances)
        while left and largest > NEVER and base - largest <= distances[last]:
            lane = _lane_of(maxima, largest)
            column = _best_of_lane(line, offsets, scale, lane, used)[0]
            used[column] = True
            _measure(column, rows, query, excluded[q], (distances, found))
            maxima[lane] = _best_of_lane(line, offsets, scale, lane, used)[1]
            largest = _largest(maxima)
            left -= 1
        if largest > NEVER and base - largest <= distances[last]:
            for column in range(len(ids)):
                value = np.float32(line[column]) * scale + offsets[column]
                if base - value <= distances[last] and not used[column]:
                    _measure(column, rows, query, excluded[q], (distances, found))
        if left < most:
            used[:] = False


@_compiled()
def take_lists(columns, rows, queries, excluded, best):  # type: ignore[no-untyped-def]
    """Bring the lists of m queries with a direction up to date with the rows (m, l) that were listed for them."""
    units, units32 = queries
    for q in range(columns.shape[0]):
        for column in columns[q]:
            _measure(column, rows, (units[q], units32[q]), excluded[q], (best[0][q], best[1][q]))


@_compiled()
def first_not_finite(X):  # type: ignore[no-untyped-def]
    """The first row of X (n, d) with a value that is not finite, or -1."""
    for i in range(X.shape[0]):
        total = np.float32(0.0)
        for j in range(X.shape[1]):
            total += X[i, j] * np.float32(0.0)
        if total != 0.0:
            return i
    return -1


@_compiled()
def hash_texts(texts):  # type: ignore[no-untyped-def]
    """64-bit FNV-1a hash of every row of bytes (n, w) up to the zeros that fill it."""
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
