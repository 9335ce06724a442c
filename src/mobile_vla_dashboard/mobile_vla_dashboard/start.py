"""Entry points of this package; each names a missing Python module in one line."""

from mobile_vla_data.start import entry

dashboard_node = entry("mobile_vla_dashboard.dashboard_node", ("uvicorn", "websockets"))
