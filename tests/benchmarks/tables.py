"""The paper's tables and figures (arXiv 2205.11090, section 4) as steps over any faces, and the curve beyond it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from steps import Lab, Step

from facemae_cli.data.safe_yaml import load_mapping

RATIOS = (0.30, 0.50, 0.75, 0.85, 0.90)
TRADED = (0.65, 0.75, 0.80, 0.85)
BETAS = (0.1, 0.5, 1.0, 10.0)
MARGINS = (0.3, 0.2, 0.1, 0.0)
LOSSES: dict[str, dict[str, Any]] = {
    "MSE": {"loss": "mse"},
    "IM": {"loss": "irm", "beta": 0.0},
    "RM": {"loss": "irm", "instance_weight": 0.0},
    "IM + RM": {"loss": "irm"},
    "all": {"loss": "mixed"},
}
FACEMAE: dict[str, Any] = {"loss": "mixed"}
MSE = LOSSES["MSE"]


@dataclass(frozen=True)
class Faces:
    """A dataset that is given: its name in the work folder, its place and how many faces it has."""

    name: str
    place: Path
    count: int


@dataclass(frozen=True)
class Row:
    """A line of a table: verified recognisers, one a seed, and an audit of what they learnt from."""

    title: str
    utility: tuple[Step, ...]
    leakage: Step | None = None


@dataclass(frozen=True)
class Scale:
    """What is fitted and trained, and for how long: a YAML file of `scales/`. Recipes override the cards'.

    `facemae`: what its fit adds to `fit` in all tables but those of the loss, which are the paper's. `recognizer`: a
    card's name, or a folder beside the file. `init`: whether FaceMAE starts from the plain MAE: the given one, whatever
    it hid, else one of the same seed and mask. `given`: models that stand for the two fitted on the public faces.
    `teacher`: an embedder whose features recognisers learn too; "": they learn from labels alone.
    """

    mae: str
    recognizer: str
    fit_mse: Mapping[str, Any] = field(default_factory=dict)
    fit: Mapping[str, Any] = field(default_factory=dict)
    facemae: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)
    networks: Sequence[str] = ()
    init: bool = False
    given: Mapping[str, str] = field(default_factory=dict)
    teacher: str = ""

    @classmethod
    def load(cls, path: Path) -> Scale:
        """Raises TypeError for a key that is not known."""
        scale = cls(**load_mapping(path))
        beside = path.parent / scale.recognizer
        return replace(scale, recognizer=str(beside)) if (beside / "model.yaml").is_file() else scale


@dataclass(frozen=True)
class Setup:
    """How releases of `private` are measured: recognisers of several `seeds` learn from them and are verified on
    `packs`, and `attackers`, embedders, audit them."""

    lab: Lab
    scale: Scale
    private: Faces
    packs: Sequence[Path]
    attackers: Sequence[str]
    seeds: Sequence[int]

    def recipe(self, name: str, fields: Mapping[str, Any]) -> str:
        """A recipe file in the work folder."""
        path = self.lab.work / "recipes" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(dict(fields)))
        return str(path)

    def model(self, mae: Step | str) -> str:
        """What `--model` takes for it."""
        return self.lab.place(mae) if isinstance(mae, Step) else mae

    def masked(self, faces: Faces, ratio: float | None = 0.75, strategy: str = "random", seed: int = 0) -> Step:
        """Faces masked by a number, under their names, as the paper's experiments are."""
        share = "" if ratio is None else f"-{100 * ratio:.0f}"
        command = ["mask", "--in", str(faces.place), "--strategy", strategy, "--seed", str(seed), "--keep-names"]
        command += [] if ratio is None else ["--ratio", str(ratio)]
        return Step(f"masked/{faces.name}-{strategy}{share}-s{seed}.rec", tuple(command), (), faces.count)

    def released(self, mae: Step | str, masked: Step) -> Step:
        """Faces drawn anew."""
        name = (mae.name if isinstance(mae, Step) else mae).replace("/", "-")
        command = ("reconstruct", "--in", self.lab.place(masked), "--model", self.model(mae))
        after = (masked, mae) if isinstance(mae, Step) else (masked,)
        folder = f"released/{name}--{Path(masked.name).stem}.rec"
        return Step(folder, command, after, masked.faces, self.scale.mae)

    def taught(self, data: Step | Faces, seed: int, network: str | None = None) -> Step:
        """The verification of a recogniser trained on `data`."""
        network = network or self.scale.recognizer
        place = self.lab.place(data) if isinstance(data, Step) else str(data.place)
        count = data.faces if isinstance(data, Step) else data.count
        short = Path(network).name
        slug = f"{short}-{data.name.replace('/', '-').removesuffix('.rec')}-s{seed}"
        recipe = self.recipe(f"train-{short}", self.scale.train)
        command = ("train-recognizer", "--data", place, "--model", network, "--recipe", recipe, "--seed", str(seed))
        teacher = self.scale.teacher
        command += ("--teacher", teacher, "--cache", str(self.lab.work / "cache")) if teacher else ()
        after = (data,) if isinstance(data, Step) else ()
        trained = Step(
            f"train/{slug}",
            command,
            after,
            count * self.scale.train.get("epochs", 34),
            short,
            inputs=(yaml.safe_dump(dict(self.scale.train)), *([teacher] if teacher else [])),
        )
        packs = [text for pack in self.packs for text in ("--pairs", str(pack))]
        verify = ("verify", "--model", self.lab.place(trained), *packs)
        return Step(f"verify/{slug}", verify, (trained,), 7701 * len(self.packs), short, False, _places(self.packs))

    def audited(self, original: Faces, data: Step | Faces, *more: str) -> Step:
        """The leakage of a release of `original`."""
        place = self.lab.place(data) if isinstance(data, Step) else str(data.place)
        command = ["leakage", "--original", str(original.place), "--released", place, "--k", "1,2,3,4"]
        command += [text for attacker in self.attackers for text in ("--attacker", attacker)]
        command += ["--cache", str(self.lab.work / "cache"), "--allow-shared-ancestor", *more]
        how = "-".join(more).replace("/", "-")
        if len(how) > 40:  # names of models' places: together longer than a file's name may be
            how = f"-{hashlib.sha256(how.encode()).hexdigest()[:8]}"
        name = f"leakage/{data.name.replace('/', '-').removesuffix('.rec')}{how}"
        after = (data,) if isinstance(data, Step) else ()
        return Step(
            name, tuple(command), after, original.count * len(self.attackers), "audit", False, _places(self.attackers)
        )

    def row(self, title: str, data: Step | Faces, network: str | None = None, audit: bool = True) -> Row:
        """Utility over all seeds, and leakage."""
        utility = tuple(self.taught(data, seed, network) for seed in self.seeds)
        plain = ("--imitations", "0")
        return Row(title, utility, self.audited(self.private, data, *plain) if audit else None)


