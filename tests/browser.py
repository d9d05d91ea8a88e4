"""A headless Chromium for tests of pages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

WIDE, PHONE = (1280, 900), (390, 844)


def find_browser() -> tuple[str, str]:
    """Chromium and its driver; the test is skipped without them."""
    pytest.importorskip("selenium", reason="selenium is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("no Chromium with its chromedriver on this machine")
    return browser, driver


def open_browser(downloads: Path) -> Iterator[Any]:
    """A browser that saves downloads in a folder, closed at the end."""
    browser, driver = find_browser()
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--mute-audio"):
        options.add_argument(argument)
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    window = webdriver.Chrome(options=options, service=Service(driver))
    behaviour = {"behavior": "allow", "downloadPath": str(downloads)}
    window.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)
    try:
        yield window
    finally:
        window.quit()


def resize(window: Any, size: tuple[int, int]) -> None:
    """Set the size of the viewport."""
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size[0] < 600}
    window.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def errors(window: Any) -> list[str]:
    """Console messages since the last call."""
    return [entry["message"] for entry in window.get_log("browser")]
