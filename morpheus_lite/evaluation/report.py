"""Evaluation of files, and files of scores: tables, JSON, figures."""

import itertools
import json
import re
from collections.abc import Sequence
from pathlib import Path

from morpheus_lite.core.classes import SOURCE_CLASSES
from morpheus_lite.errors import OptionError
from morpheus_lite.evaluation.field import read_result, read_truth
from morpheus_lite.evaluation.scores import EvaluationOptions, Scores, pool_scores
from morpheus_lite.evaluation.scoring import evaluate
from morpheus_lite.evaluation.summary import format_scores, summarise
from morpheus_lite.io.tables import write_catalog
from morpheus_lite.runtime.atomic import atomic_write, check_writable

FILES = {
    "json": "scores.json",
    "markdown": "scores.md",
    "detection": "completeness_purity.png",
    "reliability": "reliability.png",
    "classes": "reliability_by_class.png",
    "residuals": "residuals.png",
}
"""Files that a report always has, by name, but for ``reliability`` and ``classes`` where there are no probabilities."""


def evaluate_files(
    truth: str | Path | Sequence[str | Path],
    results: Sequence[str | Path],
    directory: str | Path | None = None,
    *,
    options: EvaluationOptions | None = None,
    image: str | Path | None = None,
    names: Sequence[str] | None = None,
    overwrite: bool = False,
) -> list[Scores]:
    """Score the results of one or more tools in one or more fields, and write tables, JSON and figures.

    Parameters
    ----------
    truth : path or sequence of path
        Truth file of each field: see `read_truth`.
    results : sequence of path
        What the tools wrote: see `read_result`. Of several fields, those of one tool in the order of the truths, then
        those of the next tool.
    directory : path, optional
        Where the report goes; created when it does not exist. Nothing is written when None.
    options : EvaluationOptions, optional
        Match radius, magnitude bins, band, margin.
    image : path, optional
        The image, where it is not in the truth file; of one field only.
    names : sequence of str, optional
        What to call the tools; by default the names of their files, of several fields what these have in common.
    overwrite : bool
        Replace files that exist.

    Returns
    -------
    list of Scores
        One per tool, its fields pooled.

    Raises
    ------
    OptionError
        Results are not as many as truths, or a multiple of them; or names not as many as tools.
    InputError
        A result is not of the field of its truth: another shape, another WCS, or sources elsewhere.
    """
    truths = [truth] if isinstance(truth, str | Path) else list(truth)
    if not truths or not results or len(results) % len(truths):
        raise OptionError(
            f"{len(truths)} truth(s) and {len(results)} result(s): expected a result of each field, in the order of "
            "the truths, from each tool"
        )
    n_tools = len(results) // len(truths)
    if names is not None and len(names) != n_tools:
        raise OptionError(f"{n_tools} tool(s) and {len(names)} name(s): expected one name a result or tool")
    if image is not None and len(truths) > 1:
        raise OptionError("image: it is that of one field; put the image of each field beside its truth")
    if directory is not None:
        check_writable([Path(directory) / file for file in FILES.values()], overwrite)
    of_tools: list[list[Scores]] = [[] for _ in range(n_tools)]
    for k, path in enumerate(truths):
        field = read_truth(path, image=image)
        for tool, found in enumerate(of_tools):
            result = read_result(results[tool * len(truths) + k], name=names[tool] if names else None)
            found.append(evaluate(field, result, options=options))
    scores = [pool_scores(found, name=_common_name([one.name for one in found])) for found in of_tools]
    if directory is not None:
        write_evaluation(scores, directory, overwrite=overwrite)
    return scores


def write_evaluation(scores: Sequence[Scores], directory: str | Path, *, overwrite: bool = False) -> dict[str, Path]:
    """Write scores of several tools in the same fields: ``scores.json``, ``scores.md``, figures, tables of sources.

    Parameters
    ----------
    scores : sequence of Scores
        One a tool.
    directory : path
        Created when it does not exist.
    overwrite : bool
        Replace files that exist.

    Returns
    -------
    dict
        What was written, by name: ``json``, ``markdown``, ``detection``, ``residuals``, ``reliability``, ``classes``
        (of sources), and for each tool ``confusion_<tool>``, ``sources_<tool>`` and ``detections_<tool>``.
    """
    # matplotlib takes a second to load, and only figures need it.
    from morpheus_lite.evaluation import plots

    directory = Path(directory)
    paths = {key: directory / file for key, file in FILES.items()}
    for tool in (tools := _file_names([one.name for one in scores])):
        paths[f"confusion_{tool}"] = directory / f"confusion_{tool}.png"
        paths |= {f"{kind}_{tool}": directory / f"{kind}_{tool}.ecsv" for kind in ("sources", "detections")}
    check_writable(paths.values(), overwrite)
    directory.mkdir(parents=True, exist_ok=True)
    texts = {"json": json.dumps([summarise(one) for one in scores], indent=1) + "\n", "markdown": format_scores(scores)}
    for key, text in texts.items():
        with atomic_write(paths[key], overwrite=True) as temporary:
            temporary.write_text(text)
    plots.plot_detection(scores, paths["detection"])
    plots.plot_residuals(scores, paths["residuals"])
    drawn = {
        "reliability": plots.plot_reliability(scores, paths["reliability"]),
        "classes": plots.plot_reliability(scores, paths["classes"], [f"sources_{name}" for name in SOURCE_CLASSES]),
    }
    for one, tool in zip(scores, tools, strict=True):
        drawn[f"confusion_{tool}"] = plots.plot_confusion(one, paths[f"confusion_{tool}"])
        for kind, rows in (("sources", one.truth_sources), ("detections", one.detections)):
            write_catalog(rows, paths[f"{kind}_{tool}"], overwrite=True)
    return {key: path for key, path in paths.items() if drawn.get(key, path)}


def _common_name(names: Sequence[str]) -> str:
    """Common beginning of the names of results, without numbers at its end; the first name where there is none."""
    alike = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    common = "".join(letters[0] for letters in alike)
    return common if common in names else re.sub(r"[\W_]*\d*[\W_]*$", "", common) or names[0]


def _file_names(names: Sequence[str]) -> list[str]:
    """Names that can be part of a file's, all different."""
    plain = [re.sub(r"[^A-Za-z0-9.-]+", "_", name).strip("_") or "result" for name in names]
    return [one if plain.count(one) == 1 else f"{one}_{k + 1}" for k, one in enumerate(plain)]
