//! A scenario file as data: what can be left out of it, and what can be made smaller.
//!
//! This knows tables, lists and numbers, and nothing of what they mean: a new kind of fault or a
//! new setting shrinks without a line here. What makes no sense any more is refused when it is
//! parsed as a scenario.

use crate::scenario::Scenario;
use crate::scenario::units::{parse_time, time};
use crate::workload::script::language;
use std::fmt;
use toml::{Table, Value};

#[derive(Clone, Debug, PartialEq)]
pub struct Document(Table);

/// A list whose entries can be left out one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    Faults,
    Workloads,
    /// The lines of a workload that is a script.
    Lines {
        workload: usize,
    },
}

/// Where a value is: tables by their key, entries of lists by their place.
pub type Path = Vec<Step>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Key(String),
    Place(usize),
}

/// A change of one place that makes a document smaller, and leaves all other places where they are.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    Set(Path, Value),
    Remove(Path),
}

/// How many smaller values are tried of a number at most.
pub const BOLDNESS_MAX: usize = 5;

impl Document {
    pub fn parse(text: &str) -> Result<Document, String> {
        let table = text.parse::<Table>().map_err(|error| error.to_string())?;
        Ok(Document(table))
    }

    /// Whether it is a scenario at all.
    pub fn is_scenario(&self) -> bool {
        Scenario::parse("", &self.to_string()).is_ok()
    }

    /// Faults and operations, counted one by one. A workload that is no script counts what it is
    /// asked to do.
    pub fn entries(&self) -> usize {
        let workloads = self.list(List::Workloads).iter();
        let of_workloads = workloads.enumerate().map(|(workload, value)| {
            let number = |key: &str| value.get(key)?.as_integer();
            match self.is_script(workload) {
                true => self.list(List::Lines { workload }).len(),
                false => {
                    let times = number("ops").or(number("rounds")).unwrap_or(1);
                    let clients = number("clients").unwrap_or(1);
                    let total = if number("ops").is_some() {
                        times
                    } else {
                        times * clients
                    };
                    usize::try_from(total).unwrap_or(0).max(1)
                }
            }
        });
        self.list(List::Faults).len() + of_workloads.sum::<usize>()
    }

    fn is_script(&self, workload: usize) -> bool {
        let workload = &self.list(List::Workloads)[workload];
        workload.get("kind").and_then(Value::as_str) == Some("script")
    }

    /// Every list that can lose entries, the most promising first.
    pub fn lists(&self) -> Vec<List> {
        let mut lists = vec![List::Faults, List::Workloads];
        let workloads = 0..self.list(List::Workloads).len();
        lists.extend(
            workloads
                .filter(|workload| self.is_script(*workload))
                .map(|workload| List::Lines { workload }),
        );
        lists
    }

