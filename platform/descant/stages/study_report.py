"""Write the report of a study: one HTML page, the same as Markdown, and the study they were made from."""

from pathlib import Path

from descant.artifacts.commit import write_durably
from descant.evaluators.study import Study, to_json
from descant.stages.study_report_content import StudyContent
from descant.stages.study_report_page import study_html
from descant.stages.study_report_table import study_markdown


def write_study_report(study: Study, folder: Path) -> None:
    """Write ``report.html``, ``report.md`` and ``study.json`` into ``folder``, which is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    content = StudyContent(study)
    write_durably(folder / "study.json", to_json(study).decode())
    write_durably(folder / "report.html", study_html(content))
    write_durably(folder / "report.md", study_markdown(content))
