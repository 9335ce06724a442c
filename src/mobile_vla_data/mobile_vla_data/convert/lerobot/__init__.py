"""LeRobotDataset v3.0: export and import."""
