"""The page in a real browser, in front of a real server: the whole way of a shot, by mouse and keyboard."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from void_server.api import Client, Settings, Shot
from void_server.api.shot import Prompt
from void_server.service.roles import Role
from void_server.service.tokens import new_token

from .browser import RunningPage, SignedInPage, box, chromium, opened, until

pytestmark = pytest.mark.slow
#: What a script that got through would do.
HOSTILE = "<img src=x onerror=document.title='owned'><script>document.title='owned'<"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def running(browser: Any, shot: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPage]:
    del browser  # where there is none, no server is started
    home = tmp_path_factory.mktemp("browser")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VOID_HOME", str(home / "home"))
        page = RunningPage(home / "log", "--root", str(shot), "--root", str(home))
    page.out = home / "out"  # type: ignore[attr-defined]
    page.out.mkdir()  # type: ignore[attr-defined]
    try:
        yield page
    finally:
        page.stop()


def accessible(tab: Any) -> None:
    """Assert that axe finds nothing serious."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe: accessibility was NOT tested")
    found = axe.Axe().run(tab).response
    assert len(found["passes"]) > 10, "axe has looked at nothing"
    serious = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    assert not serious, [(one["id"], [node["html"] for node in one["nodes"]]) for one in serious]


def shown(tab: Any, layer: str) -> Any:
    """Wait until a layer of the frame is on the screen."""
    image = tab.locator(f".stack img[data-layer={layer}]")
    image.wait_for()
    assert image.evaluate("image => image.naturalWidth") > 0
    return image


def test_from_upload_to_download(browser: Any, running: RunningPage, shot: Path) -> None:
    with opened(browser, running) as tab:
        tab.set_input_files("#files", sorted(str(path) for path in (shot / "plate").iterdir()))
        shown(tab, "before")
        assert tab.locator("h1").inner_text() == "plate.exr"
        accessible(tab)
        box(tab, 0.48, 0.37, 0.59, 0.9)
        shown(tab, "mask")
        tab.get_by_role("button", name="See what is affected").click()
        shown(tab, "quadmask")
        tab.get_by_role("radio", name="Cells").check()
        frame = tab.locator(".picture").bounding_box()
        tab.mouse.click(frame["x"] + 0.97 * frame["width"], frame["y"] + 0.05 * frame["height"])
        tab.get_by_role("radio", name="Brush").check()
        tab.mouse.move(frame["x"] + 0.1 * frame["width"], frame["y"] + 0.1 * frame["height"])
        tab.mouse.down()
        tab.mouse.move(frame["x"] + 0.2 * frame["width"], frame["y"] + 0.1 * frame["height"], steps=3)
        tab.mouse.up()
        tab.get_by_text("Corrections: 2").wait_for()
        accessible(tab)
        tab.get_by_role("button", name="Remove it").click()
        shown(tab, "after")
        shown(tab, "before")
        with tab.expect_download() as coming:
            tab.get_by_role("link", name="EXR").click()
        archive = zipfile.ZipFile(io.BytesIO(Path(coming.value.path()).read_bytes()))
        assert len(archive.namelist()) == 12
        with tab.expect_download() as coming:
            tab.get_by_role("link", name="Movie").click()
        capture = cv2.VideoCapture(str(coming.value.path()))
        assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == 12
        capture.release()
        tab.get_by_role("link", name="Report, layers and details").click()
        tab.locator(".sheet").wait_for()
        accessible(tab)
        for layer, title in (
            ("quadmask", "What is affected"),
            ("blend", "Blend"),
            ("origin", "Where pixels come from"),
        ):
            tab.get_by_role("radio", name=title).check()
            shown(tab, layer)
        job = tab.url.rpartition("/")[2]
    with Client(running.server) as client:
        final = client.status(job)
    # what was drawn on the page is in the quadmask that the server worked with
    codes = np.round(255 * quadmask(final.folder, 1004)).astype(int)
    assert codes[5, 187] == codes[11, 28] == 127


