"""From results to Markdown tables, figures and one HTML page: `python -m benchmarks.report`."""
