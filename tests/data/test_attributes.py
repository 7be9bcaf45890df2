"""CSV files about people and photos, as people save them, and as they break."""

from __future__ import annotations

from pathlib import Path

import pytest

from facemae_cli.data import attributes
from facemae_cli.data.attributes import AttributeTable, read_attributes
from facemae_cli.data.faces import Name
from facemae_cli.errors import InputError

PEOPLE = [Name("Zoë", "1.jpg"), Name("Zoë", "2.jpg"), Name("set/Bo", "1.png"), Name("Al", "1.jpg")]


def read(tmp_path: Path, content: str | bytes) -> AttributeTable:
    path = tmp_path / "groups.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_attributes(path, "--groups")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16"])
def test_files_as_spreadsheets_save_them(tmp_path: Path, delimiter: str, newline: str, coding: str) -> None:
    rows = [
        ["Name", " Sex ", "age"],
        ["Zoe\u0308", "f", "20-29"],
        ["set/Bo", '"m"', ""],
        ["", "", ""],
        ["Cy", "m", "x"],
    ]
    content = newline.join(delimiter.join(row) for row in rows) + newline
    found = read(tmp_path, content.encode(coding)).of(PEOPLE)
    sex, age = found.columns
    assert (sex.name, sex.values, sex.codes.tolist()) == ("Sex", ("f", "m"), [0, 0, 1, -1])
    assert (age.name, age.values, age.codes.tolist()) == ("age", ("20-29",), [0, 0, -1, -1])
    assert (found.rows, found.unmatched, found.faces, found.without) == (3, 1, 4, 1)
    where = str(tmp_path / "groups.csv")
    assert found.lines() == [
        f"{where}: 1 of 3 rows name nobody in the dataset",
        f"{where}: 1 of 4 faces have no row, and are in no group",
    ]


def test_an_excel_line_names_the_delimiter_and_quotes_hold_it(tmp_path: Path) -> None:
    found = read(tmp_path, 'sep=;\nname;group\nAl;"a;b, c"\nZoë;"d ""e"""\n').of(PEOPLE)
    assert found.columns[0].values == ("a;b, c", 'd "e"')
    assert found.columns[0].codes.tolist() == [1, 1, -1, 0]


def test_photos_by_path_with_and_without_suffix_or_by_their_own_name(tmp_path: Path) -> None:
    table = read(tmp_path, "photo,light\nZoë/1.jpeg,day\nset/Bo/1,night\n2.jpg,dusk\n1,none\n")
    found = table.of(PEOPLE)
    light = found.columns[0]
    assert [light.values[code] if code >= 0 else None for code in light.codes] == ["day", "dusk", "night", None]
    assert (found.unmatched, found.without) == (1, 1)  # `1` is the name of three photos
    flat = table.of([Name(None, "1.jpg"), Name(None, "2.jpg")]).columns[0]
    assert [flat.values[code] for code in flat.codes] == ["none", "dusk"]


def test_a_name_and_a_photo_column_together_are_a_path(tmp_path: Path) -> None:
    found = read(tmp_path, "file,sex,identity\n1.jpg,f,Zoë\n1.png,m,set/Bo\n").of(PEOPLE)
    assert found.columns[0].codes.tolist() == [0, -1, 1, -1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no rows below its headings"),
        ("name,sex\n", "has no rows below its headings"),
        ("name,sex\nAl,m\nAl,m\n", "line 3: 'Al' is there already, on line 2: give one"),
        ("name,sex\nZoe\u0308,f\nZo\u00eb,f\n", "line 3: 'Zoë' is there already, on line 2"),
        ("photo,sex\nAl/1.jpg,m\n\nAl/1.png,m\n", "line 4: 'Al/1.png' is there already, on line 2"),
        ("name,sex\nAl\n", "line 2: 1 cells under 2 headings"),
        ("name,sex\nAl,m,x\n", "line 2: 3 cells under 2 headings"),
        ("name,sex\n,m\n", "line 2: no name"),
        ("who,sex\nAl,m\n", "one column must be called name, for people, or photo, for photos; there are who, sex"),
        ("name,person,sex\nAl,Al,m\n", "one column must be called name"),
        ("name\nAl\n", "has no column beside name"),
        ("name,sex,SEX\nAl,m,m\n", "columns need names, each its own; there are name, sex, SEX"),
        ("name,\nAl,m\n", "columns need names"),
        ('name,sex\nAl,"m\n', "line 2: unexpected end of data"),
        (b"name,sex\nAl,m\nZo\xeb,f\n", "line 3, is not utf-8: save it as CSV in UTF-8"),
        (b"\xff\xfen\x00a", "is not|has no rows"),
        (b"name,sex\nAl,m\x00\n", "holds NUL characters"),
        ("name,age\n" + "".join(f"p{n},{n}\n" for n in range(51)), "'age' has 51 values, more than 50: write groups"),
        ("name,sex\nAl," + "m" * 200_000 + "\n", "line 2: field larger than field limit"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_says_where_and_what_to_do(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        read(tmp_path, content)
    assert str(raised.value).startswith(f"--groups {tmp_path / 'groups.csv'}")
    assert "\n" not in str(raised.value)


def test_files_that_are_not_there_or_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"cannot be read: No such file"):
        read_attributes(tmp_path / "none.csv", "--groups")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_attributes(tmp_path, "--groups")
    monkeypatch.setattr(attributes, "MOST_BYTES", 2**20)
    with pytest.raises(InputError, match="is larger than 1 MiB"):
        read(tmp_path, b"x" * (2**20 + 1))


def test_a_file_about_others_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none of its 1 rows, such as 'Cy', names a person of the dataset"):
        read(tmp_path, "name,sex\nCy,m\n").of(PEOPLE)
    assert read(tmp_path, "name,sex\nCy,m\n").of([]).faces == 0
