"""Entry points of this package; each names a missing Python module in one line."""

from mobile_vla_data.start import entry

data = entry("mobile_vla_data.cli.main")
