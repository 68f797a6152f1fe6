//! Data-dirs that are damaged, foreign or incomplete.
