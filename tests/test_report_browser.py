"""The page of a study in a browser: nothing complains, nothing overflows, and everything can be reached.

Needs playwright and a Chromium: Debian's package, the one that CHROMIUM names, or playwright's own
(`playwright install chromium`). The accessibility check needs npm, or AXE_CORE naming an axe.min.js.
"""

import csv
import io
import os
import shutil
import subprocess
import tarfile
import warnings

import numpy as np
import pytest

pytest.importorskip(
    "playwright.sync_api", reason="no browser test without playwright: pip install playwright"
)

pytestmark = pytest.mark.slow

AXE_VERSION = "4.10.3"


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import Error, sync_playwright

    installed = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        try:
            # No sandbox inside containers, where it cannot be set up; the page is our own.
            opened = playwright.chromium.launch(executable_path=installed, args=["--no-sandbox"])
        except Error as error:
            pytest.skip(f"no Chromium to be started ({str(error).splitlines()[0]}); apt install chromium")
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    """The source of axe-core: from AXE_CORE, or from the npm registry for this run only."""
    if "AXE_CORE" in os.environ:
        with open(os.environ["AXE_CORE"], encoding="utf-8") as file:
            return file.read()
    if not shutil.which("npm"):
        pytest.skip("no accessibility check: npm is not installed and AXE_CORE names no axe.min.js")
    folder = tmp_path_factory.mktemp("axe")
    command = ["npm", "pack", "--silent", f"axe-core@{AXE_VERSION}"]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        pytest.skip(
            "no accessibility check: the npm registry gives no axe-core; set AXE_CORE to an axe.min.js"
        )
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        return archive.extractfile("package/axe.min.js").read().decode("utf-8")


@pytest.fixture
def visit(browser, small_study):
    """Opens the page; anything that it complains about fails the test."""
    contexts, complaints = [], []

    def opened(width=1440, file=small_study.path / "report.html", **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if said.type != "log" else None)
        page.on(
            "request", lambda asked: complaints.append(asked.url) if asked.url.startswith("http") else None
        )
        page.goto(file.as_uri())
        return page

    with warnings.catch_warnings():
        # playwright's own event loop leaves sockets to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        yield opened
        for context in contexts:
            context.close()
    assert complaints == []


@pytest.mark.parametrize(
    ("of", "width", "scheme"), [("study", 360, "dark"), ("study", 1440, "light"), ("table", 360, "light")]
)
def test_no_horizontal_scroll_and_no_serious_finding(visit, axe, table_page, of, width, scheme):
    # The page's own policy lets no foreign script in; the check has to get past it.
    file = {"file": table_page} if of == "table" else {}
    page = visit(width, **file, color_scheme=scheme, bypass_csp=True)
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate(axe)
    found = page.evaluate("axe.run()")
    serious = [each for each in found["violations"] if each["impact"] in ("serious", "critical")]
    assert [(each["id"], each["nodes"][0]["html"]) for each in serious] == []
    assert len(found["passes"]) > 20


def test_colours_follow_the_system_and_the_reader(visit):
    def back(page):
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    page = visit(color_scheme="dark")
    assert back(page) == "rgb(21, 24, 27)"
    page.select_option("#theme", "light")
    assert back(page) == "rgb(255, 255, 255)"


def test_user_text_runs_nothing(visit):
    page = visit()
    assert page.locator("img[src=x]").count() == 0
    assert page.title().startswith("Scaling law of ")
    assert "<img src=x" in page.title()


def test_every_control_is_reached_by_keyboard(visit):
    page = visit()
    focusable = page.evaluate(
        "[...document.querySelectorAll('a[href], button, input, select, summary, [tabindex=\"0\"]')]"
        ".filter((each) => each.checkVisibility()).length"
    )
    reached = set()
    for _ in range(focusable + 20):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "(() => { const e = document.activeElement; e.dataset.seen ??= String(Math.random());"
                " return e === document.body ? null : e.dataset.seen; })()"
            )
        )
    assert len(reached - {None}) == focusable


def test_sorting_puts_missing_values_last(visit):
    page = visit()
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    head = page.locator("#at-budget-table th", has_text="median")
    cells = (
        "[...document.querySelectorAll('#at-budget-table tbody tr')]"
        ".map((row) => row.cells[8].dataset.v ?? row.cells[8].textContent)"
    )
    for order, sign in (("ascending", 1), ("descending", -1)):
        head.locator("button").press("Enter")
        assert head.get_attribute("aria-sort") == order
        values = page.evaluate(cells)
        assert values[-1] == "" and "" not in values[:-1]
        numbers = sign * np.array(values[:-1], dtype=float)
        assert (np.diff(numbers) >= 0).all() and len(numbers) > 5


