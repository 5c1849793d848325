"""The demo: a made-up marketplace whose listings carry the snippet, so that a newcomer sees events land."""