@dataclass(frozen=True)
class Paper(Setup):
    """What the tables are made from: FaceMAE is fitted on `public` people, or on half of the private ones, and `phi`,
    embedders, teach it."""

    public: Faces
    halves: tuple[Faces, Faces]
    phi: Sequence[str]

    @property
    def best(self) -> dict[str, Any]:
        """How FaceMAE is fitted where a table is not of its loss."""
        return {**FACEMAE, **self.scale.facemae}

    def mae(self, faces: Faces, seed: int, **fields: Any) -> Step | str:
        """An autoencoder fitted on `faces`, or the name of the given one."""
        plain = fields["loss"] == "mse"
        given = self.scale.given.get("mse" if plain else "facemae")
        if given and faces is self.public and fields in (MSE, self.best):
            return given
        name = f"fit/{faces.name}-{_slug(fields)}-s{seed}"
        after: tuple[Step, ...] = ()
        base = self.scale.fit_mse if plain else self.scale.fit
        command = ["fit", "--data", str(faces.place), "--model", self.scale.mae, "--seed", str(seed)]
        recipe = {**base, **fields}
        command += ["--recipe", self.recipe(name.replace("/", "-"), recipe)]
        if not plain:
            command += [text for phi in self.phi for text in ("--embedder", phi)]
            if self.scale.init:
                first = self._start(faces, seed, fields)
                command += ["--init", self.model(first)]
                after = (first,) if isinstance(first, Step) else ()
        inputs = (yaml.safe_dump(recipe), *(() if plain else self.phi))
        network, count = f"{self.scale.mae} {plain}", faces.count * base.get("epochs", 1)
        return Step(name, tuple(command), after, count, network, inputs=inputs)

    def _start(self, faces: Faces, seed: int, fields: Mapping[str, Any]) -> Step | str:
        """The plain MAE that FaceMAE starts from on `faces`."""
        if faces is self.public and "mse" in self.scale.given:
            return self.scale.given["mse"]
        shared = {key: value for key, value in fields.items() if key in ("ratio", "strategy")}
        return self.mae(faces, seed, **MSE, **shared)

    def facemae(self, title: str, ratio: float = 0.75, fit_ratio: float | None = None, **fields: Any) -> Row:
        """A release by an autoencoder fitted on `public` with `fields` (those of FaceMAE where there are none)."""
        fields = fields or self.best
        if fit_ratio is not None and fit_ratio != 0.75:
            fields["ratio"] = fit_ratio
        return self.row(title, self.released(self.mae(self.public, 0, **fields), self.masked(self.private, ratio)))

    def rows(self, table: str) -> list[Row]:
        """The lines of a table, the originals always first. Raises KeyError for a table that is not known."""
        return [self.row("originals", self.private, audit=False), *TABLES[table](self)]


