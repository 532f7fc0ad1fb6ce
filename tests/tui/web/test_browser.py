"""The app in a real browser: shown, usable, and nothing asked of another host."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.tui.web.chromium import tab, why_not
from tests.tui.web.program import oakctl_web
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")]


async def test_it_is_shown_and_answers_keys(own_directories: Path, tmp_path: Path) -> None:
    with oakctl_web() as running:
        async with tab(tmp_path, running.address) as page:
            first = "document.body.classList.contains('-first-byte')"
            await until("the screen", lambda: page.value(first))
            await until("the app's first view", lambda: b"Fleet" in page.shown)
            assert await page.value("location.search") == ""  # the token is nowhere to be read

            await page.press("2")
            await until("the view of services", lambda: b"[2 Services]" in page.shown)
            await page.press("q")
            closed = "document.body.classList.contains('-closed')"
            await until("the end of the session", lambda: page.value(closed))

            asked = {
                urlsplit(each).netloc for each in page.requests if not each.startswith("data:")
            }
            assert asked == {urlsplit(running.base).netloc}
            # A root that is on its way is waited for, and is no fault.
            assert b"no root answers" not in page.shown
            assert page.complaints == []  # nothing of the page was refused by its own policy
