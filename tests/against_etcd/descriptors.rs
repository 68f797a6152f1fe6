//! File descriptors: connections are limited by what storage leaves.
