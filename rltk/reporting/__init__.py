"""The parts of the report: what a run left behind, its tables, its charts and the page around them."""