def quadmask(folder: str, frame: int) -> np.ndarray:
    from void_server.api.version import VersionFolder
    from void_server.imaging import exr

    path = VersionFolder(Path(folder)).quadmask(frame)
    _, display = exr.windows(path)
    return exr.read_channels(path, ("Y",), display)[..., 0]


def test_the_sample_shot_is_a_click_away_and_keys_move_through_it(browser: Any, running: RunningPage) -> None:
    with opened(browser, running) as tab:
        accessible(tab)
        tab.get_by_role("button", name="Use the sample shot").click()
        shown(tab, "before")
        number = tab.locator(".viewer .number").first
        until(tab, lambda: number.inner_text() == "1013")
        tab.keyboard.press("ArrowRight")
        until(tab, lambda: number.inner_text() == "1014")
        tab.keyboard.press("Home")
        until(tab, lambda: number.inner_text() == "1001")
        tab.keyboard.press(" ")
        until(tab, lambda: int(number.inner_text()) > 1003)
        tab.keyboard.press(" ")
        tab.get_by_role("button", name="Play").wait_for()
        tab.keyboard.press("x")
        assert tab.get_by_role("radio", name="Box").is_checked()
        before = shown(tab, "before").evaluate("image => image.src")
        tab.get_by_label("Exposure").fill("2")
        until(tab, lambda: shown(tab, "before").evaluate("image => image.src") != before)


def test_hostile_names_and_prompts_are_text(browser: Any, running: RunningPage, shot: Path, tmp_path: Path) -> None:
    # a slash ends a name on every system
    name = HOSTILE.replace("/", "")
    for path in sorted((shot / "plate").iterdir())[:2]:
        (tmp_path / f"{name}.{path.name.split('.')[1]}.exr").write_bytes(path.read_bytes())
    with opened(browser, running) as tab:
        tab.set_input_files("#files", sorted(str(path) for path in tmp_path.glob("*.exr")))
        shown(tab, "before")
        assert tab.locator("h1").inner_text() == f"{name}.exr"
        assert tab.title() == "VOID"
    prompt = Prompt(1001, "box", (5.0, 40.0, 20.0, 100.0))
    with Client(running.server) as client:
        job = client.submit(
            Shot(str(shot / "plate"), str(shot / "roto"), prompt=HOSTILE, prompts=(prompt,)),
            str(running.out),  # type: ignore[attr-defined]
        )
        *_, done = client.watch(job.id)
    with opened(browser, running) as tab:
        tab.goto(f"http://{running.host}/#/jobs/{done.id}")
        tab.get_by_text("What was asked").click()
        tab.get_by_text(HOSTILE, exact=True).first.wait_for()
        tab.get_by_text("Report", exact=True).click()
        tab.frame_locator(".report").locator("h1").wait_for()
        assert tab.title() == "VOID"
        assert tab.locator("img[src=x]").count() == 0
        assert tab.frame_locator(".report").locator("img[src=x]").count() == 0


def test_a_running_job_is_followed_stopped_and_resumed(browser: Any, running: RunningPage) -> None:
    from void_server.sample import write_sample

    out = running.out  # type: ignore[attr-defined]
    write_sample(out / "longer", "walkby", (320, 180), range(1001, 1041))
    with opened(browser, running) as tab:
        tab.get_by_role("link", name="Jobs").click()
        with Client(running.server) as client:
            job = client.submit(Shot(str(out / "longer" / "plate"), str(out / "longer" / "roto")), str(out))
        row = tab.locator(".job", has=tab.locator(f"a[href='#/jobs/{job.id}']"))
        row.locator("progress").wait_for()
        accessible(tab)
        row.get_by_role("button", name="Cancel").click()
        row.get_by_role("button", name="Resume").click()
        tab.locator(f".job.running a[href='#/jobs/{job.id}'], .job.done a[href='#/jobs/{job.id}']").wait_for()
        row.get_by_role("link").first.click()
        tab.get_by_text(f"Job {job.id} · removal · done").wait_for()
        tab.locator(".sheet").wait_for()
    with Client(running.server) as client:
        assert client.status(job.id).state.value == "done"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_it_all_without_scrolling_sideways(browser: Any, running: RunningPage, scheme: str) -> None:
    options = {"viewport": {"width": 390, "height": 844}, "color_scheme": scheme, "has_touch": True, "is_mobile": True}
    with opened(browser, running, **options) as tab:
        shot = tab.evaluate("fetch('/api/shots').then(answer => answer.json()).then(shots => shots[0]?.id)")
        for place in ("#/", "#/jobs", *([f"#/shots/{shot}"] if shot else [])):
            tab.goto(f"http://{running.host}/{place}")
            tab.locator("h1").first.wait_for()
            assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
            accessible(tab)


