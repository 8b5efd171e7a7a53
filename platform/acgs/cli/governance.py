"""`acgs governance`: judge files of requests, and measure the guard on labelled texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from acgs.cli.output import say, write_json, write_table
from acgs.cli.progress import Progress, stop_on_interrupt
from acgs.errors import InvalidInputError, UnavailableError
from acgs.governance.citations import MOST_CITATIONS
from acgs.settings import Settings

if TYPE_CHECKING:
    from acgs.governance.decision import Governor
    from acgs.governance.evaluation import Citing, NumberedLine, SecondTierLogits
    from acgs.governance.quality import TierQuality
    from acgs.governance.scenarios.example import TextExample
    from acgs.statistics.classification import Quality

GROUPS_SHOWN = 30
"""A table lists the largest groups; JSON holds them all."""

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Judge files of requests, and measure the guard on labelled texts.

    Both work in this process, with the constitution and the guard bundle that the settings name: no cluster is needed,
    nothing is put on the audit log.""",
)

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON for machines.")]


@app.command()
def evaluate(
    input_file: Annotated[Path, typer.Option("--input", help="JSON lines with query, domain, context, and maybe id.")],
    output: Annotated[Path, typer.Option(help="JSON lines to write; an unfinished one is continued.")],
    *,
    mode: Annotated[
        Literal["inline", "comprehensive"],
        typer.Option(help="comprehensive puts what is uncertain before the second tier, which needs torch."),
    ] = "inline",
    on_error: Annotated[
        Literal["stop", "record"],
        typer.Option(help="A line that cannot be judged: stop there (exit code 2), or record the error and go on."),
    ] = "stop",
    citations: Annotated[
        int, typer.Option(help="Passages to cite beside every decision; needs --index.", min=0, max=MOST_CITATIONS)
    ] = 0,
    index: Annotated[Path | None, typer.Option(help="Folder of 'acgs retrieval index', to cite from.")] = None,
    encoder: Annotated[
        str, typer.Option(help="'minilm', or the folder of the encoder that made the index.")
    ] = "minilm",
    as_json: AsJson = False,
) -> None:
    """Judge every line of a file and write one record a line: decision, confidence, scores, matched rules.

    The run may be killed or interrupted at any time. Called again in the same way it goes on where it stopped, without
    losing or repeating a line; it refuses if the input, the constitution, the bundle or the index changed meanwhile.

    Example: `acgs governance evaluate --input requests.jsonl --output decisions.jsonl --on-error record`

    Example: `acgs governance evaluate --input requests.jsonl --output cited.jsonl --citations 3 --index ./act-index`
    """
    from acgs.governance.assembly import open_governor
    from acgs.governance.evaluation import BATCH, FileEvaluator, numbered
    from acgs.governance.record_file import RecordFile

    total = _count_lines(input_file)
    if output.exists() and output.samefile(input_file):
        raise InvalidInputError("input and output are the same file; name another output", field="output")
    settings = Settings()
    governor = open_governor(settings)
    second_tier = _open_second_tier(governor) if mode == "comprehensive" else None
    citing = _open_citing(index, encoder, citations)
    evaluator = FileEvaluator(governor, settings, second_tier=second_tier, citing=citing, on_error=on_error)
    tally: Counter[str] = Counter()
    with (
        input_file.open("rb") as handle,
        RecordFile(output) as records,
        Progress("Judging", total) as progress,
        stop_on_interrupt() as stopped,
    ):
        lines = numbered(handle)
        earlier = _tally(tally, records.resume(lines, evaluator.provenance))
        progress.advance(earlier)
        waiting: list[NumberedLine] = []
        while waiting := waiting + list(islice(lines, BATCH - len(waiting))):
            made = evaluator.judge(waiting, stopped)
            records.append(made)
            progress.advance(_tally(tally, made))
            if stopped():
                raise KeyboardInterrupt
            waiting = waiting[len(made) :]
    _show_evaluation(tally, earlier, output, evaluator.provenance, as_json=as_json)


def _count_lines(path: Path) -> int:
    try:
        with path.open("rb") as handle:
            return sum(bool(line.strip()) for line in handle)
    except OSError as error:
        raise InvalidInputError(f"cannot read {path}: {error.strerror}", field="input") from error


