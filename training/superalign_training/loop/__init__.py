"""One driver, and the stages that it runs."""
