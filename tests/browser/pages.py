"""What tests of pages do with a browser: open a file as on a screen, and ask axe what hinders people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

_AXE = """
const done = arguments[0];
axe.run(document).then(({ violations }) => done(violations.map(({ impact, id, nodes }) =>
  [impact, id, nodes.map((one) => one.html.slice(0, 200))])));
"""


def show(browser: Chrome, page: Path, *, width: int, scheme: str) -> None:
    """Open `page` at that width, with the network off."""
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(page.as_uri())


def find_violations(browser: Chrome, axe: str) -> list[Any]:
    """What `axe`, the source of axe-core, finds on the page that is open: [impact, rule, elements] each."""
    # a page's policy that permits no script is not to stop the test's own
    if not browser.execute_script("return typeof axe === 'object'"):
        browser.execute_script(axe)
    return browser.execute_async_script(_AXE)
