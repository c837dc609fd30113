"""The project's own benchmarks: what dangol does, side by side with the limit of the same machine and run."""
