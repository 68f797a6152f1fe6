//! Help, in the layout of etcdutl.

use super::commands::{Found, WRITE_OUT};
use crate::ctl::flags::{Flag, HELP, Kind};
use crate::ctl::go;

/// The help of a command, or of everything.
pub fn help(program: &str, found: &Found) -> String {
    let command = found.command();
    let is_root = command.name.is_empty();
    let path = match command.children().is_empty() {
        true => format!("{program} {} [flags]", command.usage),
        false if is_root => format!("{program} [command]"),
        false => format!("{program} {} [command]", command.usage),
    };
    let mut text = format!("Usage:\n  {path}\n");
    if !command.children().is_empty() {
        text.push_str("\nAvailable Commands:\n");
        for child in command.children() {
            text.push_str(&format!("  {:11} {}\n", child.name, child.about));
        }
    }
    let own = command.flags.iter().chain([&HELP]);
    match is_root {
        true => text.push_str(&section("Flags", own.chain([&WRITE_OUT]))),
        false => {
            text.push_str(&section("Flags", own));
            text.push_str(&section("Global Flags", [&WRITE_OUT]));
        }
    }
    text
}

fn section<'a>(title: &str, flags: impl IntoIterator<Item = &'a Flag>) -> String {
    let mut flags: Vec<&Flag> = flags.into_iter().collect();
    flags.sort_by_key(|flag| flag.name);
    let lefts: Vec<String> = flags.iter().map(|flag| left(flag)).collect();
    let width = lefts.iter().map(String::len).max().unwrap_or(0) + 3;
    let mut text = format!("\n{title}:\n");
    for (flag, left) in flags.iter().zip(lefts) {
        let default = match (flag.kind, flag.default) {
            (Kind::Switch, _) | (_, "" | "0") => String::new(),
            (_, default) => format!(" (default {})", go::quote(default.as_bytes())),
        };
        text.push_str(&format!("{left:width$}{}{default}\n", flag.about));
    }
    text
}

fn left(flag: &Flag) -> String {
    let short = match flag.short {
        Some(short) => format!("-{short}, "),
        None => "    ".to_owned(),
    };
    let value = match flag.kind {
        Kind::Switch => "",
        Kind::Number => " int",
        Kind::Text | Kind::List | Kind::Duration => " string",
    };
    format!("  {short}--{}{value}", flag.name)
}
