"""Films and probabilities -> one report: a mapping for programs, Markdown for people."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from chest_xray_training.dataset import Film
from chest_xray_training.metrics import (
    Figures,
    Floats,
    Ints,
    accuracies,
    at_threshold,
    confusion_matrix,
    decisions,
    figures,
    operating_points,
    reliability,
    truths_of,
    with_intervals,
    within_source,
)

_AGES = ((0, 17), (18, 39), (40, 59), (60, 120))
_LEAST = 10
"""The films that a subgroup needs to be reported."""


def evaluate(
    films: Sequence[Film],
    probabilities: Floats,
    valid_films: Sequence[Film],
    valid_probabilities: Floats,
    labels: Sequence[str],
) -> dict[str, Any]:
    """Every figure of one split; operating points are chosen on the validation split."""
    truths = truths_of(films, labels)
    units = [film.unit for film in films]
    predicted = probabilities.argmax(1)

    def chosen(rows: Ints) -> Figures:
        return figures(truths[rows], probabilities[rows], labels)

    sources = np.array([film.source for film in films])

    def inside(rows: Ints) -> Figures:
        return within_source(
            truths[rows], probabilities[rows], list(sources[rows]), labels, least=1
        )

    known = within_source(truths, probabilities, list(sources), labels)
    points = operating_points(truths_of(valid_films, labels), valid_probabilities, labels)
    within = {name: row for name, row in with_intervals(inside, units).items() if name in known}
    return {
        "films": len(films),
        "patients": len(set(units)),
        "table": accuracies(truths, predicted, labels),
        "confusion_matrix": {
            "labels": list(labels),
            "rows_true_columns_predicted": confusion_matrix(truths, predicted, len(labels)),
        },
        "figures": with_intervals(chosen, units),
        "within_source_auroc": within,
        "reliability": [
            {name: round(value, 6) for name, value in row.items()}
            for row in reliability(truths, probabilities)
        ],
        "operating_points": _operating_points(films, probabilities, points),
        "subgroups": _subgroups(films, probabilities, labels),
    }


def _operating_points(
    films: Sequence[Film], probabilities: Floats, points: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    truths, units = truths_of(films, list(points)), [film.unit for film in films]

    def reached(index: int, threshold: float, chosen: Ints) -> Figures:
        sensitivity, specificity = at_threshold(
            truths[chosen] == index, probabilities[chosen, index], threshold
        )
        return {"sensitivity": sensitivity, "specificity": specificity}

    return {
        label: {
            name: {
                "threshold": round(threshold, 6),
                **with_intervals(partial(reached, index, threshold), units),
            }
            for name, threshold in thresholds.items()
        }
        for index, (label, thresholds) in enumerate(points.items())
    }


def _subgroups(
    films: Sequence[Film], probabilities: Floats, labels: Sequence[str]
) -> dict[str, Any]:
    truths, predicted = truths_of(films, labels), probabilities.argmax(1)
    kept = ("accuracy", "balanced accuracy", *(f"sensitivity {label}" for label in labels))
    found: dict[str, Any] = {}
    for kind, name, members in _groups(films):
        if len(members) < _LEAST:
            continue
        part, units = np.array(members), [films[index].unit for index in members]

        def chosen(rows: Ints, part: Ints = part) -> Figures:
            every = decisions(truths[part[rows]], predicted[part[rows]], labels)
            return {figure: every[figure] for figure in kept}

        counts = {label: int((truths[part] == i).sum()) for i, label in enumerate(labels)}
        found.setdefault(kind, {})[name] = {
            "films": len(members),
            "per_label": counts,
            **with_intervals(chosen, units),
        }
    return found


def _groups(films: Sequence[Film]) -> Iterator[tuple[str, str, list[int]]]:
    """The kind, name and film indices of every subgroup, those that are not stated included."""
    kinds = {
        "age group": [film.age_group for film in films],
        "sex": [film.sex for film in films],
        "age": [_age_band(film.age) for film in films],
        "view": [film.view for film in films],
        "source": [film.source for film in films],
    }
    for kind, values in kinds.items():
        for value in sorted(set(values)):
            yield kind, value or "not stated", [i for i, v in enumerate(values) if v == value]


def _age_band(age: float | None) -> str:
    bands = (f"{low} to {high}" for low, high in _AGES if age is not None and low <= age < high + 1)
    return next(bands, "")


def markdown(report: Mapping[str, Any]) -> str:
    """The report as a page, with the 95 % interval of every figure."""
    labels = report["confusion_matrix"]["labels"]
    lines = [
        f"# Version {report['version']}, {report['split']} split",
        "",
        f"{report['films']} films of {report['patients']} patients or groups. Intervals are 95 %: "
        "Wilson in the first table, bootstrap by patient elsewhere. Made by `make evaluate`.",
        "",
        "Research and triage support only, not a diagnosis.",
        "",
        *_section("As the original project reports it", ["label", "accuracy", "right / all"], [
            [name, _share(row), f"{row['right']} / {row['count']}"]
            for name, row in report["table"].items()
        ]),
        *_section("Confusion matrix", ["true \\ predicted", *labels], [
            [label, *map(str, row)] for label, row in zip(
                labels, report["confusion_matrix"]["rows_true_columns_predicted"], strict=True)
        ]),
        *_section("Figures", ["figure", "value"], [
            [name, _value(row)] for name, row in report["figures"].items()
        ]),
        *_section("Within one source, where the source cannot help", ["AUROC", "value"], [
            [name, _value(row)] for name, row in report["within_source_auroc"].items()
        ]),
        *_section(
            "Operating points, chosen on the validation split",
            ["label", "point", "threshold", "sensitivity", "specificity"],
            [
                [label, name.replace("_", " "), f"{point['threshold']:.3f}",
                 _value(point["sensitivity"]), _value(point["specificity"])]
                for label, points in report["operating_points"].items()
                for name, point in points.items()
            ],
        ),
        *_section(
            "Subgroups",
            ["group", "films", "/".join(labels), "accuracy", "balanced accuracy"],
            [
                [f"{kind}: {name}", str(row["films"]),
                 "/".join(map(str, row["per_label"].values())),
                 _value(row["accuracy"]), _value(row["balanced accuracy"])]
                for kind, rows in report["subgroups"].items()
                for name, row in rows.items()
            ],
        ),
    ]  # fmt: skip
    return "\n".join([*lines, *_behaviour(report), *_experiments(report.get("experiments", {}))])


def _behaviour(report: Mapping[str, Any]) -> list[str]:
    """What the figures above do not tell."""
    source, heat = report["source_named_from_the_maps"], report["explanations"]
    rows = [
        [f"real films refused as no film, {split}", _share(row, "share")]
        for split, row in report["refused_as_no_film"].items()
    ]
    if source:
        most = f"{100 * source['share_of_the_most_frequent']:.1f} %"
        rows += [
            ["source of a film named from the maps", _share(source)],
            ["the same by always naming the most frequent source", most],
        ]
    rows += [[name.replace("_", " "), f"{value:.3f}"] for name, value in heat.items()]
    return _section("Gate, heat maps, and what else it has learnt", ["what", "value"], rows)


_EXPERIMENTS = {
    "folds": "Five folds of the published DarkCovidNet set, no patient in two of them, nothing "
    "chosen on the held fold. Published: 87.02 % mean accuracy of five folds, which are not stated "
    "to be patient-disjoint.",
    "published": "The same films the way their authors' notebook measures: one random split, the "
    "weights that do best on the films they are measured on. **Optimistic**. Published: 89.33 %.",
    "lungs-masked": "Trained and asked on films whose lungs are covered by a black rectangle: what "
    "is still right was not learnt from lungs.",
    "without-": "Trained without these sources and asked about them alone.",
}


def _experiments(experiments: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, found in experiments.items():
        about = next(text for start, text in _EXPERIMENTS.items() if name.startswith(start))
        rows = [[key, _value(row)] for key, row in found.items() if isinstance(row, Mapping)]
        rows += [
            [key.replace("_", " "), str(value)]
            for key, value in found.items()
            if not isinstance(value, Mapping)
        ]
        title, empty, *table = _section(f"Experiment: {name}", ["figure", "value"], rows)
        lines += [title, empty, about, "", *table]
    return lines


def _section(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    table = [head, ["---"] * len(head), *rows]
    return [f"## {title}", "", *(f"| {' | '.join(row)} |" for row in table), ""]


def _value(row: Mapping[str, float | None]) -> str:
    if row["value"] is None:
        return "-"
    return f"{row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f})"


def _share(row: Mapping[str, Any], name: str = "accuracy") -> str:
    if row[name] is None:
        return "-"
    low, high = (100 * bound for bound in row["interval_95"])
    return f"{100 * row[name]:.1f} % ({low:.1f} to {high:.1f})"
