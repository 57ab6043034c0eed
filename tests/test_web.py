"""The page's server: who may come in, what it takes, and what it shows; over real HTTP, in front of a real server."""

from __future__ import annotations

import http.client
import io
import json
import subprocess
import time
import urllib.parse
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from void_server.api import Client, Settings, Shot, notices
from void_server.imaging import exr

from .browser import VOID, RunningPage

pytestmark = pytest.mark.slow
_PATIENCE = 300.0


@pytest.fixture(scope="module")
def running(shot: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPage]:
    home = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VOID_HOME", str(home / "home"))
        (home / "out").mkdir()
        page = RunningPage(home / "log", "--root", str(shot), "--root", str(home / "out"))
    page.out = home / "out"  # type: ignore[attr-defined]
    try:
        yield page
    finally:
        page.stop()


class Browser:
    """What a browser sends for the page: its cookie, and the page's token with what changes something."""

    def __init__(self, page: RunningPage) -> None:
        self._page = page
        status, headers, _ = self.ask("GET", f"/?key={page.key}", cookie="")
        assert status == 303
        self.set_cookie = headers["set-cookie"]
        self.cookie = self.set_cookie.partition(";")[0]
        self.token = str(json.loads(self.ask("GET", "/api/hello")[2])["token"])

    def ask(
        self, method: str, path: str, body: bytes | None = None, cookie: str | None = None, **headers: str
    ) -> tuple[int, Mapping[str, str], bytes]:
        """The status, the headers and the body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self._page.port, timeout=_PATIENCE)
        said = {"cookie": self.cookie if cookie is None else cookie, "host": self._page.host}
        connection.request(method, path, body, {**said, **{k.replace("_", "-"): v for k, v in headers.items()}})
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, data

    def change(self, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
        """The status of an answer to the page's own script, and what it says."""
        origin = f"http://{self._page.host}"
        status, headers, data = self.ask(method, path, body, x_void_token=self.token, origin=origin)
        is_json = headers.get("content-type") == "application/json"
        return status, json.loads(data) if is_json else {"error": data.decode()}

    def get(self, path: str) -> Any:
        status, _, data = self.ask("GET", path)
        assert status == 200, data
        return json.loads(data)

    def bring(self, files: Mapping[str, bytes], name: str = "shot") -> tuple[int, Any]:
        """Bring a shot, as the page does."""
        _, made = self.change("POST", "/api/shots")
        for file, data in files.items():
            path = f"/api/shots/{made['id']}/files/{urllib.parse.quote(file, safe='')}"
            status, said = self.change("PUT", path, data)
            if status != 204:
                return status, said
        return self.change("POST", f"/api/shots/{made['id']}/ready", json.dumps({"name": name}).encode())

    def ended(self, job: str) -> Any:
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            found = self.get(f"/api/jobs/{job}")
            if found["state"] not in ("queued", "running"):
                return found
            time.sleep(0.05)
        raise AssertionError("the job never ended")


@pytest.fixture(scope="module")
def browser(running: RunningPage) -> Browser:
    return Browser(running)


@pytest.fixture(scope="module")
def brought(browser: Browser, shot: Path) -> Any:
    status, said = browser.bring({p.name: p.read_bytes() for p in (shot / "plate").iterdir()}, "walkby.exr")
    assert status == 200
    return said


def test_nobody_comes_in_without_the_key(browser: Browser) -> None:
    for path in ("/", "/api/hello", "/api/shots", "/static/main.js", "/metrics", "/?key=wrong"):
        status, _, data = browser.ask("GET", path, cookie="")
        assert status == 403
        assert b"printed" in data
    wrong = browser.cookie[:-4] + "AAAA"
    assert browser.ask("GET", "/", cookie=wrong)[0] == 403


def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(browser: Browser) -> None:
    assert "httponly" in browser.set_cookie.lower()
    assert "samesite=strict" in browser.set_cookie.lower()


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", ""])
def test_a_browser_that_was_led_here_by_foreign_dns_is_refused(
    browser: Browser, running: RunningPage, host: str
) -> None:
    status, _, data = browser.ask("GET", "/api/shots", host=host.format(port=running.port))
    assert status in (400, 421)
    assert b"frames" not in data


