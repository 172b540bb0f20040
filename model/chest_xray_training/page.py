"""A report -> a page in Markdown, for people."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from chest_xray_training.sources import original_table


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
        *_where(report),
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


def _where(report: Mapping[str, Any]) -> list[str]:
    """Where the answers are right, and where not."""
    groups, sources = report["groups"], report["sources"]
    labels = report["confusion_matrix"]["labels"]
    lines = _section(
        "Adults, children, and the original project's own mixture",
        ["films of", "films", *labels, "balanced accuracy", "calibration error", "low confidence",
         "right if low", "right if not"],
        [
            [name, str(row["films"]), *(_share(row["table"][label]) for label in labels),
             _number(row["balanced_accuracy"]), _number(row["calibration_error"]),
             _share(row["low_confidence"], "share"),
             *(_share(row["right_if_confidence"][how]) for how in ("low", "high"))]
            for name, row in groups.items()
        ],
    )  # fmt: skip
    if rows := original_table(groups):
        lines += _section(
            "As the original project measured: children's normal and pneumonia, and covid-19",
            ["label", "this version, right / all", "the original report"],
            rows,
        )
    lines += _section(
        "By collection",
        ["collection", "films", "right", "sensitivity / specificity", "calibration error",
         "refused by the gate"],
        [
            [source, str(row["films"]),
             ", ".join(f"{label} {hits['right']} / {hits['count']}"
                       for label, hits in row["right"].items()),
             ", ".join(f"{label} {_number(row[f'sensitivity_{label}'])} / "
                       f"{_number(row[f'specificity_{label}'])}" for label in row["right"]),
             _number(row["calibration_error"]), _share(row["refused"], "share")]
            for source, row in sources.items()
        ],
    )  # fmt: skip
    return [*lines, "![Where answers are right](right_by_collection.png)", ""]


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
    if lungs := report["heat_maps_on_lungs"]:
        films = f"{lungs['films']} films whose lungs people have outlined"
        rows += [
            [f"heat maps of {films}: {name.replace('_', ' ')}", _number(value)]
            for name, value in lungs.items()
            if name != "films"
        ]
    return _section("Gate, heat maps, and what else it has learnt", ["what", "value"], rows)


_EXPERIMENTS = {
    "folds": "Five folds of the published DarkCovidNet set, no patient in two of them, nothing "
    "chosen on the held fold. Published: 87.02 % mean accuracy of five folds, which are not stated "
    "to be patient-disjoint.",
    "published": "The same films the way their authors' notebook measures: one random split, the "
    "weights that do best on the films they are measured on. **Optimistic**. Published: 89.33 %.",
    "lungs-masked": "Trained and asked on films whose lungs are covered by a black rectangle: what "
    "is still right was not learnt from lungs.",
    "original-": "The original network by the original recipe, trained and asked on the kinds of "
    "films that the original project had: children's normal and pneumonia films, and covid-19. One "
    "epoch, as it reports, or until the validation loss fell no more. Its own report: 87 %.",
    "films-": "One small network with labels alone, trained on films of so many percent of the "
    "patients of the training split.",
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


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _value(row: Mapping[str, float | None]) -> str:
    if row["value"] is None:
        return "-"
    return f"{row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f})"


def _share(row: Mapping[str, Any], name: str = "accuracy") -> str:
    if row[name] is None:
        return "-"
    low, high = (100 * bound for bound in row["interval_95"])
    return f"{100 * row[name]:.1f} % ({low:.1f} to {high:.1f})"