def _places(given: Sequence[Path | str]) -> tuple[str, ...]:
    return tuple(str(each) for each in given)


def _slug(fields: Mapping[Any, Any]) -> str:
    return "-".join(f"{key}={value}" for key, value in fields.items()).replace("/", "-").replace("--", "")


def _table1(paper: Paper) -> list[Row]:
    return [
        paper.row("masked, 75 %", paper.masked(paper.private)),
        paper.row("parts (FaceCrowd)", paper.masked(paper.private, None, "parts")),
        paper.facemae("MAE", **MSE),
        paper.facemae("FaceMAE"),
    ]


def _table2(paper: Paper) -> list[Row]:
    return [paper.facemae(title, **fields) for title, fields in LOSSES.items()]


def _table3(paper: Paper) -> list[Row]:
    return [paper.facemae(f"{100 * ratio:.0f} %", ratio, ratio) for ratio in RATIOS]


def _table8(paper: Paper) -> list[Row]:
    return [paper.facemae(f"{100 * ratio:.0f} %, fitted at 75 %", ratio) for ratio in RATIOS]


def _table4(paper: Paper) -> list[Row]:
    """Which people fit the model and which are released: two datasets, and two halves of one, each way."""
    given = (paper.public, paper.private)
    ways = [given, given[::-1], paper.halves, paper.halves[::-1]]
    return [
        paper.row(
            f"{fitted.name} -> {faces.name}",
            paper.released(paper.mae(fitted, 0, **paper.best), paper.masked(faces)),
            audit=False,
        )
        for fitted, faces in ways
    ]


def _table5(paper: Paper) -> list[Row]:
    release = paper.released(paper.mae(paper.public, 0, **paper.best), paper.masked(paper.private))
    both = [("originals", paper.private), ("FaceMAE", release)]
    return [paper.row(f"{net}, {title}", data, net, False) for net in paper.scale.networks for title, data in both]


def _table6(paper: Paper) -> list[Row]:
    return [paper.facemae(f"beta {beta:g}", **FACEMAE, beta=beta) for beta in BETAS]


def _table7(paper: Paper) -> list[Row]:
    """Other masks: of two seeds, and of eyes or mouth, which the model was fitted with or not."""
    rows = []
    plain = paper.mae(paper.public, 0, **paper.best)
    for title, strategy, seed in (("seed 1", "random", 1), ("seed 2", "random", 2)):
        rows.append(paper.row(title, paper.released(plain, paper.masked(paper.private, 0.75, strategy, seed))))
    for part in ("eyes", "mouth"):
        masked = paper.masked(paper.private, 0.75, part)
        fitted = paper.mae(paper.public, 0, **paper.best, strategy=part)
        rows.append(paper.row(f"{part} hidden at fit and release", paper.released(fitted, masked)))
        rows.append(paper.row(f"{part} hidden at release only", paper.released(plain, masked)))
    return rows


def _margins(paper: Paper) -> list[Row]:
    rows = [paper.facemae("MAE", **MSE), paper.facemae("no margin", **FACEMAE)]
    return rows + [
        paper.facemae(f"margin {margin:g}", **FACEMAE, instance_weight=0.0, privacy_margin=margin) for margin in MARGINS
    ]


def _tradeoff(paper: Paper) -> list[Row]:
    """What each model keeps and gives away as more or less is hidden: a point of one curve beside the other curve."""
    both = [("MAE", MSE), ("FaceMAE", paper.best)]
    return [paper.facemae(f"{title}, {100 * ratio:.0f} %", ratio, **loss) for title, loss in both for ratio in TRADED]


TABLES = {
    "table1": _table1, "table2": _table2, "table3": _table3, "table4": _table4, "table5": _table5,
    "table6": _table6, "table7": _table7, "table8": _table8, "margins": _margins, "tradeoff": _tradeoff,
}  # fmt: skip
