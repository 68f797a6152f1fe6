use super::*;

const WHOLE: &str = r#"
# Everything that a scenario can say.
budget = "90s"

[cluster]
members = 3
election_ms = [800, 1200]
snapshot_entries = 200
network = { latency_ms = [1, 20], loss = 0.01, duplicate = [0.0, 0.1] }
disk = { sync_ms = [1, 8] }
clock = { rate = [0.9, 1.1], wall = "-5s" }

[[workload]]
kind = "kv"
clients = [4, 8]
keys = 5
ops = 400
mix = { put = 5, get = 3, txn = 1, delete = 1 }

[[workload]]
kind = "watch"
prefix = "k/"
watchers = 2

[[workload]]
kind = "lease"
clients = 2
rounds = [1, 3]

[[fault]]
kind = "partition"
at = "5s..40s"
split = [["follower:1"], ["rest"]]
direction = "in"

[[fault]]
kind = "crash"
at = "5s..40s"
every = ["3s", "6s"]
target = "any"
disk = "any"
restart_after = ["100ms", "2s"]

[[fault]]
kind = "loss"
at = ["5s", "6s"]
for = "1s"
target = "minority"
probability = 0.5

[[fault]]
kind = "delay"
at = "1s"
for = "1s"
target = "leader"
by_ms = [10, 50]

[[fault]]
kind = "clock"
at = "1s"
for = "1s"
target = ["any follower", "any"]
rate = [0.9, 1.1]
wall_behind = "70s"

[check]
always = ["election-safety"]

[expect]
result = "pass"
reached = ["leader.crashed"]
"#;

fn problem(text: &str) -> String {
    Scenario::parse("test.toml", text)
        .expect_err("it is wrong")
        .to_string()
}

#[test]
fn clients_share_what_there_is_to_do() {
    let shares = |clients| units::Count::one(7).shares(clients).collect::<Vec<u64>>();
    assert_eq!([shares(1), shares(3)], [vec![7], vec![3, 2, 2]]);
    assert_eq!(shares(9), [1, 1, 1, 1, 1, 1, 1, 0, 0]);
}

#[test]
fn a_plan_is_a_scenario_that_resolves_to_itself() {
    let scenario = Scenario::parse("test.toml", WHOLE).expect("it is right");
    for seed in 0..50 {
        let plan = scenario.resolve(seed).to_string();
        let again = Scenario::parse("plan.toml", &plan).expect("a plan is a scenario");
        assert_eq!(again.resolve(seed).to_string(), plan);
        let other = again.resolve(seed + 1).to_string();
        let seeds = [format!("seed = {seed}\n"), format!("seed = {}\n", seed + 1)];
        assert_eq!(other.replace(&seeds[1], &seeds[0]), plan);
    }
    assert_ne!(
        scenario.resolve(1).to_string(),
        scenario.resolve(2).to_string()
    );
}

#[test]
fn a_recurring_fault_becomes_one_for_each_time() {
    let scenario = Scenario::parse("test.toml", WHOLE).expect("it is right");
    let plan = scenario.resolve(7);
    let crashes: Vec<u64> = plan
        .faults
        .iter()
        .filter(|fault| matches!(fault.kind, crate::fault::Kind::Crash(_)))
        .map(|fault| fault.at.value())
        .collect();
    assert!((6..=12).contains(&crashes.len()), "{crashes:?}");
    assert!(
        crashes
            .windows(2)
            .all(|pair| (3000..=6000).contains(&(pair[1] - pair[0])))
    );
    assert!(crashes.iter().all(|at| (5000..=40_000).contains(at)));
}

#[test]
fn checks_that_are_not_mentioned_are_all_on() {
    let scenario = Scenario::parse("test.toml", WHOLE).expect("it is right");
    let checks = scenario.checks();
    let always = checks
        .iter()
        .filter(|check| check.phase() == crate::check::Phase::Always);
    assert_eq!(always.count(), 1);
    assert!(checks.contains(&Check::Durable));
}

