//! detcd-driver
