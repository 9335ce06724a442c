"""Recordings of ROS (rosbag2 in MCAP or SQLite): import through the recorder's sampling, and export. Needs no ROS."""
