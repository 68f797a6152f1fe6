//! Limited ranges, counts and pages over many keys.
