//! Whole runs, in processes of their own, as `cargo sim` starts them.
#![cfg(madsim)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn sim(arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_detcd-sim");
    let output = Command::new(program).args(arguments).output();
    output.expect("the simulator starts")
}

fn scenario(name: &str) -> String {
    format!("{}/../scenarios/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// What the process of a run reports: verdict, hash, number of events and more.
fn reported(file: &str, seed: &str) -> String {
    let result = scratch("result.json");
    let result = result.to_str().expect("the path is text");
    let output = sim(&["one", file, "--seed", seed, "--result", result]);
    std::fs::read_to_string(result).unwrap_or_else(|_| panic!("{output:?}"))
}

#[test]
fn a_saved_plan_gives_the_same_run_and_the_command_line_agrees() {
    let cases = [
        ("smoke/partitions.toml", "2"),
        ("smoke/crashes.toml", "3"),
        ("swarm/swarm.toml", "11"),
    ];
    for (name, seed) in cases {
        let original = scenario(name);
        let plan = scratch(&name.replace('/', "-"));
        let plan = plan.to_str().expect("the path is text");
        let first = sim(&["run", &original, "--seed", seed, "--save-plan", plan]);
        let first = String::from_utf8_lossy(&first.stdout).into_owned();
        assert!(
            first.starts_with(&format!("the plan of seed {seed}")),
            "{first}"
        );
        // The plan knows its seed.
        let second = sim(&["run", plan]);
        let second = String::from_utf8_lossy(&second.stdout).into_owned();
        let hash = |output: &str| output.trim_end().rsplit(' ').next().map(str::to_owned);
        assert_eq!(hash(&first), hash(&second), "{first}\n{second}");
        assert_eq!(reported(&original, seed), reported(plan, seed), "{name}");
    }
}

const SMALL: &str = "[[workload]]\nkind = \"kv\"\nclients = 1\nops = 3\n";

fn exit_code(name: &str, text: &str) -> (Option<i32>, String) {
    let file = scratch(name);
    std::fs::write(&file, text).expect("the folder can be written");
    let output = sim(&["run", file.to_str().expect("the path is text")]);
    let printed = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&printed).into_owned(),
    )
}

#[test]
fn a_run_that_never_gets_where_it_is_to_proves_nothing() {
    let (code, printed) = exit_code("small.toml", SMALL);
    assert_eq!(code, Some(0), "{printed}");
    let vacuous = format!("{SMALL}[expect]\nreached = [\"snapshot.installed\"]\n");
    let (code, printed) = exit_code("vacuous.toml", &vacuous);
    assert_eq!(code, Some(2), "{printed}");
    assert!(
        printed.contains("never reached: snapshot.installed"),
        "{printed}"
    );
}

#[test]
fn a_cluster_that_does_not_come_back_is_not_live() {
    // Nothing gets done within a budget that ends before the first answer.
    let late = format!("budget = \"1ms\"\n{SMALL}");
    let (code, printed) = exit_code("late.toml", &late);
    assert_eq!(code, Some(3), "{printed}");
}

/// What a run in this process comes to, with a planted bug.
fn planted(name: &str, seed: &str, more: &[&str]) -> (Option<i32>, String) {
    let file = scenario(name);
    let output = sim(&[&["run", &file, "--seed", seed], more].concat());
    let printed = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&printed).into_owned(),
    )
}

#[test]
fn a_planted_bug_that_nobody_looks_for_is_not_caught() {
    let caught = "must-fail/ack-before-save.toml";
    let (code, printed) = planted(caught, "1", &[]);
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("ack-before-save is caught; see it: cargo sim run"));
    // The same bug is there, and the check that could see it is not asked.
    let text = std::fs::read_to_string(scenario("bugs/ack-before-save.toml")).expect("it is there");
    let expect = text.find("[expect]").expect("it expects something");
    let blind = "[check]\nalways = []\nhistory = [\"watch\"]\nhealed = []\n[expect]\n\
                 result = \"caught\"\nmutant = \"ack-before-save\"\ncaught_by = [\"watch\"]\n";
    let (code, printed) = exit_code("blind.toml", &format!("{}{blind}", &text[..expect]));
    assert_eq!(code, Some(1), "{printed}");
    assert!(
        printed.contains("ack-before-save is NOT CAUGHT"),
        "{printed}"
    );
}