    /// The entries of a list.
    pub fn list(&self, list: List) -> &[Value] {
        let table = &self.0;
        let values = match list {
            List::Faults => table.get("fault"),
            List::Workloads => table.get("workload"),
            List::Lines { workload } => table
                .get("workload")
                .and_then(|workloads| workloads.get(workload)?.get("ops")),
        };
        values.and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    fn list_mut(&mut self, list: List) -> &mut Vec<Value> {
        let table = &mut self.0;
        let values = match list {
            List::Faults => table.get_mut("fault"),
            List::Workloads => table.get_mut("workload"),
            List::Lines { workload } => table
                .get_mut("workload")
                .and_then(|workloads| workloads.get_mut(workload)?.get_mut("ops")),
        };
        values
            .and_then(Value::as_array_mut)
            .expect("only lists that are there lose entries")
    }

    /// Without these entries of a list.
    pub fn without(&self, list: List, entries: std::ops::Range<usize>) -> Document {
        let mut smaller = self.clone();
        smaller.list_mut(list).drain(entries);
        smaller
    }

    /// With another workload in the place of one.
    pub fn with_workload(&self, workload: usize, table: &str) -> Result<Document, String> {
        let Document(table) = Document::parse(table)?;
        let mut changed = self.clone();
        changed.list_mut(List::Workloads)[workload] = Value::Table(table);
        Ok(changed)
    }

    /// With this table in the place of `[expect]`.
    pub fn expecting(&self, expect: Table) -> Document {
        let mut changed = self.clone();
        changed.0.insert("expect".to_owned(), Value::Table(expect));
        changed
    }

    /// For every number and time a smaller one; `boldness` 0 is the boldest.
    pub fn smaller_numbers(&self, boldness: usize) -> Vec<Edit> {
        let leaves = self.leaves().into_iter();
        let edits = leaves.filter_map(|(path, value)| {
            let smaller = smaller(value).into_iter().nth(boldness)?;
            Some(Edit::Set(path, smaller))
        });
        self.bearing(edits)
    }

    /// Every key that may be left to its default.
    pub fn fewer_keys(&self) -> Vec<Edit> {
        let mut keys: Vec<Path> = Vec::new();
        for (path, _) in self.leaves() {
            // A range is a list: the key is what leads there.
            let end = path.iter().position(|step| matches!(step, Step::Place(_)));
            let in_list = path.first().is_some_and(|first| {
                *first == Step::Key("fault".into()) || *first == Step::Key("workload".into())
            });
            let key = match end {
                Some(_) if in_list => {
                    let rest = path[2..]
                        .iter()
                        .take_while(|step| matches!(step, Step::Key(_)));
                    path[..2].iter().chain(rest).cloned().collect()
                }
                Some(end) => path[..end].to_vec(),
                None => path,
            };
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        self.bearing(keys.into_iter().map(Edit::Remove))
    }

    /// Those after which it is still a scenario.
    fn bearing(&self, edits: impl Iterator<Item = Edit>) -> Vec<Edit> {
        edits
            .filter(|edit| self.edited(std::slice::from_ref(edit)).is_scenario())
            .collect()
    }

    /// With all of these changes. They are of this document, or of one from which only they are
    /// missing.
    pub fn edited(&self, edits: &[Edit]) -> Document {
        let mut changed = self.clone();
        for edit in edits {
            match edit {
                Edit::Set(path, value) => *changed.at(path) = value.clone(),
                Edit::Remove(path) => changed.remove(path),
            }
        }
        changed
    }

    /// Documents whose scripts are easier to read: shorter values, rounder times.
    pub fn plainer_lines(&self) -> Vec<Document> {
        let edits: [fn(&mut language::Line); 4] = [
            |line| language::shorten_values(&mut line.request),
            |line| line.at = language::rounded(line.at, 100_000),
            |line| line.at = language::rounded(line.at, 10_000),
            |line| line.at = language::rounded(line.at, 1_000),
        ];
        let lists = self.lists();
        let scripts = lists
            .iter()
            .filter(|list| matches!(list, List::Lines { .. }));
        let scripts: Vec<List> = scripts.copied().collect();
        let changed = edits.iter().flat_map(|edit| {
            scripts.iter().map(|script| {
                let mut changed = self.clone();
                for value in changed.list_mut(*script) {
                    let line = value.as_str().map(language::parse);
                    if let Some(Ok(mut line)) = line {
                        edit(&mut line);
                        *value = Value::String(line.to_string());
                    }
                }
                changed
            })
        });
        changed.filter(|changed| changed != self).collect()
    }

    /// Every number, text and switch but those of `[check]` and `[expect]`, with its place. Lines
    /// of scripts have passes of their own.
    fn leaves(&self) -> Vec<(Path, &Value)> {
        let mut leaves = Vec::new();
        for (key, value) in &self.0 {
            if !["check", "expect", "budget"].contains(&key.as_str()) {
                collect(value, vec![Step::Key(key.clone())], &mut leaves);
            }
        }
        leaves
    }

    fn remove(&mut self, path: &Path) {
        let (last, parents) = path.split_last().expect("a path leads somewhere");
        let parent: &mut Table = match parents {
            [] => &mut self.0,
            parents => match self.at(parents) {
                Value::Table(table) => table,
                _ => unreachable!("a key is in a table"),
            },
        };
        if let Step::Key(key) = last {
            parent.remove(key);
        }
    }

    fn at(&mut self, path: &[Step]) -> &mut Value {
        let (first, rest) = path.split_first().expect("a path leads somewhere");
        let Step::Key(first) = first else {
            unreachable!("a document is a table");
        };
        let mut value = self.0.get_mut(first).expect("paths are of this document");
        for step in rest {
            let next = match step {
                Step::Key(key) => value.get_mut(key.as_str()),
                Step::Place(place) => value.get_mut(*place),
            };
            value = next.expect("paths are of this document");
        }
        value
    }
}

fn collect<'a>(value: &'a Value, path: Path, leaves: &mut Vec<(Path, &'a Value)>) {
    let next = |step: Step| path.iter().cloned().chain([step]).collect::<Path>();
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                if key != "ops" || value.is_integer() {
                    collect(value, next(Step::Key(key.clone())), leaves);
                }
            }
        }
        Value::Array(values) => {
            for (place, value) in values.iter().enumerate() {
                collect(value, next(Step::Place(place)), leaves);
            }
        }
        leaf => leaves.push((path, leaf)),
    }
}

