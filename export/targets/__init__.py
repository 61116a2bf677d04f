"""What an engine is exported to: other runtimes, devices and servers."""
