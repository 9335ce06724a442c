"""Views: a video and a contact sheet of an episode, one page about a dataset."""