def test_a_table_is_downloaded_as_csv(visit, small_study):
    page = visit()
    with page.expect_download() as download:
        page.locator("button[data-table='params-multiplicative']").click()
    assert download.value.suggested_filename == "params-multiplicative.csv"
    text = download.value.path().read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    table = small_study.params
    wanted = table[(table["level"] == 0.8) & (table["method"] == "percentile")]
    wanted = wanted[wanted["condition"].str.startswith("multiplicative")]
    assert [row["condition"] for row in rows] == wanted["condition"].tolist()
    np.testing.assert_array_equal([float(row["high"]) for row in rows], wanted["high"])


def test_a_number_leads_to_its_row(visit):
    page = visit()
    page.locator("#answer a").first.click()
    row = page.locator("tr:target")
    assert row.count() == 1 and row.is_visible()
    assert "unperturbed" in row.inner_text()


def test_a_row_far_from_the_law_leads_to_its_run(visit, table_page):
    page = visit(390, file=table_page)
    assert not page.locator("#run-11").is_visible(), "the table is folded"
    page.locator("#worst-rows-table a").first.click()
    row = page.locator("tr:target")
    assert row.is_visible() and row.get_attribute("id") == "run-11"
    wide = "[...document.querySelectorAll('.picture')].filter((each) => each.scrollWidth > each.clientWidth)"
    assert page.evaluate(f"{wide}.length") == 0, "no picture is cut on a telephone"


def test_panels_of_a_wide_picture_are_shown_one_by_one_on_a_telephone(visit):
    page = visit(390)
    figure = page.locator("figure:has(img[alt^='The five parameters'])")
    assert not figure.locator(".picture").is_visible()
    figure.scroll_into_view_if_needed()
    panels = figure.locator(".panels > div")
    assert panels.count() == 6, "five parameters and the legend"
    whole = figure.bounding_box()
    for panel in panels.all():
        box = panel.bounding_box()
        assert box["x"] >= whole["x"] and box["x"] + box["width"] <= whole["x"] + whole["width"] + 1
        assert box["width"] > 100 and box["height"] > 60
    wide = "[...document.querySelectorAll('.picture')].filter((each) => each.scrollWidth > each.clientWidth)"
    assert page.evaluate(f"{wide}.length") == 0
    page.set_viewport_size({"width": 1000, "height": 900})
    assert figure.locator(".picture").is_visible() and not panels.first.is_visible()


def test_a_run_is_found_by_keyboard_and_by_pointer_and_leads_to_its_row(visit, table_boot, table_page):
    page = visit(390, file=table_page, has_touch=True)
    place = page.locator("[data-explorer='explorer-data-residuals']")
    place.scroll_into_view_if_needed()
    readout, run = place.locator(".readout"), place.get_by_role("slider", name="Run")
    assert table_boot.runs.name_row(11) in readout.inner_text(), "the one that lies farthest from the law"
    run.press("Home")
    smallest = int(np.argmin(table_boot.runs.params))
    assert table_boot.runs.name_row(smallest) in readout.inner_text()
    box = place.locator("svg circle").nth(30).bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    link = readout.locator("a")
    chosen = link.get_attribute("href")
    assert chosen != f"#run-{smallest}"
    residual = 100 * np.expm1(-table_boot.point.residuals[int(chosen.removeprefix("#run-"))])
    assert f"{residual:.3g}%".replace("-", "\u2212") in readout.inner_text()
    place.get_by_role("combobox", name="against").select_option(label="optimizer")
    assert {"adamw", "muon <b>"} <= set(place.locator("svg text").all_text_contents())
    link.focus()
    page.keyboard.press("Enter")
    row = page.locator("tr:target")
    assert row.is_visible() and f"#{row.get_attribute('id')}" == chosen


def test_the_losses_of_the_runs_are_shown_with_one_curve_of_the_law_marked(visit, table_page):
    page = visit(1440, file=table_page)
    place = page.locator("[data-explorer='explorer-data-fit']")
    place.scroll_into_view_if_needed()
    curve, said = place.get_by_role("slider", name="Curve"), place.locator(".readout")
    assert "runs nearest to it" in said.inner_text()
    curve.press("End")
    assert "runs nearest to it" not in said.inner_text() and "best of each budget" in said.inner_text()
    place.get_by_role("combobox", name="against").select_option(label="parameters")
    curve.press("Home")
    assert "1e18 FLOP" in said.inner_text(), "the budgets that the runs share"
    box = place.locator("svg circle").nth(11).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert "of 48 runs by parameters" in place.locator("svg").get_attribute("aria-label")
    page.mouse.down()
    page.mouse.up()
    assert page.locator("tr:target").is_visible(), "a click on the run leads to its row"


