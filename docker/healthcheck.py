"""Docker's health check: does the dashboard answer? Exit status 0 or 1. Plain Python, no ROS: it runs every 30 s."""

import os
import sys
import urllib.request

PORT = os.environ.get("MOBILE_VLA_DASHBOARD_PORT", "8080")

try:
    urllib.request.urlopen(f"http://127.0.0.1:{PORT}/healthz", timeout=3).close()
except OSError as error:
    sys.exit(f"the dashboard does not answer on port {PORT}: {error}")