def _tally(tally: Counter[str], records: Iterable[dict[str, Any]]) -> int:
    """Count records by decision, and errors; return how many there were."""
    count = 0
    for record in records:
        tally[record.get("final_decision", "error")] += 1
        count += 1
    return count


def _show_evaluation(
    tally: Counter[str], earlier: int, output: Path, provenance: dict[str, Any], *, as_json: bool
) -> None:
    errors = tally.pop("error", 0)
    judged = tally.total()
    if as_json:
        write_json(
            {
                "output": str(output),
                "judged": judged,
                "errors": errors,
                "from_earlier_runs": earlier,
                "decisions": dict(sorted(tally.items())),
                **{name: value for name, value in provenance.items() if value is not None},
            }
        )
        return
    rows = ((name, count, f"{count / judged:.1%}") for name, count in tally.most_common())
    write_table("Decisions", ("decision", "lines", "share"), rows)
    say(f"{judged} lines judged, {errors} recorded as errors, in {output}")
    if earlier:
        say(f"{earlier} of them were there from an earlier run")


def _open_citing(index: Path | None, encoder: str, passages: int) -> Citing | None:
    """What cites from an index in this process.

    Raises:
        InvalidInputError: one is given without the other, or the index cannot be used.
        UnavailableError: the retrieval libraries are missing.
    """
    if not passages and index is None:
        return None
    if not passages or index is None:
        raise InvalidInputError(
            "give --citations and --index, a folder of 'acgs retrieval index', together", field="index"
        )
    try:
        from acgs.cli.citing import IndexCiting
    except ImportError as error:
        raise UnavailableError("citing needs the retrieval extra: pip install 'acgs[retrieval]'") from error
    return IndexCiting(index, encoder, passages)


def _open_second_tier(governor: Governor) -> SecondTierLogits:
    """The bundle's second tier in this process.

    Raises:
        UnavailableError: it is missing, or torch is.
    """
    from acgs.governance.bundle import SECOND_TIER
    from acgs.governance.second_tier import SecondTier

    if SECOND_TIER not in governor.bundle.manifest.files:
        raise UnavailableError("the guard bundle has no second tier; use the inline tier, or train one that has")
    return SecondTier((governor.bundle.directory / SECOND_TIER).read_bytes()).logits


