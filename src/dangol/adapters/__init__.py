"""One file for each technology behind the ports; imported on first use."""
