"""The PDF report: verdicts under their statements, answers under their headings, and hostile files."""

import io
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from reportlab.lib.pagesizes import letter
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import ListFlowable, PageBreak, Paragraph, SimpleDocTemplate

from grader.evidence.answers import PART1, Answer
from grader.evidence.report import FAILURES, STOPPED, Report, ReportError, read_report

STATEMENTS = {
    "part1.1": "Batch normalization normalizes the batch inputs by subtracting the mean, so outputs have zero mean.",
    "part1.2": "PyTorch provides tensors and many layers. As a result, you do not need to write your own code.",
    "part1.3": "Data augmentation techniques are always beneficial for any kinds of CNNs and any kinds of images.",
    "part1.4": "Without batch normalization, the CNNs can hardly converge during the training. So it is for dropout.",
    "part1.5": "Dropout is a common technique to combat overfitting. With L-normalizations the performance is better.",
    "part1.6": "During training, Lasso (L1) makes the model have a higher sparsity compared to Ridge (L2).",
    "part1.7": "Though leaky ReLU solves the problem of dead neurons, it could make training unstable.",
    "part1.8": "With 3×3 depthwise separable layers in ResNet we observe approximately 9x speedup for these layers.",
    "part1.9": "SqueezeNet puts most of the computations in the later stage of the CNN (e.g., less than AlexNet).",
    "part1.10": "The shortcut connections in ResNets result in smoother loss surface.",
}
VERDICTS = {item: number % 3 == 0 for number, item in enumerate(PART1)}
STYLES = getSampleStyleSheet()


def flowing(path: Path, paragraphs: Sequence[str]) -> Path:
    """A PDF of paragraphs; "\\f" begins a page, a paragraph that starts with a bullet is an item of a list."""
    story = []
    for text in paragraphs:
        if text == "\f":
            story.append(PageBreak())
        elif text.startswith("•"):
            story.append(ListFlowable([Paragraph(text[1:], STYLES["BodyText"])], bulletType="bullet"))
        else:
            story.append(Paragraph(text, STYLES["BodyText"]))
    SimpleDocTemplate(str(path), pagesize=letter).build(story)
    return path


def lines(path: Path, text: Sequence[str], **options: object) -> Path:
    """A PDF with one line of text below the other."""
    canvas = Canvas(str(path), pagesize=letter, **options)
    for number, line in enumerate(text):
        canvas.drawString(72, 760 - 14 * (number % 50), line)
        if number % 50 == 49:
            canvas.showPage()
    canvas.save()
    return path


def word(item: str) -> str:
    return str(VERDICTS[item])


