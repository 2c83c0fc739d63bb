"""The report of a sweep: its numbers, and what a real browser makes of it."""

import html.parser
import itertools
import math
from dataclasses import replace
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from sweeper.journal.record import State, Sweep
from sweeper.reporting import charts, html_report, trial_files
from sweeper.statistics.leaderboard import rank
from tests import browser, sweeps
from tests.helpers import attempt, make_sweep, make_trial

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


def _section(page: str, name: str) -> str:
    return page.split(f'<section id="{name}">')[1].split("</section>")[0]


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


def test_a_report_is_equal_for_equal_sweeps(tmp_path: Path) -> None:
    sweep = _small(tmp_path)
    assert html_report.render(sweep) == html_report.render(sweep)


def test_a_sweep_without_trials_has_a_report(tmp_path: Path) -> None:
    html_report.write(make_sweep(tmp_path))
    assert (tmp_path / "sweeps" / "toy" / "report.html").stat().st_size > MEGABYTE


def _axes(figures: dict[str, charts.Figure]) -> dict[str, str | None]:
    return {n: f["layout"]["xaxis"].get("type") for n, f in figures.items()}


def test_numbers_that_span_decades_get_a_logarithmic_axis(tmp_path: Path) -> None:
    rates = (1e-5, 1e-4, 1e-2)
    trials = [make_trial(i, {"lr": v, "n": i}, 0.5) for i, v in enumerate(rates)]
    sweep = make_sweep(tmp_path, *trials)
    slices = charts.figures(sweep, rank(sweep))["slices"]
    assert _axes(slices) == {"lr": "log", "n": None}


@pytest.mark.parametrize("values", [(1, "a"), (True, 2), (1, None), ("a", "b")])
def test_values_that_are_not_all_numbers_are_categories(
    tmp_path: Path, values: tuple[object, ...]
) -> None:
    trials = [make_trial(i, {"p": v}, 0.5) for i, v in enumerate(values)]  # type: ignore[dict-item]
    sweep = make_sweep(tmp_path, *trials)
    slices = charts.figures(sweep, rank(sweep))["slices"]
    assert _axes(slices) == {"p": "category"}
    (points,) = slices["p"]["data"]
    assert all(isinstance(value, str) for value in points["x"])


@pytest.mark.parametrize("mode", ["max", "min"])
def test_the_best_have_the_same_colours_in_both_modes(
    tmp_path: Path, mode: str
) -> None:
    objective = {"metric": "acc", "mode": mode}
    trials = [make_trial(i, {"x": i, "y": 9 - i}, 0.1 * i) for i in range(5)]
    sweep = make_sweep(tmp_path, *trials, objective=objective)
    rows = rank(sweep)
    figures = charts.figures(sweep, rows)
    best, worst = charts.SCALE[0][1], charts.SCALE[-1][1]
    lines = {line["rows"]: line for line in figures["parallel"][""]["data"]}
    shown = [str(lines[i]["line"]["color"]).replace(" ", "") for i in (0, 4)]
    assert shown == [best, worst]
    (points,) = figures["slices"]["x"]["data"]
    at = points["rows"].index(0)
    assert points["marker"]["color"][at] == points["marker"]["cmin"] == 0
    assert points["x"][at] == rows[0].params["x"]
    surface = figures["contour"]["x, y"]["data"][0]
    assert surface["reversescale"] is (mode == "max")  # the first colour is the best


def test_every_point_names_its_row(tmp_path: Path) -> None:
    sweep = sweeps.make_sweep(tmp_path, sweeps.make_trials(12))
    rows = rank(sweep)
    for name, figures in charts.figures(sweep, rows).items():
        for trace in (trace for figure in figures.values() for trace in figure["data"]):
            of_points = trace.get("rows")
            if isinstance(of_points, list):
                assert len(of_points) == len(trace["x"]) == len(trace["y"]), name
            else:
                assert of_points in range(12) or trace["type"] == "contour", name


def test_a_parameter_that_some_trials_lack_has_charts(tmp_path: Path) -> None:
    points = [{"x": 1}, {"x": 2, "y": "a"}, {"x": 3, "y": "b"}, {"x": 4, "y": "a"}]
    trials = [make_trial(i, p, 0.1 * i) for i, p in enumerate(points)]  # type: ignore[arg-type]
    sweep = make_sweep(tmp_path, *trials)
    figures = charts.figures(sweep, rank(sweep))
    assert set(figures["slices"]) == {"x", "y"}
    assert len(figures["slices"]["y"]["data"][0]["rows"]) == 3
    assert len(figures["contour"]["x, y"]["data"][1]["rows"]) == 3