def test_another_site_changes_nothing(browser: Browser, running: RunningPage) -> None:
    own, before = f"http://{running.host}", browser.get("/api/shots")
    for headers in (
        {},
        {"origin": own},
        {"x_void_token": browser.token},
        {"origin": own, "x_void_token": "0" * 64},
        {"origin": "http://evil.example", "x_void_token": browser.token},
        {"origin": "null", "x_void_token": browser.token},
        {"origin": f"http://127.0.0.1:{running.port + 1}", "x_void_token": browser.token},
    ):
        for method, path in (("POST", "/api/samples"), ("POST", "/api/shots"), ("DELETE", "/api/shots/000000000000")):
            status, _, data = browser.ask(method, path, b"{}", **headers)
            assert status == 403
            assert b"another page" in data
    assert browser.get("/api/shots") == before


def test_every_answer_has_a_strict_policy(browser: Browser) -> None:
    for path in ("/", "/static/main.js", "/api/hello", "/nowhere"):
        _, headers, _ = browser.ask("GET", path)
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"


def test_the_page_loads_nothing_from_elsewhere() -> None:
    static = Path(__file__).resolve().parents[1] / "void_server" / "web" / "static"
    for file in static.iterdir():
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text, file
        assert "https://" not in text, file
        # whatever a server says is text, never markup
        assert "innerHTML" not in text, file
        assert "insertAdjacentHTML" not in text, file