LAYOUTS: dict[str, Callable[[str], list[str]]] = {
    "verdict on the next line": lambda item: [
        f"<b>Problem {item[4:]} (3 pts)</b> {STATEMENTS[item]}",
        f"<b>{word(item)}.</b> Because of a long reason. " * 3,
    ],
    "all in one paragraph": lambda item: [f"Problem {item[4:]} (3 pts) {STATEMENTS[item]} {word(item)}, because."],
    "heading alone": lambda item: [f"Problem {item[4:]}", STATEMENTS[item], f"Answer: {word(item)}", "Because."],
    "bare number": lambda item: [f"{item[4:]} (3 pts) {STATEMENTS[item]}", f"{word(item)[0]}. Because 1.5 GB."],
    "question": lambda item: [f"Q{item[4:]}: {STATEMENTS[item]}", f"<i>{word(item).upper()}</i> because"],
    "spaced number": lambda item: [
        f"Problem 1 .{item[6:]} {STATEMENTS[item]}",
        f"The statement is {word(item).lower()}.",
    ],
    "verdict first": lambda item: [f"Problem {item[4:]}: {word(item)}", STATEMENTS[item], "Because of the mean."],
    "no space behind the bold word": lambda item: [f"Problem {item[4:]} {STATEMENTS[item]}<b>{word(item)}</b>Because"],
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_verdicts_in_every_layout(tmp_path, layout):
    text = ["1 True/False Questions (30 pts)"] + [part for item in PART1 for part in layout(item)]
    report = read_report(flowing(tmp_path / "report.pdf", [*text, "2 Lab (1)", "(a) text"]), STATEMENTS)
    assert {item: answer.problem for item, answer in report.answers.items()} == dict.fromkeys(PART1)
    assert {item: answer.verdict for item, answer in report.answers.items()} == VERDICTS
    assert {answer.statement for answer in report.answers.values()} == {s.rstrip(".)") for s in STATEMENTS.values()}
    assert report.answers["part1.1"].source == "report.pdf, page 1"
    assert report.problems == ()


def test_explanation_ends_at_the_next_heading(tmp_path):
    text = [
        f"Problem 1.9 {STATEMENTS['part1.9']}",
        "True. It",
        "is late.",
        f"Problem 1.10 {STATEMENTS['part1.10']}",
        "F.",
    ]
    report = read_report(lines(tmp_path / "r.pdf", text), STATEMENTS)
    statement = STATEMENTS["part1.9"].rstrip(".)")
    assert report.answers["part1.9"] == Answer("part1.9", True, "It\nis late.", "r.pdf, page 1", statement)
    assert (report.answers["part1.10"].verdict, report.answers["part1.10"].explanation) == (False, "")


def one(folder: Path, text: Sequence[str], item: str = "part1.3") -> Answer:
    return read_report(lines(folder / "report.pdf", text), STATEMENTS).answers[item]


PROBLEMS = {
    "statement of another edition": (
        ["Problem 1.3 Data augmentation techniques are never harmful for any kinds of CNNs.", "True. x"],
        "expected the statement of this edition, found 'Data augmentation techniques are never harmful for any kinds",
    ),
    "statement changed by one word": (
        [f"Problem 1.3 {STATEMENTS['part1.3'].replace('beneficial', 'harmful')}", "False. x"],
        "expected the statement of this edition, found",
    ),
    "statement of another problem": (
        [f"Problem 1.3 {STATEMENTS['part1.5']}", "False. x"],
        "the statement under this heading is that of problem 1.5; a person must judge.",
    ),
    "no statement": (
        ["Problem 1.3", "False. Not for digits."],
        "the verdict False stands without the statement it is about; a person must judge.",
    ),
    "no text": (["Problem 1.3", "Problem 1.4 x"], "there is no text under the heading."),
    "no verdict": (
        [f"Problem 1.3 {STATEMENTS['part1.3']}", "Not for digits."],
        "expected true or false as the first word after the statement, found 'Not for digits.'.",
    ),
    "nothing below the statement": (
        [f"Problem 1.3 {STATEMENTS['part1.3']}"],
        "expected true or false as the first word after the statement, found nothing.",
    ),
    "two verdicts": (
        ["Problem 1.3 True.", STATEMENTS["part1.3"], "False. x"],
        "the verdict is True before the statement and False after it.",
    ),
}


@pytest.mark.parametrize(("text", "words"), PROBLEMS.values(), ids=PROBLEMS)
def test_a_verdict_counts_only_under_its_statement(tmp_path, text, words):
    answer = one(tmp_path, text)
    assert answer.verdict is None
    assert answer.problem is not None
    assert answer.problem.startswith("report.pdf, page 1, problem 1.3: ")
    assert words in answer.problem


def test_text_of_an_answer_with_a_problem_is_kept_for_a_person(tmp_path):
    assert one(tmp_path, ["Problem 1.3", "False. Not for digits."]).explanation == "False. Not for digits."


def test_statements_listed_before_the_answers(tmp_path):
    text = [f"Problem 1.3 {STATEMENTS['part1.3']}", "Solutions", f"Problem 1.3 {STATEMENTS['part1.3']}", "False. x"]
    answer = one(tmp_path, text)
    assert (answer.verdict, answer.problem) == (False, None)


def test_the_same_problem_answered_twice(tmp_path):
    text = [f"Problem 1.3 {STATEMENTS['part1.3']}", "True.", f"Problem 1.3 {STATEMENTS['part1.3']}", "False. x"]
    answer = one(tmp_path, text)
    assert answer.verdict is None
    assert "part1.3 is answered both True (report.pdf, page 1) and False (report.pdf, page 1)." in (
        answer.problem or ""
    )


def test_statement_across_pages_and_page_numbers(tmp_path):
    first, second = STATEMENTS["part1.3"].split(" for ", 1)
    text = ["x"] * 46 + [f"Problem 1.3 {first}", "for", "3", "", second, "False. x"]
    report = read_report(lines(tmp_path / "r.pdf", text), STATEMENTS)
    assert report.answers["part1.3"].verdict is False


def test_without_known_statements_any_statement_will_do(tmp_path):
    text = [
        "Problem 1.1 Some statement of this year. It is",
        "long.",
        "False. x",
        "Problem 1.2 True. Some",
        "statement.",
    ]
    report = read_report(lines(tmp_path / "r.pdf", text))
    assert report.answers["part1.1"].statement == "Some statement of this year. It is long."
    assert report.answers["part1.1"].verdict is False
    assert report.answers["part1.2"].verdict is None
    assert "stands without the statement" in (report.answers["part1.2"].problem or "")


LABS = [
    *("2 Lab (1): Training SimpleNN for CIFAR-10 classification (15+4 pts)", "(a) (2 pts) Answer one.", "more of one"),
    *("(b) Answer two with (a) an enumeration", "(a) in its lines", "Lab 1 (g)", "The initial loss is 2.30.", "\f"),
    *("Question h: decay helps", "3 Lab (2): Improving the training pipeline (35+6 pts)", "In Lab (1), we had none."),
    *(
        "(a) (6 pts)",
        "Augmentation gives 72 %.",
        "(b) (15 pts) modify the design:",
        "• (5 pts) Add a BN layer. Better.",
    ),
    *("• (5 pts) BN allows a larger learning rate. Yes.", "• (5 pts) Swish with BN, learning rate 0.1. Better."),
    *(
        "(c) (14 pts)",
        "• (7 pts) Apply learning rate values 1.0, 0.1",
        "• (7 pts) Use L2 strengths, learning rate 0.01",
    ),
    *(
        "• (Bonus, 6 pts) Switch from L2 to L1",
        "LAB 3 - Advanced CNN architectures",
        "(a) 269,722 parameters",
        "b) 91 %",
    ),
]


def labs(folder: Path, text: Sequence[str] = LABS) -> Report:
    return read_report(flowing(folder / "report.pdf", text), STATEMENTS)


def test_answers_to_the_labs_are_found_by_their_headings(tmp_path):
    passages = {
        item: " ".join(passage.text.replace("•", "").split()) for item, passage in labs(tmp_path).passages.items()
    }
    assert passages == {
        "lab1.a": "Answer one. more of one",
        "lab1.b": "Answer two with (a) an enumeration (a) in its lines",
        "lab1.g": "The initial loss is 2.30.",
        "lab1.h": "decay helps",
        "lab2.a": "Augmentation gives 72 %.",
        "lab2.b.bn": "(5 pts) Add a BN layer. Better.",
        "lab2.b.lr": "(5 pts) BN allows a larger learning rate. Yes.",
        "lab2.b.swish": "(5 pts) Swish with BN, learning rate 0.1. Better.",
        "lab2.c.lr": "(7 pts) Apply learning rate values 1.0, 0.1",
        "lab2.c.l2": "(7 pts) Use L2 strengths, learning rate 0.01",
        "lab2.c.l1": "(Bonus, 6 pts) Switch from L2 to L1",
        "lab3.a": "269,722 parameters",
        "lab3.b": "91 %",
    }


def test_passages_say_where_they_stand(tmp_path):
    passages = labs(tmp_path).passages
    assert passages["lab1.g"].source == "report.pdf, page 1"
    assert passages["lab1.h"].source == "report.pdf, page 2"


def test_a_bullet_that_is_not_found_gets_the_whole_question(tmp_path):
    passages = labs(tmp_path, ["Lab 2", "(b) All was better."]).passages
    assert {passages[item].text for item in ("lab2.b.bn", "lab2.b.lr", "lab2.b.swish")} == {"All was better."}


def test_long_answers_are_cut(tmp_path):
    passages = labs(tmp_path, ["Lab 1", "(a) " + "many words " * 900]).passages
    assert len(passages["lab1.a"].text) == 4_000


def test_letters_of_no_lab_are_nobodys(tmp_path):
    assert labs(tmp_path, ["(a) text", "(b) text"]).passages == {}


def test_numbers_of_labs_in_sentences_are_no_headings(tmp_path):
    text = ["Lab 2", "(a) As in", "Lab (1), we see that", "Lab 1 is worse. Also", "Lab (3).", "(b) BN"]
    assert "Lab 1 is worse" in read_report(lines(tmp_path / "r.pdf", text)).passages["lab2.a"].text


def test_numbers_at_the_beginning_of_lines_are_no_problems(tmp_path):
    report = labs(tmp_path, ["Lab 1", "(a) It takes", "1.5 GB of memory and", "1.7 More", "(b) text"])
    assert report.answers == {}
    assert "1.5 GB" in report.passages["lab1.a"].text


def error_of(folder: Path, content: bytes, seconds: float = 30) -> tuple[str, str]:
    path = folder / "report.pdf"
    path.write_bytes(content)
    with pytest.raises(ReportError) as error:
        read_report(path, STATEMENTS, seconds=seconds)
    assert str(error.value) == error.value.message
    return error.value.kind, error.value.message


def test_lines_beyond_what_is_read_are_named(tmp_path):
    path = tmp_path / "r.md"
    path.write_text("Lab 1\n(g) It overfits.\n" + "\n" * 1_000_000 + "(h) never read\n")
    start = time.process_time()
    report = read_report(path)
    assert time.process_time() - start < 3
    assert [(item, passage.text) for item, passage in report.passages.items()] == [("lab1.g", "It overfits.")]
    assert report.problems == ("r.md: expected at most 20,000 lines, found more; those beyond were not read.",)


def test_missing_report_and_link(tmp_path):
    with pytest.raises(ReportError, match=r"report.pdf: there is no such file in the submission") as error:
        read_report(tmp_path / "report.pdf")
    assert error.value.kind == "missing"
    (tmp_path / "report.pdf").symlink_to("/etc/passwd")
    with pytest.raises(ReportError, match="found a link"):
        read_report(tmp_path / "report.pdf")


def test_file_that_is_no_pdf(tmp_path):
    assert error_of(tmp_path, b"PK\x03\x04 a Word file") == (
        "not-pdf",
        "report.pdf: expected a PDF, found a file of another kind.",
    )


def test_file_that_only_begins_like_a_pdf(tmp_path):
    kind, message = error_of(tmp_path, b"%PDF-1.7\nnothing")
    assert kind == "damaged"
    assert "damaged or cut short and cannot be opened" in message


def test_truncated_pdf(tmp_path):
    content = flowing(tmp_path / "whole.pdf", ["text " * 500]).read_bytes()
    assert error_of(tmp_path, content[: len(content) // 3])[0] == "damaged"


def test_protected_pdf(tmp_path):
    locked = lines(tmp_path / "locked.pdf", ["text"], encrypt=StandardEncryption("user", "owner"))
    kind, message = error_of(tmp_path, locked.read_bytes())
    assert kind == "encrypted"
    assert message == "report.pdf: the PDF is protected by a password; hand in one that opens without."


def test_pdf_that_opens_without_its_password_is_read(tmp_path):
    path = lines(tmp_path / "r.pdf", ["Lab 1", "(a) text"], encrypt=StandardEncryption("", "owner", canCopy=0))
    assert read_report(path).passages["lab1.a"].text == "text"


def test_pictures_of_pages(tmp_path):
    canvas = Canvas(str(tmp_path / "drawn.pdf"))
    for _ in range(2):
        canvas.rect(10, 10, 90, 90)
        canvas.showPage()
    canvas.save()
    kind, message = error_of(tmp_path, (tmp_path / "drawn.pdf").read_bytes())
    assert kind == "no-text"
    assert (
        message == "report.pdf: expected text, found none in its 2 pages (are they pictures?); a person must read it."
    )


def test_one_picture_among_pages_is_named(tmp_path):
    canvas = Canvas(str(tmp_path / "r.pdf"))
    canvas.drawString(72, 700, "Lab 1 (a) text")
    canvas.showPage()
    canvas.rect(10, 10, 90, 90)
    canvas.save()
    report = read_report(tmp_path / "r.pdf")
    assert report.problems == ("r.pdf, page 2: there is no text on this page (a picture?); a person must read it.",)
    assert report.passages["lab1.a"].text == "text"
    assert report.pages == ("Lab 1 (a) text", "")


def raw_pdf(contents: Sequence[bytes], kids: str | None = None) -> bytes:
    """A PDF of one compressed content stream for each page, written by hand."""
    pages = kids or " ".join(f"{3 + 2 * number} 0 R" for number in range(len(contents)))
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", f"<</Type/Pages/Kids[{pages}]/Count {len(contents)}>>".encode()]
    font = b"<</Font<</F1<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>"
    for number, content in enumerate(contents):
        data = zlib.compress(content, 9)
        page = f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents {4 + 2 * number} 0 R/Resources ".encode()
        objects.append(page + font + b">>")
        objects.append(f"<</Length {len(data)}/Filter/FlateDecode>>stream\n".encode() + data + b"\nendstream")
    out = io.BytesIO(b"%PDF-1.4\n")
    out.seek(0, io.SEEK_END)
    places = []
    for number, body in enumerate(objects, start=1):
        places.append(out.tell())
        out.write(f"{number} 0 obj\n".encode() + body + b"\nendobj\n")
    start = out.tell()
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    head = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer<</Size {len(objects) + 1}/Root 1 0 R>>\n"
    out.write(head.encode() + f"startxref\n{start}\n%%EOF".encode())
    return out.getvalue()


FIRST = b"BT /F1 12 Tf 72 700 Td (Lab 1 \\(a\\) text) Tj ET"


def test_page_that_takes_too_long_costs_only_itself_and_what_follows(tmp_path):
    path = tmp_path / "r.pdf"
    path.write_bytes(raw_pdf([FIRST, b"BT /F1 12 Tf 72 700 Td (a) Tj ET\n" * 1_000_000, FIRST]))
    start = time.perf_counter()
    report = read_report(path, seconds=3)
    assert time.perf_counter() - start < 6
    assert report.passages["lab1.a"].text == "text"
    (problem,) = report.problems
    assert problem == "r.pdf, page 2: reading took too long here; this page and those after it were not read."


def test_pdf_that_takes_too_long_before_its_first_page(tmp_path):
    content = flowing(tmp_path / "whole.pdf", ["text"]).read_bytes()
    kind, message = error_of(tmp_path, content, seconds=0.001)
    assert kind == "time"
    assert "took too long to read" in message


def test_bomb_costs_its_page_only(tmp_path):
    path = tmp_path / "r.pdf"
    bomb = raw_pdf([FIRST, b" " * 100_000_000])
    path.write_bytes(bomb)
    report = read_report(path, seconds=20)
    assert report.passages["lab1.a"].text == "text"
    assert len(report.problems) == 1
    assert report.problems[0].startswith("r.pdf, page 2: ")


def test_tree_of_pages_without_end(tmp_path):
    kind, _ = error_of(tmp_path, raw_pdf([FIRST], kids="2 0 R"), seconds=5)
    assert kind in ("damaged", "time")  # as the installed pypdf notices the circle or not


READERS = {
    "killed": ('print(\'{"total": 2}\\n{"text": "Lab 1 (a) x"}\', flush=True); os.kill(os.getpid(), 9)', "memory"),
    "failing": ('print(\'{"total": 2}\\n{"text": "Lab 1 (a) x"}\'); raise ImportError', "grader"),
}


@pytest.mark.parametrize(("program", "kind"), READERS.values(), ids=READERS)
def test_a_reader_that_ends_early_is_told_apart_from_a_faulty_report(tmp_path, monkeypatch, program, kind):
    reader = tmp_path / "reader.py"
    monkeypatch.setattr("grader.evidence.report.PDF_TEXT", reader)
    path = lines(tmp_path / "r.pdf", ["text"])
    reader.write_text(f"import os\n{program}\n")
    report = read_report(path)
    assert report.passages["lab1.a"].text == "x"
    assert report.problems == (f"r.pdf, page 2: {STOPPED[kind]}; this page and those after it were not read.",)
    reader.write_text(f"import os\n{program.split('; ')[1]}\n")
    assert error_of(tmp_path, path.read_bytes()) == (kind, f"report.pdf: {FAILURES[kind]}")


def test_pages_beyond_the_hundredth_are_not_read(tmp_path):
    path = tmp_path / "r.pdf"
    path.write_bytes(raw_pdf([FIRST] * 101))
    report = read_report(path)
    assert len(report.pages) == 100
    assert report.problems == ("r.pdf: expected at most 100 pages, found 101; those beyond were not read.",)


def test_many_headings_end_soon(tmp_path):
    content = b"BT /F1 9 Tf 72 790 Td 2 TL " + b"(Problem 1.3 Data augmentation is) Tj T* " * 800 + b"ET"
    path = tmp_path / "r.pdf"
    path.write_bytes(raw_pdf([content] * 10))
    start = time.process_time()
    answers = read_report(path, STATEMENTS).answers
    assert answers["part1.3"].verdict is None
    assert time.process_time() - start < 3