def test_an_interrupted_trial_has_a_bar_for_each_attempt(tmp_path: Path) -> None:
    sweep = sweeps.make_sweep(tmp_path, sweeps.make_trials(3))
    rows = rank(sweep)
    index = next(i for i, row in enumerate(rows) if row.trials[0] is sweep.trials[2])
    bars = [
        (trace["name"], base[11:19], length, lane)
        for trace in charts.figures(sweep, rows)["timeline"][""]["data"]
        for base, length, lane, row in zip(
            *(trace[key] for key in charts.KEYS), strict=True
        )
        if row == index
    ]
    assert sorted(bars, key=lambda bar: bar[1]) == [
        ("interrupted", "12:00:00", 9000, 3),
        ("complete", "12:00:15", 21000, 4),
    ]


def test_a_sweep_that_no_driver_runs_shows_no_running_trial(tmp_path: Path) -> None:
    made = sweeps.make_sweep(tmp_path, sweeps.make_trials(4))
    running = replace(made.trials[0], state=State.RUNNING)
    sweep = replace(made, trials=(running, *made.trials[1:]))
    assert "running" not in _section(html_report.render(sweep), "leaderboard")
    assert "1 waiting, 2 complete, 1 pruned (interrupted)" in html_report.render(sweep)
    text = html_report.render(replace(sweep, is_running=True))
    assert "1 running, 2 complete, 1 pruned (running)" in text


def test_the_page_shows_what_was_used(tmp_path: Path) -> None:
    made = sweeps.make_sweep(
        tmp_path, sweeps.make_trials(2), price={"T4": 0.5}, budget={"cost": 3}
    )
    hour = attempt(busy_seconds=3600.0, gpus=1.0, card="T4")
    trials = tuple(replace(t, attempts=(hour,)) for t in made.trials)
    text = html_report.render(replace(made, trials=trials))
    assert "<dt>used</dt><dd>2 GPU hours, 1 of 3 cost</dd>" in text


def test_a_curve_keeps_its_ends_and_loses_what_is_not_finite() -> None:
    points = list(charts.thinned({i: float(i) for i in range(1, 501)}).items())
    assert len(points) == charts.MAX_POINTS
    assert points[0] == (1, 1.0)
    assert points[-1] == (500, 500.0)
    assert charts.thinned({1: math.nan, 2: 0.5}) == {2: 0.5}


def test_failures_that_differ_in_numbers_only_are_one_group(tmp_path: Path) -> None:
    text = _section(html_report.render(sweeps.all_failed(tmp_path)), "failures")
    assert text.count("<details>") == 2  # raised in two places
    assert text.count("3 failed attempts of 3 trials") == 2
    assert "<script>" not in text


def test_a_trial_shows_what_its_config_has_otherwise(tmp_path: Path) -> None:
    sweep = _small(tmp_path)
    text = _section(html_report.render(sweep), "trials")
    block = next(b for b in text.split("</details>") if sweep.trials[1].id in b[:60])
    assert "config against the baseline" in block
    assert "<td>model</td><td>resnet18</td><td>resnet50</td>" in block
    assert f"trials/{sweep.trials[1].id}/checkpoints/best.ckpt" in block
    assert "python -m sweeper train model=resnet50" in block


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n", b"\xff" * 100])
def test_a_damaged_picture_is_left_out(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    assert trial_files.thumbnail(path) == ""


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"classes": ["a"], "counts": [[1, 2]]}', "[1]"]
)
def test_a_damaged_confusion_matrix_is_left_out(tmp_path: Path, text: str) -> None:
    sweep = make_sweep(tmp_path, make_trial(0, {"x": 1}, 0.5))
    artifacts = sweep.paths.trial(sweep.trials[0].id).artifacts
    artifacts.mkdir(parents=True)
    (artifacts / "confusion_matrix.json").write_text(text)
    assert trial_files.confusion(sweep, rank(sweep)) is None


# ---- in a browser


COLUMNS = ("rank", "value", "delta", "model", "rate", "size")


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
    head = page.find_elements(By.CSS_SELECTOR, "#board thead th")[COLUMNS.index("rate")]
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
    background = "return getComputedStyle(document.body).backgroundColor"
    before = page.execute_script(background)
    page.find_element(By.ID, "theme").click()
    assert page.execute_script(background) != before


def _check_fits_a_phone(page: webdriver.Chrome) -> None:
    page.set_window_size(390, 800)
    inner, scroll = page.execute_script(
        "return [innerWidth, document.documentElement.scrollWidth]"
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
        """return [...document.querySelectorAll("button, input, select, [role=img]")]
        .filter(e => !e.textContent.trim() && !e.ariaLabel && !(e.labels || []).length)
        .length"""
    )
    assert nameless == 0
    assert not page.find_elements(By.CSS_SELECTOR, "img:not([alt])")
    levels = page.execute_script(
        "return [...document.querySelectorAll('h1,h2,h3')].map(e => +e.tagName[1])"
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