def test_an_address_that_others_reach_is_refused() -> None:
    for word in ("0.0.0.0:8090", "192.0.2.1:80", "[::]:8090", "farm1:8090"):
        done = subprocess.run([*VOID, "serve", "--web", word], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 2
        assert done.stderr.startswith(f"void: Other machines could reach the page at {word}")


def test_a_page_without_a_server_says_so() -> None:
    words = ["web", "--server", "tcp://127.0.0.1:9", "--at", "127.0.0.1:0"]
    done = subprocess.run([*VOID, *words], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "No VOID server answers at tcp://127.0.0.1:9" in done.stderr


def test_a_port_that_is_taken_is_a_failure(running: RunningPage) -> None:
    at = f"127.0.0.1:{running.port}"
    words = ["serve", "--address", "tcp://127.0.0.1:*", "--web", at]
    done = subprocess.run([*VOID, *words], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert f"void: The page cannot be at {at}" in done.stderr


def test_a_frame_is_shown_through_the_display_transform(browser: Browser, brought: Any, shot: Path) -> None:
    assert (brought["width"], brought["height"], brought["frames"][0]) == (192, 108, 1001)
    path = f"/api/shots/{brought['id']}/frames/1003"
    shown = [picture(browser, f"{path}?stops={stops}") for stops in (0, 1)]
    linear = np.clip(exr.read_rgb(shot / "plate" / "plate.1003.exr"), 0, None)
    for stops, seen in enumerate(shown):
        light = np.clip(linear * 2**stops, 0, 1)
        srgb = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055) * 255
        assert float(np.abs(seen - srgb).mean()) < 5


def picture(browser: Browser, path: str) -> np.ndarray:
    status, headers, data = browser.ask("GET", path)
    assert status == 200, data
    assert headers["content-type"] in ("image/jpeg", "image/png")
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return found[..., [2, 1, 0, *range(3, found.shape[2])]].astype(np.float32)


def test_pngs_and_movies_become_a_linear_plate(browser: Browser, tmp_path: Path) -> None:
    grey = np.full((60, 80, 3), 128, np.uint8)
    grey[20:40, 20:40] = (200, 60, 30)
    good, png = cv2.imencode(".png", grey)
    assert good
    status, said = browser.bring({f"a.{n:04d}.png": png.tobytes() for n in (1, 2)})
    assert (status, said["frames"], said["colorspace"]) == (200, [1, 2], "lin_rec709")
    seen = picture(browser, f"/api/shots/{said['id']}/frames/1")
    assert np.abs(seen[5:15, 5:15] - 128).max() <= 2
    writer = cv2.VideoWriter(str(tmp_path / "m.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 24, (80, 60))
    for _ in range(5):
        writer.write(grey)
    writer.release()
    status, said = browser.bring({"m.avi": (tmp_path / "m.avi").read_bytes()})
    assert (status, said["frames"]) == (200, [1, 2, 3, 4, 5])
    assert np.abs(picture(browser, f"/api/shots/{said['id']}/frames/5")[5:15, 5:15] - 128).max() <= 4


@pytest.mark.parametrize(
    "name", ["../evil.exr", "a/b.exr", "..\\evil.exr", ".hidden.exr", "a\x00.exr", "evil.exe", "con.exr"]
)
def test_a_name_that_leads_elsewhere_is_refused(browser: Browser, name: str) -> None:
    status, said = browser.bring({name: b"x"})
    assert status in (400, 403, 404)
    assert said["error"]


def test_two_files_of_one_name_are_refused(browser: Browser, shot: Path) -> None:
    data = (shot / "plate" / "plate.1001.exr").read_bytes()
    status, said = browser.bring({"a b.0001.exr": data, "a%b.0001.exr": data})
    assert status == 400
    assert said["error"] == "Two files of the shot are called a%b.0001.exr; bring one of them."


@pytest.mark.parametrize("data", [b"", b"x" * 1000, b"\x76\x2f\x31\x01" + b"\xff" * 500])
def test_damaged_files_are_refused_with_a_sentence(browser: Browser, data: bytes) -> None:
    before = len(browser.get("/api/shots"))
    for name in ("a.0001.exr", "a.0001.png", "a.mov"):
        status, said = browser.bring({name: data})
        assert status == 400, said
        assert said["error"].endswith(".")
        assert "Traceback" not in said["error"]
    assert len(browser.get("/api/shots")) == before


@pytest.mark.parametrize(
    "body", [b"[]", b"{", b"\xff", b'{"prompts": 1}', b'{"prompts": [{"frame": 1}]}', b"9" * 5_000_000]
)
def test_what_no_page_sends_is_refused(browser: Browser, brought: Any, body: bytes) -> None:
    for where in ("mask", "jobs"):
        status, said = browser.change("POST", f"/api/shots/{brought['id']}/{where}", body)
        assert status == 400, said


def test_results_are_those_of_the_server(browser: Browser, brought: Any, running: RunningPage) -> None:
    prompts = [{"frame": 1006, "kind": "box", "at": [77, 40, 98, 97]}]
    status, mask = browser.change("POST", f"/api/shots/{brought['id']}/mask", json.dumps({"prompts": prompts}).encode())
    assert status == 201, mask
    done = browser.ended(mask["id"])
    assert done["state"] == "done", done["error"]
    roto = picture(browser, f"/api/jobs/{mask['id']}/roto/1006")
    assert roto.shape[2] == 4
    assert roto[..., 3].max() > 0
    said = {"prompts": prompts, "settings": {"until": "quadmask"}}
    status, job = browser.change("POST", f"/api/shots/{brought['id']}/jobs", json.dumps(said).encode())
    assert status == 201, job
    assert browser.ended(job["id"])["state"] == "done"
    stroke = {"what": "affected", "points": [[20, 20], [30, 20]], "radius": 4, "first": 1001, "last": 1012}
    said = {
        "settings": {"until": "plate", "grain": False},
        "quadmask_of": job["id"],
        "cells": ["1001-1012:r0c13=affected"],
        "strokes": [stroke],
    }
    status, final = browser.change("POST", f"/api/shots/{brought['id']}/jobs", json.dumps(said).encode())
    assert status == 201, final
    assert browser.ended(final["id"])["state"] == "done"
    quadmask = picture(browser, f"/api/jobs/{final['id']}/quadmask/1004")
    for row, column in ((5, 185), (20, 25)):
        assert tuple(quadmask[row, column, :3]) == (240, 170, 40)
        assert quadmask[row, column, 3] > 100
    view = browser.get(f"/api/jobs/{final['id']}/view")
    assert (view["before"], view["after"], view["frames"]) == (True, True, list(range(1001, 1013)))
    assert view["layers"] == ["quadmask", "blend", "origin"]
    for layer in ("before", "after", "blend", "origin"):
        picture(browser, f"/api/jobs/{final['id']}/{layer}/1004")
    for what, count in (("plate", 12), ("patch", 12), ("mattes", 12), ("quadmask", 12)):
        status, headers, data = browser.ask("GET", f"/api/jobs/{final['id']}/download/{what}")
        assert status == 200
        assert headers["content-disposition"].startswith(f'attachment; filename="walkby_{final["id"]}_{what}.zip"')
        archive = zipfile.ZipFile(io.BytesIO(data))
        assert len(archive.namelist()) == count
        with Client(running.server) as client:
            original = Path(client.status(final["id"]).folder) / archive.namelist()[3]
        assert archive.read(archive.namelist()[3]) == original.read_bytes()
    _, headers, report = browser.ask("GET", f"/api/jobs/{final['id']}/report")
    assert b"<h1>" in report
    assert headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    _, headers, data = browser.ask("GET", f"/api/jobs/{final['id']}/download/movie")
    assert headers["content-type"] == "video/mp4"
    assert data[4:8] == b"ftyp"


def test_a_job_by_path_is_shown_with_its_plate_and_done_again(
    browser: Browser, running: RunningPage, shot: Path
) -> None:
    out = running.out  # type: ignore[attr-defined]
    with Client(running.server) as client:
        job = client.submit(Shot(str(shot / "plate"), str(shot / "roto"), settings=Settings(grain=False)), str(out))
        browser.ended(job.id)
        view = browser.get(f"/api/jobs/{job.id}/view")
        assert view["before"]
        before = picture(browser, f"/api/jobs/{job.id}/before/1006")
        after = picture(browser, f"/api/jobs/{job.id}/after/1006")
        assert np.abs(before - after).max() > 50
        status, again = browser.change("POST", f"/api/jobs/{job.id}/again")
        assert status == 201
        assert again["id"] != job.id
        assert Path(again["folder"]).parent == out
        browser.ended(again["id"])


def test_layers_that_are_none_and_jobs_that_are_not_there(browser: Browser) -> None:
    assert browser.ask("GET", "/api/jobs/000000000000")[0] == 404
    job = browser.get("/api/shots")[0]["jobs"]
    for path in ("before/999999", "nonsense/1001", "after/%2e%2e", "download/..%2Fjob.json", "download/report"):
        assert browser.ask("GET", f"/api/jobs/{(job or ['000000000000'])[-1]}/{path}")[0] in (400, 404)


def test_the_page_shows_what_the_farm_has_told(
    running: RunningPage, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert browser.get("/api/notices") == []
    monkeypatch.setenv("VOID_HOME", str(running.out.parent / "home"))  # type: ignore[attr-defined]
    for text in ("first", "<b>second</b>"):
        notices.add({"event": "job_done", "text": text, "when": 1.0})
    assert [one["text"] for one in browser.get("/api/notices")] == ["<b>second</b>", "first"]


def test_metrics_are_prometheus_text(browser: Browser, running: RunningPage) -> None:
    parser = pytest.importorskip("prometheus_client.parser")
    status, headers, data = browser.ask("GET", "/metrics", cookie="", authorization=f"Bearer {running.key}")
    assert status == 200
    assert headers["content-type"].startswith("text/plain")
    families = {family.name: family for family in parser.text_string_to_metric_families(data.decode())}
    assert families["void_up"].samples[0].value == 1
    assert {sample.labels["state"] for sample in families["void_workers"].samples} == {"starting", "idle", "busy"}
    assert {sample.labels["state"] for sample in families["void_jobs"].samples} >= {"queued", "running", "done"}
