//! The guide of the simulator, docs/simulation.md, followed to the letter.
#![cfg(madsim)]

use std::path::{Path, PathBuf};
use std::process::Command;

/// A fenced block of the guide, with its language.
struct Block<'a> {
    language: &'a str,
    text: &'a str,
}

fn blocks(guide: &str) -> Vec<Block<'_>> {
    let parts = guide.split("```").skip(1).step_by(2);
    let blocks = parts.filter_map(|part| part.split_once('\n'));
    blocks
        .map(|(language, text)| Block { language, text })
        .collect()
}

/// An empty folder, as a newcomer has it.
fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guide");
    // It is not there the first time.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    folder
}

/// Runs what stands behind `cargo sim`; gives what it prints.
fn follow(arguments: &str, folder: &Path) -> String {
    let arguments = arguments.split_whitespace();
    let arguments: Vec<&str> = arguments.map(|word| word.trim_matches('\'')).collect();
    let mut command = Command::new(env!("CARGO_BIN_EXE_detcd-sim"));
    let output = command.args(&arguments).current_dir(folder).output();
    let output = output.expect("the simulator starts");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn every_command_of_the_guide_does_what_the_guide_says() {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/simulation.md");
    let guide = std::fs::read_to_string(guide).expect("the guide is there");
    let folder = folder();
    let scenario = folder.join("lost.toml");
    let mut reported = Vec::new();
    for Block { language, text } in blocks(&guide) {
        match language {
            "toml" if text.starts_with("budget") => {
                std::fs::write(&scenario, text).expect("the folder can be written");
            }
            "toml" if text.starts_with("[expect]") => {
                let before = std::fs::read_to_string(&scenario).expect("it was written");
                let (kept, _) = before.split_once("[expect]").expect("it has the table");
                std::fs::write(&scenario, format!("{kept}{text}")).expect("it can be written");
            }
            // What a shrunk scenario looks like.
            "toml" => {}
            _ => {
                let commands = text
                    .lines()
                    .filter_map(|line| line.strip_prefix("cargo sim "));
                reported.extend(commands.map(|arguments| follow(arguments, &folder)));
            }
        }
    }
    let [clean, caught, shrunk, _report, events, _trace, answers] = &reported[..] else {
        panic!("the guide has other commands than it had: {reported:#?}");
    };
    assert!(clean.contains(": pass, "), "{clean}");
    assert!(caught.contains("SAFETY VIOLATED") && caught.contains("ack-before-save is caught"));
    assert!(events.lines().all(|line| line.contains(" m2 ")), "{events}");
    assert!(!answers.is_empty() && answers.lines().all(|line| line.contains("client.done")));
    assert!(folder.join("run.html").exists() && folder.join("run.jsonl").exists());
    // The shrunk scenario is a small one, and its own command shows the bug.
    let (_, see) = shrunk.split_once("see it: cargo sim ").expect("a command");
    let see = see.split('#').next().unwrap_or(see);
    let seen = follow(see, &folder);
    assert!(seen.contains("ack-before-save is caught"), "{seen}");
    let small = std::fs::read_to_string(folder.join("small.toml")).expect("it was written");
    let entries = small
        .lines()
        .filter(|line| line.contains("ms c") || *line == "[[fault]]");
    assert!(entries.count() <= 8, "{small}");
}
