"""The report of a sweep: its numbers, and what a real browser makes of it."""

import html.parser
import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from sweeper import html_report
from sweeper.html_report import chart_data, details, files
from sweeper.html_report import page as html_page
from sweeper.statistics.leaderboard import rank
from sweeper.trial import State, Sweep
from tests import browser, sweeps
from tests.test_leaderboard import make_sweep, make_trial

MEGABYTE = 1_000_000


def _small(folder: Path, *, count: int = 12) -> Sweep:
    trials = sweeps.make_trials(count)
    baseline = {
        "model": "resnet18",
        "model.learning_rate": trials[0].params["model.learning_rate"],
    }
    sweep = sweeps.make_sweep(folder, trials, baseline=baseline)
    sweeps.write_files(sweep, trials[:6])
    return sweep


class _Page(html.parser.HTMLParser):
    """Counts elements and keeps every address that the page names."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "action")]


def test_a_page_names_no_address_and_holds_three_scripts(tmp_path: Path) -> None:
    page = _Page()
    page.feed(html_report.render(_small(tmp_path)))
    assert page.tags.count("script") == 3  # data, library, the page's own
    assert {a[:1] for a in page.addresses} <= {"#", "d"}  # anchors and data URLs
    assert all(a.startswith(("#", "data:")) for a in page.addresses)


def test_a_thousand_trials_are_under_five_megabytes(tmp_path: Path) -> None:
    trials = sweeps.make_trials(1000, epochs=80)
    sweep = sweeps.make_sweep(tmp_path, trials)
    assert len(html_report.render(sweep)) < 5 * MEGABYTE


def test_data_cannot_end_its_script_element() -> None:
    data = {"a": "</script><!--<script>&"}
    text = html_page.json_text(data)
    assert "<" not in text
    assert json.loads(text) == data


def test_a_report_is_equal_for_equal_sweeps(tmp_path: Path) -> None:
    sweep = _small(tmp_path)
    assert html_report.render(sweep) == html_report.render(sweep)


def test_a_sweep_without_trials_has_a_report(tmp_path: Path) -> None:
    html_report.write(make_sweep(tmp_path))
    assert (tmp_path / "sweeps" / "toy" / "report.html").stat().st_size > MEGABYTE


def test_numbers_that_span_decades_get_a_logarithmic_axis(tmp_path: Path) -> None:
    rates = (1e-5, 1e-4, 1e-2)
    trials = [make_trial(i, {"lr": v, "n": i}, 0.5) for i, v in enumerate(rates)]
    rows = rank(make_sweep(tmp_path, *trials))
    assert chart_data.param_data(rows, "lr", "lr")["isLog"]
    assert not chart_data.param_data(rows, "n", "n")["isLog"]
    assert chart_data.param_data(rows, "n", "n")["isNumber"]


@pytest.mark.parametrize("values", [(1, "a"), (True, 2), (1, None), ("a", "b")])
def test_values_that_are_not_all_numbers_are_categories(
    tmp_path: Path, values: tuple[object, ...]
) -> None:
    trials = [make_trial(i, {"p": v}, 0.5) for i, v in enumerate(values)]  # type: ignore[dict-item]
    data = chart_data.param_data(rank(make_sweep(tmp_path, *trials)), "p", "p")
    assert not data["isNumber"]
    assert all(isinstance(v, str) for v in data["values"])  # type: ignore[attr-defined]


def test_a_cut_trial_has_a_bar_for_each_attempt(tmp_path: Path) -> None:
    sweep = sweeps.make_sweep(tmp_path, sweeps.make_trials(3))
    bars = [
        b for b in chart_data.timeline(rank(sweep)) if b["id"] == sweep.trials[2].id
    ]
    assert [bar["end_state"] for bar in bars] == ["cut", "complete"]
    assert [str(bar["start"])[11:19] for bar in bars] == ["12:00:00", "12:00:15"]
    assert [str(bar["end"])[11:19] for bar in bars] == ["12:00:09", "12:00:36"]
    assert [bar["lane"] for bar in bars] == [3, 4]


def test_a_curve_keeps_its_ends_and_loses_what_is_not_finite() -> None:
    points = [(i, float(i)) for i in range(1, 501)]
    assert len(chart_data.thinned(points)) == chart_data.MAX_POINTS
    assert chart_data.thinned(points)[0] == (1, 1.0)
    assert chart_data.thinned(points)[-1] == (500, 500.0)
    assert chart_data.thinned([(1, math.nan), (2, 0.5)]) == [(2, 0.5)]


def test_failures_that_differ_in_numbers_only_are_one_group(tmp_path: Path) -> None:
    text = details.failures(sweeps.all_failed(tmp_path))
    assert text.count("<details>") == 2  # raised in two places
    assert text.count("3 failed attempts of 3 trials") == 2
    assert "<script>" not in text


def test_a_trial_shows_what_its_config_has_otherwise(tmp_path: Path) -> None:
    sweep = _small(tmp_path)
    text = details.trials(sweep, rank(sweep))
    block = next(b for b in text.split("</details>") if sweep.trials[1].id in b[:60])
    assert "config against the baseline" in block
    assert "<td>model</td><td>resnet18</td><td>resnet50</td>" in block
    assert f"trials/{sweep.trials[1].id}/checkpoints/best.ckpt" in block
    assert "python -m sweeper train model=resnet50" in block


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n", b"\xff" * 100])
def test_a_damaged_picture_is_left_out(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    assert files.thumbnail(path) == ""


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"classes": ["a"], "counts": [[1, 2]]}', "[1]"]
)
def test_a_damaged_confusion_matrix_is_left_out(tmp_path: Path, text: str) -> None:
    sweep = make_sweep(tmp_path, make_trial(0, {"x": 1}, 0.5))
    artifacts = sweep.paths.trial(sweep.trials[0].id).artifacts
    artifacts.mkdir(parents=True)
    (artifacts / "confusion_matrix.json").write_text(text)
    assert files.confusion(sweep, rank(sweep)) is None


# ---- in a browser


COLUMNS = ("rank", "value", "tie", "delta", "model", "rate", "size")


def _cells(page: webdriver.Chrome, name: str) -> list[str]:
    column = COLUMNS.index(name)
    rows = page.find_elements(By.CSS_SELECTOR, "#board tbody tr:not([hidden])")
    script = "return arguments[0].map(row => row.cells[arguments[1]].textContent)"
    return list(page.execute_script(script, rows, column))


def _filter(page: webdriver.Chrome, words: str) -> str:
    box = page.find_element(By.ID, "filter")
    box.send_keys(Keys.CONTROL, "a")
    box.send_keys(words or Keys.DELETE)
    return page.find_element(By.ID, "shown").text


def _check_sorting(page: webdriver.Chrome) -> None:
    head = page.find_elements(By.CSS_SELECTOR, "#board thead th")[5]
    head.find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)
    rates = [float(cell) for cell in _cells(page, "rate")]
    assert rates == sorted(rates)
    assert head.get_attribute("aria-sort") == "ascending"
    head.find_element(By.TAG_NAME, "button").click()
    assert [float(cell) for cell in _cells(page, "rate")] == rates[::-1]
    assert head.get_attribute("aria-sort") == "descending"


def _check_filter(page: webdriver.Chrome, *, count: int) -> None:
    assert _filter(page, "resnet50 batch_size>=64").endswith(f"of {count}")
    assert set(_cells(page, "model")) == {"resnet50"}
    assert {int(size) for size in _cells(page, "size")} <= {64, 128}
    left = len(_cells(page, "model"))
    curves = page.find_element(By.CSS_SELECTOR, "[data-chart=curves]")
    WebDriverWait(page, 60).until(
        lambda _: curves.get_attribute("data-drawn") == f"{left}"
    )
    assert _filter(page, "<script> nothing") == f"0 of {count}"
    assert _filter(page, "") == f"{count} of {count}"


def _check_theme(page: webdriver.Chrome) -> None:
    background = "return getComputedStyle(html_page.body).backgroundColor"
    before = page.execute_script(background)
    page.find_element(By.ID, "theme").click()
    assert page.execute_script(background) != before


def _check_fits_a_phone(page: webdriver.Chrome) -> None:
    page.set_window_size(390, 800)
    inner, scroll = page.execute_script(
        "return [innerWidth, html_page.documentElement.scrollWidth]"
    )
    assert scroll <= inner
    page.set_window_size(1200, 800)


def _check_links(page: webdriver.Chrome) -> None:
    link = page.find_element(By.CSS_SELECTOR, "#board tbody tr td:last-child a")
    page.execute_script("arguments[0].click()", link)
    target = page.find_element(By.CSS_SELECTOR, link.get_attribute("href")[-13:])
    WebDriverWait(page, 30).until(lambda _: target.get_attribute("open"))


def _check_names(page: webdriver.Chrome) -> None:
    """Every control has a name, every picture a text, every heading its level."""
    nameless = page.execute_script(
        """return [...html_page.querySelectorAll("button, input, select, [role=img]")]
        .filter(e => !e.textContent.trim() && !e.ariaLabel && !(e.labels || []).length)
        .length"""
    )
    assert nameless == 0
    assert not page.find_elements(By.CSS_SELECTOR, "img:not([alt])")
    levels = page.execute_script(
        "return [...html_page.querySelectorAll('h1,h2,h3')].map(e => +e.tagName[1])"
    )
    steps = itertools.pairwise(levels)
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in steps)


@pytest.mark.slow
def test_a_browser_shows_reports_without_a_message(tmp_path: Path) -> None:
    names = ("small", "large", "failed", "several")
    folders = [tmp_path / name for name in names]
    for folder in folders:
        folder.mkdir()
    small, failed = _small(folders[0]), sweeps.all_failed(folders[2])
    trials = sweeps.make_trials(1000, epochs=30)
    large = sweeps.make_sweep(folders[1], trials, baseline={"model": "none"})
    several = sweeps.two_objectives(folders[3])
    for sweep in (small, large, failed, several):
        html_report.write(sweep)
    with browser.open_browser("--window-size=1200,800") as page:
        browser.show(page, small.paths.report)
        for check in (_check_names, _check_sorting, _check_links, _check_theme):
            check(page)
        _check_filter(page, count=12)
        _check_fits_a_phone(page)
        assert sweeps.SCRIPT in _cells(page, "model")
        assert page.title == "toy"
        assert page.get_log("browser") == []
        browser.show(page, large.paths.report)
        _check_filter(page, count=1000)
        assert page.title == "toy"
        assert page.get_log("browser") == []
        browser.show(page, several.paths.report)
        heads = page.find_elements(By.CSS_SELECTOR, "#board thead th")
        assert [head.text for head in heads[1:4]] == [
            *("val/acc_top1", "latency_ms", "Pareto")
        ]
        chart = page.find_element(By.CSS_SELECTOR, "[data-chart=pareto]")
        script = "return arguments[0].data.map(trace => trace.x.length)"
        assert page.execute_script(script, chart) == [
            sum(row.front > 1 for row in rank(several)),
            sum(row.front == 1 for row in rank(several)),
        ]
        assert page.get_log("browser") == []
        browser.show(page, failed.paths.report)
        assert len(page.find_elements(By.CSS_SELECTOR, "#failures details")) == 2
        assert page.get_log("browser") == []


def test_a_failed_trial_is_no_reason_to_draw_charts(tmp_path: Path) -> None:
    sweep = sweeps.all_failed(tmp_path)
    assert {t.state for t in sweep.trials} == {State.FAILED}
    text = html_report.render(sweep)
    assert 'data-chart="curves"' not in text
    running = replace(sweep.trials[0], state=State.RUNNING, values={1: 0.5})
    assert 'data-chart="curves"' in html_report.render(
        replace(sweep, trials=(running,))
    )
