"""What changes about somebody from photo to photo, and what does not."""

from __future__ import annotations

from dataclasses import fields

import cv2
import numpy as np

from facemae_cli.data.synthetic import Person, Shot, render
from facemae_cli.data.synthetic.look import on_the_day


def days(index: int, photos: int = 12) -> list[Person]:
    """Person `index` of seed 3 as each of so many photos finds them."""
    return [on_the_day(Person.random(3, index), 3, index, photo) for photo in range(photos)]


def test_a_face_stays_the_same_from_day_to_day_and_what_grows_or_is_worn_does_not() -> None:
    worn = {"hair", "hair_color", "hair_volume", "hair_part", "hairline", "beard", "beard_density", "glasses"}
    worn |= {"frame_color", "makeup", "brow_density", "collar", "skin"}  # skin: lighter or darker by a tan
    kept = {field.name for field in fields(Person)} - worn
    for index in range(20):
        person = Person.random(3, index)
        seen = days(index)
        assert all(getattr(day, name) == getattr(person, name) for day in seen for name in kept)
        for name in ("hair_color", "hair_volume", "collar", "skin"):
            assert len({getattr(day, name) for day in seen}) == len(seen), name
        assert np.abs(np.array([day.skin for day in seen]) - person.skin).max() < 0.09


def test_people_change_their_hair_beard_and_glasses_within_reason() -> None:
    everybody = {index: days(index) for index in range(60)}
    for index, seen in everybody.items():
        person = Person.random(3, index)
        assert person.masculine > 0.5 or {day.beard for day in seen} == {"none"}
        if person.hair in ("bald", "buzz"):
            assert {day.hair for day in seen} <= {"bald", "buzz"}
        else:
            assert {day.hair for day in seen} - {person.hair}
            assert "bald" not in {day.hair for day in seen}
    wearers = [index for index in everybody if Person.random(3, index).glasses != "none"]
    shares = [np.mean([day.glasses != "none" for day in everybody[index]]) for index in wearers]
    assert 0.4 < np.mean(shares) < 0.8


def by_color(faces: list[np.ndarray], labels: list[int]) -> float:
    """How often the nearest other photo by colour alone, brightness taken out, is of the same person."""
    soft = [cv2.GaussianBlur(face.astype(float), (0, 0), 1)[8:, 10:46] + 1 for face in faces]
    flat = np.array([(face / face.sum(axis=2, keepdims=True)).ravel() for face in soft])
    distance = np.square(flat[:, None] - flat[None]).sum(axis=2)
    np.fill_diagonal(distance, np.inf)
    return float((np.array(labels)[distance.argmin(axis=1)] == labels).mean())


def test_colour_alone_tells_people_apart_by_what_they_wear_and_less_so_from_day_to_day() -> None:
    """Nearest neighbour by colour alone: above the 3 in 39 of chance, and far above it where nobody changes."""
    places = [(index, photo) for index in range(10) for photo in range(4)]
    labels = [index for index, _ in places]
    shots = [Shot.random(5, *place) for place in places]
    same = [Person.random(5, index) for index in labels]
    dressed = [on_the_day(person, 5, *place) for person, place in zip(same, places, strict=True)]
    found = [
        by_color([render(person, shot, 56) for person, shot in zip(people, shots, strict=True)], labels)
        for people in (same, dressed)
    ]
    assert found[0] > 0.4
    assert 3 / 39 < found[1] < found[0] - 0.1