/// What a line says of a run: how it ended, and its hash.
fn ended(line: &str) -> (&str, &str) {
    let (_, ended) = line.split_once(": ").expect("it says how it ended");
    let verdict = ended.split(',').next().expect("it has a first part");
    let (_, hash) = line.rsplit_once("hash ").expect("it names the hash");
    (verdict, hash)
}

#[test]
fn what_is_printed_of_a_caught_mutant_runs_it_again() {
    let at_home = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_detcd-sim"));
        command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let output = command.args(arguments).output();
        let output = output.expect("the simulator starts");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("it prints text")
    };
    let hunted = ["mutants", "--swarm", "--only", "stale-ack", "--seeds", "5"];
    let table = at_home(&hunted);
    let lines: Vec<&str> = table.lines().collect();
    let replays = lines.windows(2).filter_map(|pair| {
        let (_, command) = pair[1].split_once("replay: cargo sim ")?;
        Some((pair[0], command.split('#').next()?))
    });
    // One with the scenario of its own, and one with the swarm, which knows nothing of it.
    let replays: Vec<(&str, &str)> = replays.collect();
    assert_eq!(replays.len(), 2, "{table}");
    assert!(replays[1].1.contains("--mutant stale-ack"), "{table}");
    for (caught, command) in replays {
        let words: Vec<&str> = command.split_whitespace().collect();
        let again = at_home(&words);
        let seed = format!(" seed {} ", words[3]);
        let line = again.lines().find(|line| line.contains(&seed));
        let line = line.unwrap_or_else(|| panic!("{again}"));
        assert_eq!(ended(caught), ended(line), "{again}");
        // Two processes agree, too, and what a line says to type can be typed again.
        assert!(
            again.contains("stale-ack is caught; see it: cargo sim run"),
            "{again}"
        );
        at_home(&[&words[..], &["--twice"]].concat());
    }
}

#[test]
fn a_run_has_one_planted_bug_at_most() {
    let (code, printed) = planted("smoke/crashes.toml", "1", &["--mutant", "torn-tial"]);
    assert_eq!(code, Some(2), "{printed}");
    assert!(printed.contains("did you mean `torn-tail`?"), "{printed}");
    let other = ["--mutant", "stale-ack"];
    let (code, printed) = planted("must-fail/torn-tail.toml", "1", &other);
    assert_eq!(code, Some(2), "{printed}");
    assert!(printed.contains("plants `torn-tail` itself"), "{printed}");
}

#[test]
fn a_leak_is_found_by_running_twice_and_shown_with_both_sides() {
    let (code, printed) = planted("smoke/crashes.toml", "3", &["--twice", "--leak"]);
    assert_eq!(code, Some(4), "{printed}");
    let (_, difference) = printed
        .split_once("the first differing event is number ")
        .expect("it is named");
    let sides: Vec<&str> = difference
        .lines()
        .filter(|line| line.starts_with("  "))
        .collect();
    let first = sides.iter().find(|line| line.starts_with("  first "));
    let second = sides.iter().find(|line| line.starts_with("  second "));
    let (first, second) = (first.expect("one side"), second.expect("the other"));
    assert_ne!(
        first.trim_start_matches("  first "),
        second.trim_start_matches("  second ")
    );
    // The same without the leak is the same.
    let (code, printed) = planted("smoke/crashes.toml", "3", &["--twice"]);
    assert_eq!(code, Some(0), "{printed}");
}

