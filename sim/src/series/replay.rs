//! The one line that runs a run again.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The command, and behind `#` the commit that the program is of: another program may draw other
/// things from the seed. `own` is the planted bug that the file names, `mutant` the one that the
/// run has.
pub fn command(path: &Path, seed: u64, own: Option<&str>, mutant: Option<&str>) -> String {
    let planting = match mutant {
        _ if mutant == own => String::new(),
        Some(mutant) => format!(" --mutant {mutant}"),
        None => " --without-mutant".to_owned(),
    };
    let path = path.display();
    format!("cargo sim run {path} --seed {seed}{planting}{}", commit())
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
        let command = |own, mutant| command("a/b.toml".as_ref(), 7, own, mutant);
        let expected = "cargo sim run a/b.toml --seed 7 --without-mutant";
        let clean = command(Some("torn-tail"), None);
        assert!(clean.starts_with(expected), "{clean}");
        let expected = "cargo sim run a/b.toml --seed 7 --mutant torn-tail";
        let added = command(None, Some("torn-tail"));
        assert!(added.starts_with(expected), "{added}");
        let planted = command(Some("torn-tail"), Some("torn-tail"));
        // Outside of a work tree there is no commit to name.
        let (_, comment) = planted.split_once("--seed 7").expect("it names the seed");
        assert!(
            comment.is_empty() || comment.starts_with("   # "),
            "{comment}"
        );
    }
}
