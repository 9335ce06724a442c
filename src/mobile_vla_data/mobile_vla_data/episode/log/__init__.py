"""The log of an open episode: every step is on the disk the moment it is taken, and becomes the episode file.

:class:`EpisodeLog` writes one, :func:`read_log` reads what a crash left, and both commit it. The format is described in
docs/reference/episode-log.md.
"""

from mobile_vla_data.episode.log.log import EpisodeLog, LoggedEpisode, read_log
from mobile_vla_data.episode.log.records import LogError, cut_off_in_header

__all__ = ["EpisodeLog", "LogError", "LoggedEpisode", "cut_off_in_header", "read_log"]
