"""Data sets of a few rows in the published layouts, so that every recipe can be planned anywhere."""

import gzip
import json
from pathlib import Path

E5 = (
    "allnli",
    "eli5_question_answer",
    "fever",
    "hotpot_qa",
    "msmarco_document",
    "msmarco_passage",
    "nq",
    "quora_duplicates",
    "squad",
    "trivia_qa",
)


def write_stand_ins(root: Path) -> None:
    """Everything that a shipped recipe names under ``${DESCANT_DATA}``."""
    for name in ("scifact", "arc-easy"):
        write_beir(root / "retrieval" / name)
    sentences: list[dict[str, object]] = [{"sentence": f"sentence {i}", "label": i % 2} for i in range(12)]
    for split in ("train", "test"):
        write_lines(root / "classification" / "sentence-polarity" / f"{split}.jsonl", sentences)
    choice = "Please choose: {i}?\n\nAnswer1: a{i} Answer2: b{i}\n\nAnswer format: answer1/answer2"
    choices: list[dict[str, object]] = [
        {
            "instruction": choice.format(i=i),
            "input": "",
            "output": "the correct answer is answer1",
            "answer": "answer1",
        }
        for i in range(12)
    ]
    sums: list[dict[str, object]] = [{"question": f"{i} + 1?", "answer": f"#### {i + 1}"} for i in range(12)]
    for split in ("train", "test_dev"):
        write_lines(root / "commonsense" / "arc-easy" / f"{split}.jsonl", choices)
        write_lines(root / "math" / "gsm8k" / f"{split}.jsonl", sums)
    steps: list[dict[str, object]] = [
        {"query": f"{i} + 1?", "response": f"The answer is: {i + 1}"} for i in range(12)
    ]
    write_lines(root / "math" / "metamathqa-40k.jsonl", steps)
    for language in ("en", "tr", "hi"):
        for split in ("train", "valid"):
            texts: list[dict[str, object]] = [{"text": f"plain text {i}", "doc": i} for i in range(3)]
            write_lines(root / "lang-text" / language / f"{split}.jsonl", texts)
    write_other_languages(root / "lang-eval")
    for name in E5:
        rows = [{"query": f"{name} {i}", "positive": f"yes {i}", "negative": f"no {i}"} for i in range(3)]
        write_lines(root / "e5" / f"{name}.jsonl", rows)
    passages = [{"docid": str(i), "title": "t", "text": f"text {i}"} for i in range(17)]
    row = {
        "query_id": "1",
        "query": "q",
        "positive_passages": passages[:1],
        "negative_passages": passages[1:],
    }
    folder = root / "msmarco-passage-aug"
    folder.mkdir(parents=True)
    with gzip.open(folder / "train.jsonl.gz", "wt") as stream:
        stream.write(json.dumps(row) + "\n")


def write_beir(folder: Path, *, num_passages: int = 6, num_queries: int = 4) -> None:
    """A BEIR folder: query i asks for passage i; the first half of the queries is for training."""
    passages = [{"_id": f"d{i}", "title": "", "text": f"passage number {i}"} for i in range(num_passages)]
    queries = [{"_id": f"q{i}", "text": f"which is number {i}"} for i in range(num_queries)]
    write_lines(folder / "corpus.jsonl", passages)
    write_lines(folder / "queries.jsonl", queries)
    (folder / "qrels").mkdir()
    half = num_queries // 2
    for split, numbers in (("train", range(half)), ("test", range(half, num_queries))):
        lines = ["query-id\tcorpus-id\tscore", *(f"q{i}\td{i}\t1" for i in numbers)]
        (folder / "qrels" / f"{split}.tsv").write_text("\n".join(lines) + "\n")


def write_other_languages(folder: Path) -> None:
    """XCOPA, XQuAD, Tatoeba, and SIB-200 in three languages."""
    asked = [{"id": f"q{i}", "question": f"which is {i}?"} for i in range(3)]
    article = {"paragraphs": [{"context": "a paragraph", "qas": asked}]}
    for name in ("xquad", "tatoeba"):
        (folder / name).mkdir(parents=True)
    (folder / "xquad" / "xquad.tr.json").write_text(json.dumps({"data": [article]}))
    for language in ("tur", "eng"):
        (folder / "tatoeba" / f"tatoeba.tur-eng.{language}").write_text(f"one {language}\ntwo {language}\n")
    ends: list[dict[str, object]] = [
        {"premise": f"It is {i}.", "choice1": "a", "choice2": "b", "question": "cause", "label": i % 2}
        for i in range(12)
    ]
    for name in ("val", "test_dev"):
        write_lines(folder / "xcopa" / f"{name}.tr.jsonl", ends)
    for language in ("eng_Latn", "tur_Latn", "hin_Deva"):
        (folder / "sib200" / language).mkdir(parents=True)
        for split in ("train", "dev", "test"):
            rows = [f"{i}\t{('sports', 'travel')[i % 2]}\t{language} {split} {i}" for i in range(12)]
            path = folder / "sib200" / language / f"{split}.tsv"
            path.write_text("\n".join(["index_id\tcategory\ttext", *rows]) + "\n")


def write_lines(path: Path, rows: list[dict[str, object]]) -> None:
    """JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
