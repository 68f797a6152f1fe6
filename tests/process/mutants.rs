//! What ships holds no planted bug: not its code, and not even its name.

use std::fs;

/// Where the simulator's planted bugs are listed.
const LIST: &str = include_str!("../../src/core/mutants.rs");

/// The names of the planted bugs.
fn names() -> Vec<&'static str> {
    let named = |line: &'static str| line.split_once(" = \"")?.1.strip_suffix("\",");
    LIST.lines().filter_map(named).collect()
}

/// Which of the names stand somewhere in these bytes.
fn found_in(bytes: &[u8], names: &[&'static str]) -> Vec<&'static str> {
    let mut begins = [false; 256];
    names
        .iter()
        .for_each(|name| begins[name.as_bytes()[0] as usize] = true);
    let places = (0..bytes.len()).filter(|at| begins[bytes[*at] as usize]);
    let mut found: Vec<&str> = places
        .flat_map(|at| {
            let stands = move |name: &&&'static str| bytes[at..].starts_with(name.as_bytes());
            names.iter().filter(stands).copied()
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

#[test]
fn the_programs_know_no_planted_bug() {
    let names = names();
    assert!(
        names.len() > 30 && names.contains(&"torn-tail"),
        "{names:?}"
    );
    assert_eq!(found_in(b"a torn-tail here", &names), ["torn-tail"]);
    for program in [
        env!("CARGO_BIN_EXE_detcd"),
        env!("CARGO_BIN_EXE_detcdctl"),
        env!("CARGO_BIN_EXE_detcdutl"),
    ] {
        let bytes = fs::read(program).expect("the program under test");
        assert_eq!(found_in(&bytes, &names), Vec::<&str>::new(), "in {program}");
    }
}
