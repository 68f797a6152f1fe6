//! detcd
