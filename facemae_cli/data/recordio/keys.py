"""Which key each record of a `.rec` has, where its `.idx`, the numbers in the records and the scan may disagree."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.recordio.sidecars import Index

Longs = NDArray[np.int64]
Flags = NDArray[np.bool_]
_AGREE = 0.9  # from this share on, the numbers in the records are taken to be the keys


class Complaint(NamedTuple):
    """What is wrong with an index: the byte offset it is about in the `.rec`, a reason code, what was met, and the key
    of the record that is lost, -1 where none is: all that is there is read, whatever the index says."""

    offset: int
    reason: str
    detail: str
    lost: int = -1


def assign_keys(
    offsets: Longs, own: Longs, images: Flags, index: Index | None, damaged: Collection[int], size: int
) -> tuple[Longs, list[Complaint]]:
    """The key of every record, all different, and how the index disagrees with the scan; the scan wins.

    `offsets`, `own`: (n,) byte offset of each record, ascending, and the number it carries itself (-1: none that
    can be a key); `images`: (n,) whether it has a body; `damaged`: byte offsets already reported as no record;
    `size`: bytes of the `.rec`. Without an index the records' own numbers are the keys, or, where they mostly
    repeat, the records are counted from 0.
    """
    if index is None:
        if 2 * len(np.unique(own)) <= len(own):
            return np.arange(len(own), dtype=np.int64), []
        keys = own.copy()
        return keys, _settle(keys, own, offsets)
    keys, astray = _listed(offsets, index, damaged, size)
    complaints = _mend_flipped(keys, own, images, offsets)
    unlisted = np.flatnonzero(keys < 0)
    silent = np.isin(own[unlisted], [entry.lost for entry in astray])  # its entry is reported
    complaints += [
        Complaint(int(offsets[i]), "bad-index", "the index does not list the record here; it is read all the same")
        for i in unlisted[~silent]
    ]
    keys[unlisted] = own[unlisted]
    complaints += _settle(keys, own, offsets)
    found = np.isin([entry.lost for entry in astray], keys).tolist()
    complaints += [entry._replace(lost=-1) if there else entry for entry, there in zip(astray, found, strict=True)]
    return keys, complaints


def _listed(offsets: Longs, index: Index, damaged: Collection[int], size: int) -> tuple[Longs, list[Complaint]]:
    """Keys by the index alone (-1: not listed), and its entries that lead to no record, or to another key's."""
    at = np.searchsorted(offsets, index.offsets)
    hit = np.zeros(len(at), bool)
    hit[at < len(offsets)] = offsets[at[at < len(offsets)]] == index.offsets[at < len(offsets)]
    keys = np.full(len(offsets), -1, np.int64)
    keys[at[hit][::-1]] = index.keys[hit][::-1]  # where two entries lead to one record the first counts
    complaints = []
    doubled = np.flatnonzero(hit)[keys[at[hit]] != index.keys[hit]]
    for entry in [*np.flatnonzero(~hit).tolist(), *doubled.tolist()]:
        key, offset = int(index.keys[entry]), int(index.offsets[entry])
        if offset in damaged:
            continue
        if offset >= size:
            detail = f"key {key} stands at byte {offset} by the index, the file ends at {size}"
            complaints.append(Complaint(offset, "truncated-record", detail, key))
        else:
            what = "no record starts" if not hit[entry] else "another key's record stands"
            detail = f"key {key} leads here by the index, but {what} here"
            complaints.append(Complaint(offset, "bad-index", detail, key))
    return keys, complaints


def _mend_flipped(keys: Longs, own: Longs, images: Flags, offsets: Longs) -> list[Complaint]:
    """Reports images whose key is not the number they carry, in a file where nearly all do, and corrects `keys`."""
    listed = images & (keys >= 0)
    agree = listed & (keys == own)
    odd = np.flatnonzero(listed & ~agree)
    if not len(odd) or agree.sum() < _AGREE * listed.sum():
        return []
    low, high = keys[agree].min(), keys[agree].max()
    complaints = []
    for i in odd.tolist():
        text = f"the index says key {keys[i]}, the record says {own[i]}"
        complaints.append(Complaint(int(offsets[i]), "bad-index", text))
        if low <= own[i] <= high and not (keys == own[i]).any():
            keys[i] = own[i]
    return complaints


def _settle(keys: Longs, own: Longs, offsets: Longs) -> list[Complaint]:
    """Gives records whose key is taken their own number, or else a new one; changes `keys`."""
    losers = _repeats(keys, own)
    if not len(losers):
        return []
    taken = np.delete(keys, losers)
    keys[losers] = np.where(np.isin(own[losers], taken), -1, own[losers])
    again = _repeats(keys, own)
    keys[again] = keys.max() + 1 + np.arange(len(again))
    text = "its key is another record's too; it is read as key {}"
    return [Complaint(int(offsets[i]), "bad-index", text.format(keys[i])) for i in losers]


def _repeats(keys: Longs, own: Longs) -> Longs:
    """Records without a key, or with one that is rather another's: of one that carries it, else of the first."""
    order = np.lexsort((keys != own, keys))
    again = np.zeros(len(keys), bool)
    again[order[1:]] = keys[order[1:]] == keys[order[:-1]]
    return np.flatnonzero(again | (keys < 0))
