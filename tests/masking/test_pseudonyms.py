"""Pseudonyms and order: bit-by-bit vectors from plain hashlib and base64, and names found again with the key."""

import base64
import hashlib
import hmac
import os

from hypothesis import given, settings
from hypothesis import strategies as st

from facemae_cli.data.faces import Name
from facemae_cli.masking.key import Key, seed_payload
from facemae_cli.masking.pseudonyms import kept_order, keyed_order, recover_names, without_suffix

SECRET = bytes(range(32))
KEY = Key(SECRET)


def digest(message: bytes) -> bytes:
    return hmac.new(SECRET, message, hashlib.sha256).digest()


def test_pseudonyms_are_128_bits_of_hmac_in_base32():
    expected = base64.b32encode(digest(b"identityfamily/Ada Lovelace")[:16]).decode().strip("=").lower()
    assert KEY.identity("family/Ada Lovelace") == expected
    assert len(expected) == 26
    expected = base64.b32encode(digest(b"photofamily/Ada Lovelace\x001.jpg")[:16]).decode().strip("=").lower()
    assert KEY.photo("family/Ada Lovelace", "1.jpg") == expected
    assert KEY.photo(None, "1.jpg") == base64.b32encode(digest(b"photo\x001.jpg")[:16]).decode().strip("=").lower()


def test_known_vectors_stay_what_they_were():
    assert KEY.identity("anna") == "ggbtneithe5eisrwx5qihoaq6i"
    assert KEY.photo("anna", "1.jpg") == "yoi5gexeslq4rhof2adtypqyoq"


def test_order_is_the_whole_hmac_of_a_name():
    assert KEY.order("anna") == digest(b"orderanna")
    assert KEY.order("anna", "1.jpg") == digest(b"orderanna\x001.jpg")
    assert KEY.order(None) == digest(b"order")


def test_one_name_typed_in_two_unicode_forms_is_one_name():
    assert KEY.identity("Zoe\u0308") == KEY.identity("Zo\u00eb")
    assert KEY.photo("Zoe\u0308", "e\u0301.png") == KEY.photo("Zo\u00eb", "\u00e9.png")
    assert KEY.identity("Zoe") != KEY.identity("Zo\u00eb")


def test_file_names_that_are_no_text_are_kept_apart():
    assert KEY.identity(os.fsdecode(b"caf\xe9")) != KEY.identity(os.fsdecode(b"caf\xe8"))


@given(
    one=st.tuples(st.text(max_size=8), st.text(max_size=8)),
    other=st.tuples(st.text(max_size=8), st.text(max_size=8)),
)
@settings(max_examples=60, deadline=None)
def test_no_identity_and_file_name_run_together(one, other):
    if any("\0" in part for part in (*one, *other)):
        return
    same = KEY.photo(*one) == KEY.photo(*other)
    assert same == (seed_payload(Name(*one)) == seed_payload(Name(*other)))
    assert KEY.photo("ab", "c") != KEY.photo("a", "bc")


def test_every_name_is_found_again_with_the_key():
    names = [Name(f"person {i}/deep", f"{j}.jpg") for i in range(5) for j in range(3)] + [Name(None, "x.png")]
    released = [KEY.name(name) for name in names]
    with_suffix = [Name(name.identity, f"{name.photo}.png") for name in released]
    who = recover_names(names, KEY)
    assert [who[without_suffix(name)] for name in with_suffix] == names
    assert not set(recover_names(names, Key(bytes(32)))) & set(released)


def test_of_faces_with_one_name_the_first_is_found_again():
    first, same, other_form = Name("Zo\u00eb", "1.jpg"), Name("Zo\u00eb", "1.jpg"), Name("Zoe\u0308", "1.jpg")
    who = recover_names([first, same, other_form, Name("Zo\u00eb", "2.jpg")], KEY)
    assert list(who.values()) == [first, Name("Zo\u00eb", "2.jpg")]


def test_only_the_suffix_of_an_image_is_left_out():
    names = ["a.b.jpg", "Mr. X", "Mr. Y", "1.JPEG", "x.webp", ".png", "7"]
    assert [without_suffix(Name("anna", name)).photo for name in names] == [
        "a.b",
        "Mr. X",
        "Mr. Y",
        "1",
        "x",
        ".png",
        "7",
    ]


def test_the_order_of_names_by_key():
    names = [
        Name("anna", "1.jpg"),
        Name(None, "1.jpg"),
        Name("bert", "1.jpg"),
        Name("anna", "2.jpg"),
        Name("bert", "1.jpg"),
    ]
    order, repeated = keyed_order(names, KEY)
    expected = sorted(
        range(5), key=lambda i: (digest(b"order" + (names[i][0] or "").encode()), KEY.order(names[i][0], names[i][1]))
    )
    assert order == expected
    assert repeated == {4}


def test_kept_names_that_differ_in_their_suffix_alone_are_repeated():
    photos = ["1.jpg", "1.png", "Mr. X", "Mr. Y", "1.txt", "1.JPG"]
    order, repeated = kept_order(
        [*(Name("anna", photo) for photo in photos), Name("bert", "1.jpg"), Name(None, "1.jpg")]
    )
    assert order == list(range(8))
    assert repeated == {1, 5}
