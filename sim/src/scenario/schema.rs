//! The reference of scenario files, made from the declarations of their tables.
//!
//! `cargo sim schema` prints it; `docs/scenario-reference.md` is kept equal by a test.

use super::Head;
use super::settings::{KeyDoc, Settings as _, TableDoc, Written, inline};
use crate::fault::{Kind, timing::When};
use crate::workload::Workload;
use std::fmt::Write as _;

const HEAD: &str = "\
# Scenario files

What a scenario may say, table by table. Printed by `cargo sim schema` from the simulator's own
declarations; a test keeps this file equal to them (`UPDATE=1` rewrites it).

Every key that is not named here is an error. Times are texts such as `\"5s\"`, `\"200ms\"` or `\"2m\"`,
and simulated. Where a pair may stand, `[1, 20]` is a range with both ends; *a pair to draw from* is
settled by the seed in the plan, which `cargo sim plan FILE --seed N` prints, and *a pair (drawn each
time)* stays a range through the run.

## Member rules

| rule | who |
|--|--|
| `leader` | who leads when the fault begins; if nobody does, the first member |
| `follower:N` | the N-th member after the leader |
| `any follower` | some `follower:N`, drawn for the plan |
| `member:N` | the N-th member |
| `any` | some `member:N`, drawn for the plan |
| `minority` | as many followers as can be away while the others are a majority |
| `majority` | all the others: the leader and as few followers as make a majority |
| `any minority`, `any majority` | as many members, drawn for the plan, whoever leads |
| `victims` | a minority that is drawn once for the whole plan: for faults that lose what cannot be got back, so that together they leave a majority whole |
| `all` | every member |
| `rest` | in a split: whoever no other group names |

A plan keeps the rules that depend on who leads, and the run resolves them when the fault begins:
that is a function of the run, so that a saved plan gives the same run again.
";

/// The whole reference, as Markdown.
pub fn reference() -> String {
    let mut text = HEAD.to_owned();
    let head = Head::describe();
    chapter(&mut text, "## The file", &head);
    inner_tables(&mut text, "", &head);
    text.push_str(
        "\n## `[[workload]]`\n\nWhat clients do. Each has a `kind`, and the keys of its kind.\n",
    );
    for (name, table) in Workload::describe() {
        chapter(&mut text, &format!("### kind = \"{name}\""), &table);
        inner_tables(&mut text, "workload", &table);
    }
    text.push_str("\n## `[[fault]]`\n\nWhat goes wrong. Each has a `kind`, a time, and the keys of its kind.\n");
    chapter(&mut text, "### Of every kind", &When::describe());
    for (name, table) in Kind::describe() {
        chapter(&mut text, &format!("### kind = \"{name}\""), &table);
        inner_tables(&mut text, "fault", &table);
    }
    text
}

fn inner_tables(text: &mut String, outer: &str, table: &TableDoc) {
    for key in &table.keys {
        if let Some(inner) = &key.table {
            let path = match outer {
                "" => key.key.to_owned(),
                outer => format!("{outer}.{}", key.key),
            };
            chapter(text, &format!("### `[{path}]`"), inner);
            inner_tables(text, &path, inner);
        }
    }
}

fn chapter(text: &mut String, title: &str, table: &TableDoc) {
    write!(text, "\n{title}\n\n{}\n", table.doc).expect("a string takes every write");
    if table.keys.is_empty() {
        return;
    }
    text.push_str("\n| key | what | default | |\n|--|--|--|--|\n");
    for key in &table.keys {
        let KeyDoc { key: name, doc, .. } = key;
        writeln!(
            text,
            "| `{name}` | {} | {} | {doc} |",
            kind(key),
            default(key)
        )
        .expect("a string takes every write");
    }
}

fn kind(key: &KeyDoc) -> String {
    match key.limits {
        Some(limits) => format!("{}; {} to {}", key.kind, limits.low, limits.high),
        None => key.kind.clone(),
    }
}

fn default(key: &KeyDoc) -> String {
    match &key.default {
        None => "must be given".to_owned(),
        Some(Written::Nothing) => String::new(),
        Some(Written::Value(value)) => format!("`{value}`"),
        Some(Written::Table(entries)) if key.table.is_none() => format!("`{}`", inline(entries)),
        Some(Written::Table(_)) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Checks;
    use crate::scenario::Expect;

    #[test]
    fn the_reference_in_docs_is_of_this_build() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/scenario-reference.md");
        let reference = reference();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, &reference).expect("docs can be written");
        }
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            kept == reference,
            "docs/scenario-reference.md is not what `cargo sim schema` prints: run this test with \
             UPDATE=1 and review the diff"
        );
    }

    #[test]
    fn every_key_says_in_a_sentence_what_it_is() {
        let mut tables: Vec<(&str, TableDoc)> = vec![
            ("scenario", Head::describe()),
            ("fault", When::describe()),
            ("check", Checks::describe()),
            ("expect", Expect::describe()),
        ];
        tables.extend(Workload::describe());
        tables.extend(Kind::describe());
        for (name, table) in tables {
            assert!(table.doc.ends_with('.'), "{name}: {}", table.doc);
            for KeyDoc { key, doc, .. } in table.keys {
                assert!(doc.ends_with('.'), "{name}.{key}: {doc}");
            }
        }
    }
}