def test_users_sign_in_see_who_may_what_and_out(browser: Any, shot: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VOID_HOME", str(tmp_path / "home"))
        roles = {"ann": Role.ARTIST, "sue": Role.SUPERVISOR}
        page = SignedInPage(tmp_path, roles, "--root", str(shot), "--root", str(tmp_path))
    try:
        with Client(page.server, keys=page.users["ann"], timeout=60) as client:
            wanted = Shot(str(shot / "plate"), str(shot / "roto"), settings=Settings(grain=False))
            done = client.submit(wanted, str(tmp_path / "out"))
            waiting = [client.submit(wanted, str(tmp_path / "out")) for _ in range(3)][-1]
        with opened(browser, page, ignore_https_errors=True) as tab:
            accessible(tab)
            tab.get_by_label("Token").fill("guess")
            tab.get_by_role("button", name="Sign in").click()
            tab.get_by_role("alert").get_by_text("This token is not good").wait_for()
            tab.get_by_label("Token").fill(new_token(page.users["sue"]))
            tab.get_by_role("button", name="Sign in").click()
            tab.get_by_text("sue", exact=False).wait_for()
            tab.goto(page.url + "#/jobs")
            row = tab.locator(f"li.job:has(a[href='#/jobs/{waiting.id}'])")
            # a supervisor raises anybody's priority, and stops nobody's job
            row.get_by_label("Priority").select_option("75")
            with Client(page.server, keys=page.users["ann"]) as client:
                until(tab, lambda: client.status(waiting.id).priority == 75)
            assert row.get_by_role("button", name="Cancel").count() == 0
            row.get_by_text("ann").wait_for()
            accessible(tab)
            tab.goto(page.url + f"#/jobs/{done.id}")
            tab.get_by_text("Disclosure and approval").wait_for()
            assert "nobody yet" in tab.locator(".disclosure").inner_text()
            assert tab.evaluate("document.cookie") == ""
            tab.get_by_role("button", name="Sign out").click()
            tab.get_by_label("Token").wait_for()
            tab.goto(page.url)
            tab.get_by_label("Token").wait_for()
            # ann does with her own what she may
            tab.get_by_label("Token").fill(new_token(page.users["ann"]))
            tab.get_by_role("button", name="Sign in").click()
            tab.get_by_role("button", name="Sign out").wait_for()
    finally:
        page.stop()


def test_a_thing_is_named_on_the_page(browser: Any, running: RunningPage) -> None:
    """Where the server has no SAM 3, it says so; nothing else is taken for the thing."""
    with opened(browser, running) as tab:
        tab.get_by_role("button", name="Use the sample shot").click()
        with tab.expect_request(lambda request: request.url.endswith("/mask")) as asked:
            tab.get_by_label("Or its name").fill("the man in red")
            tab.get_by_label("Or its name").press("Tab")
        (prompt,) = asked.value.post_data_json["prompts"]
        assert (prompt["kind"], prompt["called"], prompt["at"]) == ("named", "the man in red", [])
        tab.locator(".notices .failed").get_by_text("SAM 3").first.wait_for()
