//! Help, in the layout of etcdctl.

use super::commands::{Command, Found, GLOBAL, ROOT};
use super::flags::{Flag, HELP, Kind};
use super::go;
use super::version::{API_VERSION, VERSION};
use std::fmt::Write as _;

/// Columns of a tab.
const TAB: usize = 8;

/// The help of a command, or of everything.
pub fn help(found: &Found) -> String {
    let command = found.command();
    let mut text = String::new();
    let path: Vec<&str> = found.path.iter().map(|command| command.name).collect();
    let name = if path.is_empty() {
        ROOT.name.to_owned()
    } else {
        path.join(" ")
    };
    section(&mut text, "NAME", &format!("{name} - {}", command.about));
    let usage = [ROOT.name, command.usage, "[flags]"];
    let usage: Vec<&str> = usage.into_iter().filter(|part| !part.is_empty()).collect();
    section(&mut text, "USAGE", &usage.join(" "));
    if !command.children().is_empty() {
        if found.path.is_empty() {
            section(&mut text, "VERSION", VERSION);
        }
        section(&mut text, "API VERSION", API_VERSION);
        let rows = match found.path.is_empty() {
            true => everything(),
            false => children(command, ""),
        };
        text.push_str("\nCOMMANDS:\n");
        let rows: Vec<_> = rows
            .iter()
            .map(|(name, about)| (&name[..], *about))
            .collect();
        text.push_str(&columns("\t", &rows));
        text.push('\n');
    }
    if !command.long.is_empty() {
        section(&mut text, "DESCRIPTION", command.long);
    }
    if found.path.is_empty() {
        options(&mut text, "OPTIONS", GLOBAL.iter().chain([&HELP]));
    } else {
        let own = found.path.iter().flat_map(|command| command.flags);
        options(&mut text, "OPTIONS", own.chain([&HELP]));
        options(&mut text, "GLOBAL OPTIONS", GLOBAL);
    }
    text
}

fn section(text: &mut String, title: &str, content: &str) {
    let content = content.replace('\n', "\n\t");
    write!(text, "{title}:\n\t{content}\n\n").expect("a String takes everything");
}

/// Every command with its whole name, by name.
fn everything() -> Vec<(String, &'static str)> {
    let mut rows = vec![("help".to_owned(), "Prints help about a command")];
    for child in ROOT.children() {
        if child.children().is_empty() {
            rows.push((child.name.to_owned(), child.about));
        } else {
            rows.extend(children(child, &format!("{} ", child.name)));
        }
    }
    rows.sort();
    rows
}

fn children(command: &Command, prefix: &str) -> Vec<(String, &'static str)> {
    let child = |child: &&'static Command| (format!("{prefix}{}", child.name), child.about);
    command.children().iter().map(child).collect()
}

fn options<'a>(text: &mut String, title: &str, flags: impl IntoIterator<Item = &'a Flag>) {
    let mut flags: Vec<&Flag> = flags.into_iter().collect();
    flags.sort_by_key(|flag| flag.name);
    let rows: Vec<(String, &str)> = flags.iter().map(|flag| (left(flag), flag.about)).collect();
    let rows: Vec<_> = rows
        .iter()
        .map(|(left, about)| (&left[..], *about))
        .collect();
    writeln!(text, "{title}:\n{}", columns("", &rows)).expect("a String takes everything");
}

/// `  -w, --write-out="simple"`
fn left(flag: &Flag) -> String {
    let short = flag
        .short
        .map_or("    ".to_owned(), |short| format!("-{short}, "));
    let default = match flag.kind {
        Kind::Switch | Kind::List => format!("[={}]", flag.default),
        Kind::Text => format!("={}", go::quote(flag.default.as_bytes())),
        Kind::Number | Kind::Duration => format!("={}", flag.default),
    };
    let default = if flag.kind == Kind::List {
        format!("=[{}]", flag.default)
    } else {
        default
    };
    format!("  {short}--{}{default}", flag.name)
}

/// Two columns, kept apart by as many tabs as it takes.
fn columns(indent: &str, rows: &[(&str, &str)]) -> String {
    let longest = rows
        .iter()
        .map(|(left, _)| left.chars().count())
        .max()
        .unwrap_or(0);
    let width = (longest + 1).next_multiple_of(TAB);
    rows.iter().fold(String::new(), |mut text, (left, right)| {
        let tabs = (width - left.chars().count()).div_ceil(TAB);
        writeln!(text, "{indent}{left}{}{right}", "\t".repeat(tabs))
            .expect("a String takes everything");
        text
    })
}
