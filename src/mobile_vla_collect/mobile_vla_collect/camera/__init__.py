"""camera_node: read a camera and publish its images."""