#[test]
fn a_member_that_stops_by_itself_is_a_crash() {
    // A member that finds its log broken says so and stays down.
    let (file, result) = (scenario("must-fail/torn-tail.toml"), scratch("torn.json"));
    let result = result.to_str().expect("the path is text");
    let crashes = |seed: u64| {
        let seed = seed.to_string();
        let run = ["one", &file, "--seed", &seed, "--result", result];
        let output = sim(&[&run[..], &["--mutant", "torn-tail"]].concat());
        output.status.code() == Some(5)
    };
    assert!((1..=10).any(crashes));
}

#[test]
fn a_page_of_five_members_can_be_mailed() {
    let page = scratch("five.html");
    let page_name = page.to_str().expect("the path is text");
    let (code, printed) = planted("tour/five-members.toml", "1", &["--report", page_name]);
    assert_eq!(code, Some(0), "{printed}");
    let text = std::fs::read_to_string(&page).expect("it was written");
    assert!(text.len() < 5_000_000, "{} bytes", text.len());
    // Nothing is fetched, and everything that the page draws is there.
    assert!(!text.contains("http://") && !text.contains("https://"));
    for part in [
        "\"links\":[[",
        "\"clocks\":[[",
        "\"check\":\"ack-after-sync\"",
        "--seed 1",
    ] {
        assert!(text.contains(part), "{part}");
    }
    let operations = text.split("\"operations\":").nth(1).and_then(|rest| {
        let digits = rest.split(|letter: char| !letter.is_ascii_digit()).next();
        digits.and_then(|digits| digits.parse::<u64>().ok())
    });
    assert!(
        operations.is_some_and(|count| count >= 2000),
        "{operations:?}"
    );
}

#[test]
fn mistakes_in_a_file_are_told_with_their_place() {
    let (code, printed) = exit_code("wrong.toml", &format!("{SMALL}opps = 4\n"));
    assert_eq!(code, Some(2), "{printed}");
    let expected = "wrong.toml:5: workload has no key `opps`; did you mean `ops`?";
    assert!(printed.contains(expected), "{printed}");
}

#[test]
fn whoever_reads_no_more_is_not_complained_to() {
    let (smoke, bugs) = (scenario("smoke/crashes.toml"), scenario("bugs"));
    let commands: [&[&str]; 5] = [
        &["run", &smoke],
        &["run", &bugs, "--verbose"],
        &["plan", &smoke],
        &["schema"],
        &["trace", &smoke, "--until", "1s"],
    ];
    for arguments in commands {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_detcd-sim"));
        let output = command.args(arguments).stdout(writer).output();
        let output = output.expect("the simulator starts");
        let ended = (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr),
        );
        // What a shell says of a program that ended for want of a reader.
        assert_eq!(ended, (Some(141), "".into()), "{arguments:?}");
    }
}

#[test]
fn a_shrinking_that_has_no_time_gives_what_it_has() {
    let (file, small) = (
        scenario("must-fail/ack-before-save.toml"),
        scratch("no-time.toml"),
    );
    let small = small.to_str().expect("the path is text");
    let shrink = ["shrink", &file, "--seed", "1", "--out", small];
    let output = sim(&[&shrink[..], &["--budget", "1ms"]].concat());
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed.contains("there was no time"), "{output:?}");
    let output = sim(&["run", small, "--seed", "1"]);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_written_trace_is_read_again_to_the_last_event() {
    let (file, written) = (scenario("smoke/crashes.toml"), scratch("run.jsonl"));
    let written = written.to_str().expect("the path is text");
    let output = sim(&["run", &file, "--seed", "3", "--trace", written]);
    assert!(output.status.success(), "{output:?}");
    let output = sim(&["trace", written]);
    assert!(output.status.success(), "{output:?}");
    let shown = String::from_utf8(output.stdout).expect("lines are text");
    let events = std::fs::read_to_string(written).expect("it was written");
    assert!(events.lines().count() > 10_000);
    assert!(shown.lines().count() >= events.lines().count());
}