/// Smaller values, the boldest first; at most [`BOLDNESS_MAX`].
fn smaller(value: &Value) -> Vec<Value> {
    match value {
        Value::Integer(number) => {
            let mut tries = vec![0, 1, number / 2, number - number / 4];
            // One by one it would take for ever to get anywhere from afar.
            tries.extend((*number <= 8).then_some(number - 1));
            tries.retain(|smaller| (0..*number).contains(smaller));
            tries.dedup();
            tries.into_iter().map(Value::Integer).collect()
        }
        Value::String(text) => {
            let Some(now) = parse_time(text) else {
                return Vec::new();
            };
            let mut tries = vec![0, now / 1000 * 1000, now / 2, now / 100 * 100];
            tries.retain(|smaller| *smaller < now);
            tries.dedup();
            tries
                .into_iter()
                .map(|ms| Value::String(time(ms)))
                .collect()
        }
        _ => Vec::new(),
    }
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_table(f, "", &self.0)
    }
}

/// As a person would write it: values, then tables under their headers.
fn write_table(f: &mut fmt::Formatter<'_>, path: &str, table: &Table) -> fmt::Result {
    let is_tables = |value: &Value| {
        let tables = value.as_array().filter(|list| !list.is_empty());
        tables.is_some_and(|list| list.iter().all(Value::is_table))
    };
    let inner = |key: &str| match path {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    };
    for (key, value) in table {
        match value {
            Value::Table(_) => {}
            Value::Array(list) if key == "ops" && !list.is_empty() => {
                writeln!(f, "{key} = [")?;
                for line in list {
                    writeln!(f, "    {line},")?;
                }
                writeln!(f, "]")?;
            }
            value if path.is_empty() && is_tables(value) => {}
            value => writeln!(f, "{key} = {value}")?,
        }
    }
    for (key, value) in table {
        match value {
            Value::Table(table) if !table.is_empty() => {
                if !table.values().all(Value::is_table) {
                    writeln!(f, "\n[{}]", inner(key))?;
                }
                write_table(f, &inner(key), table)?;
            }
            Value::Array(tables) if path.is_empty() && is_tables(value) => {
                for table in tables.iter().filter_map(Value::as_table) {
                    writeln!(f, "\n[[{key}]]")?;
                    write_table(f, key, table)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"budget = "60s"

[cluster]
members = 3
network = { latency_ms = [1, 4] }

[[workload]]
kind = "kv"
ops = 40

[[workload]]
kind = "script"
ops = [
    "1001ms c1 m1 put k/1 one....",
    "1002ms c1 m1 get k/1",
]

[[fault]]
kind = "crash"
target = "leader"
at = "2300ms"
restart_after = "1s"

[expect]
result = "pass"
"#;

    fn document() -> Document {
        Document::parse(TEXT).expect("it is TOML")
    }

    #[test]
    fn it_prints_as_a_scenario_that_is_the_same() {
        let document = document();
        assert!(document.is_scenario());
        assert_eq!(Document::parse(&document.to_string()), Ok(document.clone()));
        assert_eq!(document.entries(), 1 + 40 + 2);
    }

    #[test]
    fn entries_can_be_left_out() {
        let document = document();
        let script = List::Lines { workload: 1 };
        assert_eq!(document.lists(), [List::Faults, List::Workloads, script]);
        let smaller = document.without(script, 0..1).without(List::Faults, 0..1);
        assert_eq!(smaller.entries(), 41);
        assert!(smaller.is_scenario());
        assert!(!document.without(List::Workloads, 0..2).is_scenario());
    }

    #[test]
    fn numbers_times_and_keys_shrink() {
        let document = document();
        let each = |edits: Vec<Edit>| -> Vec<String> {
            let edited = edits.into_iter().map(|edit| document.edited(&[edit]));
            edited.map(|document| document.to_string()).collect()
        };
        let smaller: Vec<String> = (0..BOLDNESS_MAX)
            .flat_map(|boldness| each(document.smaller_numbers(boldness)))
            .collect();
        for wanted in [
            "members = 1",
            "ops = 20",
            "at = \"2s\"",
            "restart_after = \"0s\"",
        ] {
            assert!(smaller.iter().any(|text| text.contains(wanted)), "{wanted}");
        }
        assert!(smaller.iter().all(|text| text.contains("budget = \"60s\"")));
        let fewer = each(document.fewer_keys());
        assert!(fewer.iter().any(|text| !text.contains("latency_ms")));
        assert!(fewer.iter().any(|text| !text.contains("members")));
        // What must be given stays.
        for kept in ["kind = \"crash\"", "restart_after"] {
            assert!(fewer.iter().all(|text| text.contains(kept)), "{kept}");
        }
        let all = document.edited(&document.fewer_keys()).to_string();
        assert!(!all.contains("latency_ms") && !all.contains("members"));
        let plainer: Vec<String> = document
            .plainer_lines()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert!(plainer.iter().any(|text| text.contains("put k/1 one\"")));
        assert!(
            plainer
                .iter()
                .any(|text| text.contains("\"1000ms c1 m1 get k/1\""))
        );
    }
}
