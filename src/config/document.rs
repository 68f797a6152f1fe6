//! The table of flags in `docs/configuration.md` is made of the table of flags.

use super::file;
use super::flags::{Flag, Kind, SECTIONS, Status};
use std::fmt::Write as _;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
const START: &str =
    "<!-- flags: made by `UPDATE=1 cargo test -p detcd --lib config::document` -->\n";

fn row(flag: &Flag) -> String {
    let code = |text: &str| match text {
        "" => String::new(),
        text => format!("`{text}`"),
    };
    let variable = match flag.has_variable() {
        true => flag.env(),
        false => String::new(),
    };
    let keys: Vec<String> = match flag.is_question() || flag.name == "config-file" {
        true => Vec::new(),
        false => file::keys(flag.name).map(|key| code(&key)).collect(),
    };
    let words = match flag.kind {
        Kind::OneOf(words) => format!(" One of: {}.", words.join(", ")),
        _ => String::new(),
    };
    let mark = match flag.status {
        Status::Works => "",
        Status::Inert => " *(inert)*",
        Status::DefaultOnly => " *(default only)*",
        Status::Dropped => " *(dropped)*",
    };
    format!(
        "| `--{}` | {} | {} | {} | {}{words}{mark} |",
        flag.name,
        code(&variable),
        keys.join(", "),
        code(flag.default),
        flag.help
    )
}

fn table() -> String {
    let mut text = String::new();
    for section in SECTIONS {
        let _ = write!(
            text,
            "\n### {}\n\n| Flag | Variable | Key | Default | Meaning |\n|--|--|--|--|--|\n",
            section.title
        );
        for flag in section.flags {
            let _ = writeln!(text, "{}", row(flag));
        }
    }
    text
}

#[test]
fn the_document_has_each_flag_as_the_table_has_it() {
    let text = std::fs::read_to_string(FILE).unwrap();
    let (before, after) = text.split_once(START).expect("the mark of the table");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(FILE, format!("{before}{START}{}", table())).unwrap();
        return;
    }
    assert_eq!(after, table(), "run it with UPDATE=1");
}
