//! Addresses, names and member URLs.