#[test]
fn mistakes_name_file_line_and_what_was_meant() {
    let fault = "[[workload]]\nkind = \"kv\"\n[[fault]]\nkind = \"partition\"\n";
    let crash = "[[workload]]\nkind = \"kv\"\n[[fault]]\nkind = \"crash\"\ntarget = \"all\"\n";
    let cases = [
        (
            "budgte = \"1s\"",
            "test.toml:1: a scenario has no key `budgte`; did you mean `budget`?",
        ),
        (
            "[cluster]\nmembers = 3\nelektion_ms = 5",
            "test.toml:3: cluster has no key `elektion_ms`; did you mean `election_ms`?",
        ),
        (
            "[[workload]]\nkind = \"kw\"",
            "test.toml:2: kind: `kw` is not known here; did you mean `kv`?",
        ),
        (
            "budget = 5",
            "test.toml:1: budget: a time such as \"5s\" or \"200ms\", or a pair of them, belongs here",
        ),
        (
            "[check]\nalways = [\"log-machting\"]",
            "test.toml:2: always: `log-machting` is not known here; did you mean `log-matching`?",
        ),
        (
            "budget = \"1s\"",
            "test.toml:1: a scenario without a [[workload]] proves nothing",
        ),
        (
            &format!("{fault}at = \"5s\"\nsplit = [[\"leader\"], [\"rest\"]]"),
            "test.toml:3: this fault needs a `for`",
        ),
        (
            &format!("{fault}at = \"5s..9s\"\nsplit = [[\"leadr\"], [\"rest\"]]"),
            "test.toml:6: split: `leadr` names no member; there are leader, any follower, any, \
             minority, majority, any minority, any majority, victims, all, rest, member:N, \
             follower:N; did you mean `leader`?",
        ),
        ("[cluster\nmembers = 3", "test.toml:1: "),
        (
            "[[workload]]\nkind = \"kv\"\n[expect]\nresult = \"caught\"",
            "test.toml:3: a planted bug needs",
        ),
        (
            &format!("{fault}at = \"5s\"\nfor = \"1s\"\nrestart_after = \"1s\""),
            "test.toml:3: fault needs a `split`",
        ),
        (
            &format!("{crash}at = \"5s\"\nfor = \"1s\"\nrestart_after = \"1s\""),
            "test.toml:8: `for` and `restart_after` contradict each other: both say how long",
        ),
        (
            &format!("{crash}at = \"5s\"\nfor = \"1s\""),
            "test.toml:7: for: a fault of kind crash has no `for`: how long it lasts is its \
             `restart_after`",
        ),
        (
            &format!("{crash}at = \"5s..9s\"\nevery = \"1s\"\ntimes = 3"),
            "test.toml:8: `every` and `times` contradict each other: both say how often",
        ),
        (
            &format!("{crash}at = \"5s..9s\"\nrestart_after = \"1s\""),
            "test.toml:7: `at` and `restart_after` contradict each other: with at = \"from..to\"",
        ),
        (
            "[[workload]]\nkind = \"kv\"\nweight = 2",
            "test.toml:3: weight: only a scenario with a [swarm] has some of these",
        ),
        (
            "[swarm]\nfaults = 3\n[[workload]]\nkind = \"kv\"",
            "test.toml:1: swarm: takes up to 3 faults, and there are 0",
        ),
        (
            "[cluster]\nclock = { rate = { m1 = 1.1, n2 = 1.0 } }",
            "test.toml:2: cluster.clock.rate has no key `n2`; did you mean `m2`?",
        ),
        (
            "[cluster]\nmembers = 9",
            "test.toml:2: members: a whole number from 1 to 7 belongs here",
        ),
        (
            "[cluster]\nelection_ms = [500, 100]",
            "test.toml:2: election_ms: the range is upside down",
        ),
        (
            "[cluster]\nelection_ms = 500\nheartbeat_ms = 300",
            "test.toml:2: election_ms: an election timeout is at least five times the",
        ),
        (
            "[cluster]\nnetwork = { loss = 2 }",
            "test.toml:2: loss: a number from 0 to 1, or a pair of them, belongs here",
        ),
        (
            "[check]\nalways = [\"durable\"]",
            "test.toml:2: always: `durable` belongs to `history`",
        ),
    ];
    for (text, expected) in cases {
        let problem = problem(text);
        assert!(problem.starts_with(expected), "got\n{problem}\nfor\n{text}");
    }
}

#[test]
fn a_swarm_has_some_of_what_it_might_have() {
    let text = format!("{}\n[swarm]\nworkloads = [1, 2]\nfaults = [0, 3]\n", WHOLE);
    let swarm = Scenario::parse("swarm.toml", &text).expect("it is right");
    let mut numbers = std::collections::BTreeSet::new();
    let mut kinds = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let plan = swarm.resolve(seed);
        kinds.extend(plan.workloads.iter().map(|workload| workload.name()));
        let faults: std::collections::BTreeSet<&str> =
            plan.faults.iter().map(|fault| fault.kind.name()).collect();
        numbers.insert((plan.workloads.len(), faults.len()));
        let again = Scenario::parse("plan.toml", &plan.to_string()).expect("a plan is a scenario");
        assert_eq!(again.resolve(seed).to_string(), plan.to_string());
    }
    let all: Vec<(usize, usize)> = (1..=2).flat_map(|w| (0..=3).map(move |f| (w, f))).collect();
    assert_eq!(numbers.into_iter().collect::<Vec<_>>(), all);
    assert_eq!(kinds.len(), 3);
}

#[test]
fn victims_are_the_same_in_all_faults_of_a_plan() {
    let fault = "[[fault]]\nkind = \"crash\"\nat = \"5s\"\nrestart_after = \"1s\"\n\
                 target = \"victims\"\n";
    let text = format!("[cluster]\nmembers = 5\n[[workload]]\nkind = \"kv\"\n{fault}{fault}");
    let scenario = Scenario::parse("test.toml", &text).expect("it is right");
    for seed in 0..20 {
        let plan = scenario.resolve(seed);
        assert_eq!(plan.faults[0].kind, plan.faults[1].kind);
        assert!(plan.to_string().contains("target = [\"member:"), "{plan}");
    }
}