def test_explorer_follows_pointer_sliders_and_boxes(visit):
    page = visit(360)
    place = page.locator("[data-explorer='explorer-data-multiplicative']")
    place.scroll_into_view_if_needed()
    readout = place.locator(".readout")
    assert "parameters 2 times too high" in readout.inner_text()
    size, budget = place.locator("input[type=range]").all()
    size.press("Home")
    assert "parameters 50% too low" in readout.inner_text()
    budget.press("End")
    assert "1e24 FLOP" in readout.inner_text()
    box = place.locator("svg").bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + box["height"] / 2)
    assert "1e20 FLOP" in readout.inner_text()
    assert "unperturbed" in readout.inner_text()
    place.get_by_role("checkbox", name="unperturbed").uncheck()
    assert "unperturbed" not in readout.inner_text()


def test_explorer_shows_every_interval_of_the_study(visit, small_study):
    page = visit()
    place = page.locator("[data-explorer='explorer-data-unperturbed']")
    readout, choice = place.locator(".readout"), place.get_by_label("with")
    table = small_study.tokens_per_param
    kinds = table[["method", "level"]].drop_duplicates()
    assert choice.locator("option").count() == len(kinds) + 1 == 7
    assert choice.locator("option").first.inner_text() == "80% interval"
    flops = 1e22
    place.locator("input[type=range]").press("Home")
    for _ in range(2):
        place.locator("input[type=range]").press("ArrowRight")
    for label, method, level in (
        ("50% interval", "percentile", 0.5),
        ("80% interval (Gaussian)", "gaussian", 0.8),
        ("80% interval (Gaussian, Besiroglu et al. 2024)", "besiroglu2024", 0.8),
    ):
        choice.select_option(label=label)
        row = table[(table["method"] == method) & (table["level"] == level) & (table["flops"] == flops)]
        row = row[row["condition"] == "identity"].iloc[0]
        said = readout.inner_text()
        assert label in said
        for name in ("low", "estimate", "high"):
            assert f"{float(format(row[name], '.3g')):,g}" in said
    choice.select_option(label="no interval")
    assert "interval" not in readout.inner_text()


def test_explorer_shows_parameters_and_tokens_as_people_read_them(visit, small_study):
    page = visit(390)
    place = page.locator("[data-explorer='explorer-data-optimum']")
    place.scroll_into_view_if_needed()
    point = small_study.point_law("identity")
    best_params, best_tokens = (float(count) for count in point.optimal(1e22))
    for name, value in (
        ("parameters", best_params),
        ("training tokens", best_tokens),
    ):
        place.get_by_label("quantity").select_option(label=name)
        assert f"{float(format(value / 1e9, '.3g')):g}B" in place.locator(".readout").inner_text()
    place.locator("input[type=range]").press("End")
    assert "outside the range of the runs" in place.locator(".readout").inner_text()
    ticks = place.locator("svg text").all_text_contents()
    assert any(text.endswith("B") for text in ticks)
    # Of families only tokens per parameter are in the tables; the others follow by C = 6 N D.
    family = page.locator("[data-explorer='explorer-data-multiplicative']")
    assert family.locator("svg").locator("path").count() == 0, "drawn when it comes into view"
    family.scroll_into_view_if_needed()
    family.get_by_label("quantity").select_option(label="parameters")
    assert f"{float(format(best_params / 1e9, '.3g')):g}B" in family.locator(".readout").inner_text()


def test_without_scripts_the_figures_are_there(visit):
    page = visit(java_script_enabled=False)
    images = page.locator("figure img")
    assert images.count() >= 5
    assert all(image.is_visible() for image in images.all())
    assert not any(button.is_visible() for button in page.locator("button").all())
    assert not page.locator(".explorer").first.is_visible()


def test_pictures_of_what_the_explorers_show_are_folded_but_printed(visit, table_page):
    page = visit(file=table_page)
    picture = page.locator("#fitted figure img").first
    assert not picture.is_visible()
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert picture.is_visible() and not page.locator(".explorer").first.is_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen")
    assert not picture.is_visible()
    page.locator("#fitted .stills > summary").press("Enter")
    assert picture.is_visible()
    # A print holds them: Chromium says so before it prints.
    assert page.pdf(format="A4").count(b"/Subtype /Image") >= page.locator("figure img").count()


def test_it_prints(visit):
    printed = visit(color_scheme="dark").pdf(format="A4")
    assert printed.startswith(b"%PDF")
    assert 2 <= printed.count(b"/Type /Page\n") <= 40
