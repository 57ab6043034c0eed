"""Takes the pictures of web.md in a real browser: ``python tools/web_pictures.py``, in a minute or two."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from tests.browser import RunningPage, box, chromium, opened  # noqa: E402

IMAGES = ROOT / "docs" / "images"
#: Around the figure of the sample shot in its middle frame, as shares of the frame.
_FIGURE = (0.475, 0.38, 0.565, 0.89)


def take(tab: object, name: str) -> None:
    """Keep what a tab shows."""
    tab.screenshot(path=IMAGES / f"{name}.jpg", type="jpeg", quality=82)  # type: ignore[attr-defined]


def main() -> None:
    """Take all pictures."""
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        os.environ["VOID_HOME"] = folder
        running = RunningPage(Path(folder) / "log")
        try:
            with opened(browser, running, viewport={"width": 1280, "height": 800}) as tab:
                tab.get_by_role("button", name="Use the sample shot").click()
                tab.locator("img[data-layer=before]").wait_for()
                box(tab, *_FIGURE)
                tab.locator("img[data-layer=mask]").wait_for()
                tab.get_by_role("button", name="See what is affected").click()
                tab.locator("img[data-layer=quadmask]").wait_for()
                tab.wait_for_timeout(500)
                take(tab, "web_remove")
                tab.get_by_role("button", name="Remove it").click()
                tab.locator("img[data-layer=after]").wait_for()
                job = tab.get_by_role("link", name="Report, layers and details").get_attribute("href")
            phone = {"viewport": {"width": 390, "height": 780}, "device_scale_factor": 1.5, "color_scheme": "dark"}
            with opened(browser, running, **phone) as tab:
                tab.goto(f"http://{running.host}/{job}")
                tab.locator("img[data-layer=after]").wait_for()
                tab.wait_for_timeout(500)
                take(tab, "web_phone")
        finally:
            running.stop()


if __name__ == "__main__":
    main()