@app.command()
def score(
    input_file: Annotated[
        Path, typer.Option("--input", help="JSON lines or Parquet with text, label (1 violates), and maybe group.")
    ],
    tier: Annotated[
        Literal["inline", "comprehensive", "both", "adapter"],
        typer.Option(
            help="Which tier scores; comprehensive puts every text before the second tier, adapter before the one that "
            "ACGS_SECOND_TIER_ADAPTER names, whose score is its own and takes part in no decision."
        ),
    ] = "both",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Measure the guard on labelled texts: AUPRC, AUROC, F1, recall at 5 % false positives, with 95 % intervals.

    The threshold is the one shipped in the bundle; of the adapter, probability one half. Texts of one group are
    near-copies or belong together: the intervals of the whole resample groups, and each group of several texts gets
    figures of its own. What the data cannot tell (ranking figures of one class alone) is null.

    Example: `acgs governance score --input labelled.jsonl --tier inline --json`
    """
    from acgs.governance.assembly import open_governor
    from acgs.governance.scenarios.user_data import load_user_data

    settings = Settings()
    governor = open_governor(settings)
    if tier == "adapter":
        _score_adapter(governor, settings, input_file, seed, as_json=as_json)
        return
    principles = governor.constitution.document.principle_ids
    # Only the label counts here, so a breach without a named principle may stand under any.
    examples = load_user_data(input_file, principles=principles, default_principle=principles[0])
    tiers = ("inline", "comprehensive") if tier == "both" else (tier,)
    results: dict[str, TierQuality] = {}
    skipped: dict[str, str] = {}
    for name in tiers:
        try:
            results[name] = _measure_tier(governor, examples, name, seed)
        except UnavailableError as error:
            if tier != "both":
                raise
            skipped[name] = error.message
    if as_json:
        _write_scores(governor, results, skipped, seed)
    else:
        _show_scores(governor, results, skipped)


def _score_adapter(governor: Governor, settings: Settings, input_file: Path, seed: int, *, as_json: bool) -> None:
    """Measure the configured harm adapter alone.

    Raises:
        InvalidInputError: no adapter is configured.
        UnavailableError, IntegrityError, ConstitutionMismatchError: it cannot be used here.
    """
    from acgs.governance.harm_adapter import THRESHOLD, harm_probability, load_harm_adapter
    from acgs.governance.quality import tier_quality
    from acgs.governance.scenarios.user_data import load_user_data
    from acgs.governance.second_tier import SecondTier

    if settings.second_tier_adapter is None:
        raise InvalidInputError("set ACGS_SECOND_TIER_ADAPTER to the adapter's folder", field="tier")
    adapter = load_harm_adapter(governor.constitution, settings.second_tier_adapter)
    principles = governor.constitution.document.principle_ids
    examples = load_user_data(input_file, principles=principles, default_principle=principles[0])
    scores = harm_probability(SecondTier(adapter.weights).logits([example.text for example in examples]))
    quality = tier_quality(scores, examples, threshold=THRESHOLD, seed=seed)
    if as_json:
        write_json(
            {
                "adapter_version": adapter.version,
                "adapter_digest": adapter.digest,
                "constitution_digest": governor.constitution.digest,
                "threshold": THRESHOLD,
                "seed": seed,
                "tiers": {"adapter": asdict(quality)},
            }
        )
    else:
        say(f"{adapter.version}, threshold {THRESHOLD}")
        _show_quality("adapter", quality)


def _measure_tier(governor: Governor, examples: list[TextExample], tier: str, seed: int) -> TierQuality:
    from acgs.governance.quality import comprehensive_scores, inline_scores, tier_quality

    texts = [example.text for example in examples]
    second_tier = _open_second_tier(governor) if tier == "comprehensive" else None
    with Progress(f"Scoring, {tier}", len(texts)) as progress:
        if second_tier is None:
            scores = inline_scores(governor, texts, progress.advance)
        else:
            scores = comprehensive_scores(governor, texts, second_tier, progress.advance)
    return tier_quality(scores, examples, threshold=governor.bundle.manifest.threshold, seed=seed)


def _write_scores(governor: Governor, results: dict[str, TierQuality], skipped: dict[str, str], seed: int) -> None:
    tiers: dict[str, Any] = {name: asdict(result) for name, result in results.items()}
    tiers |= {name: {"skipped": reason} for name, reason in skipped.items()}
    write_json(
        {
            "bundle_version": governor.bundle.version,
            "constitution_digest": governor.constitution.digest,
            "threshold": governor.bundle.manifest.threshold,
            "seed": seed,
            "tiers": tiers,
        }
    )


def _show_scores(governor: Governor, results: dict[str, TierQuality], skipped: dict[str, str]) -> None:
    say(f"{governor.bundle.version}, threshold {governor.bundle.manifest.threshold:.4f}")
    for name, result in results.items():
        _show_quality(name, result)
    for name, reason in skipped.items():
        say(f"{name}: skipped, {reason}")


def _show_quality(name: str, result: TierQuality) -> None:
    overall = result.overall
    title = f"{name}: {overall.n} texts, {overall.positives} violate, {overall.clusters} groups"
    write_table(title, ("figure", "value", "95 % interval"), _figure_rows(overall))
    largest = sorted(result.groups.items(), key=lambda item: -item[1].n)
    if largest:
        columns = ("group", "texts", "violate", "AUPRC", "AUROC", "F1", "label 0 over threshold")
        write_table(f"{name}, by group", columns, (_group_row(*item) for item in largest[:GROUPS_SHOWN]))
    if len(largest) > GROUPS_SHOWN:
        say(f"{len(largest) - GROUPS_SHOWN} smaller groups are left out; --json has them")


def _figure_rows(quality: Quality) -> Iterable[tuple[str, str, str]]:
    for name, estimate in quality.figures.items():
        if estimate is None:
            yield name, "no data", ""
        elif estimate.lower is None or estimate.upper is None:
            yield name, f"{estimate.value:.4f}", "no data"
        else:
            yield name, f"{estimate.value:.4f}", f"{estimate.lower:.4f} to {estimate.upper:.4f}"


def _group_row(name: str, quality: Quality) -> tuple[object, ...]:
    wanted = ("auprc", "auroc", "f1", "label_0_over_threshold")
    values = (quality.figures[figure] for figure in wanted)
    return name, quality.n, quality.positives, *("no data" if v is None else f"{v.value:.4f}" for v in values)
