"""The parts of a report: each takes a document and returns a section, or nothing."""
