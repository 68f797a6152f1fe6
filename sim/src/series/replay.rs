//! The one line that runs a run again.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The command, and behind `#` the commit that the program is of: another program may draw other
/// things from the seed. `without_mutant` leaves out the planted bug of the scenario.
pub fn command(path: &Path, seed: u64, without_mutant: bool) -> String {
    let clean = if without_mutant {
        " --without-mutant"
    } else {
        ""
    };
    let path = path.display();
    format!("cargo sim run {path} --seed {seed}{clean}{}", commit())
}

/// The commit of the work tree, which `cargo sim` has just built the program from. A program that
/// is run by itself may be of before.
fn commit() -> String {
    let Some(commit) = git(&["describe", "--always", "--dirty", "--abbrev=9"]) else {
        return String::new();
    };
    let committed = git(&["log", "-1", "--format=%ct"]).and_then(|text| text.parse().ok());
    match (committed.map(Duration::from_secs), built()) {
        (Some(committed), Some(built)) if built < committed => format!("   # before {commit}"),
        _ => format!("   # at {commit}"),
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = output.status.success().then_some(output.stdout)?;
    Some(String::from_utf8_lossy(&text).trim().to_owned())
}

/// When this program was written, since 1970.
fn built() -> Option<Duration> {
    let program = std::env::current_exe().ok()?;
    let written: SystemTime = program.metadata().ok()?.modified().ok()?;
    written.duration_since(UNIX_EPOCH).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_can_be_typed_and_names_the_commit() {
        let clean = command("a/b.toml".as_ref(), 7, true);
        let expected = "cargo sim run a/b.toml --seed 7 --without-mutant";
        assert!(clean.starts_with(expected), "{clean}");
        let planted = command("a/b.toml".as_ref(), 7, false);
        assert!(!planted.contains("--without-mutant"));
        // Outside of a work tree there is no commit to name.
        let (_, comment) = planted.split_once("--seed 7").expect("it names the seed");
        assert!(
            comment.is_empty() || comment.starts_with("   # "),
            "{comment}"
        );
    }
}
