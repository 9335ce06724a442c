"""HDF5 files of other tools: robomimic (one file a dataset) and ACT / ALOHA (one file an episode)."""
