//! Restarts, stops and older copies of a data-dir.
