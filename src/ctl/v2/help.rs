//! Help, in the layout of etcdctl's v2 commands.

use super::commands::{COMMANDS, Command, GLOBAL, VERSION};
use super::flags::{Flag, HELP, Kind};
use crate::ctl::commands::ROOT;
use crate::ctl::go;
use crate::ctl::version;

/// What parts the two columns of a list.
const GAP: usize = 2;

/// The help of everything.
pub fn program() -> String {
    let mut rows = children(COMMANDS);
    rows.push((
        "help, h".to_owned(),
        "Shows a list of commands or help for one command",
    ));
    let flags: Vec<&Flag> = GLOBAL.iter().chain([&HELP, &VERSION]).collect();
    application(
        ROOT.name,
        "A simple command line client for etcd.",
        &rows,
        &flags,
    )
}

/// The help of a group when its own word `help` asks for it: a program of its own.
pub fn group_as_program(group: &Command) -> String {
    let name = format!("{} {}", ROOT.name, group.name);
    application(&name, group.about, &children(group.children()), &[&HELP])
}

fn application(name: &str, about: &str, commands: &[(String, &str)], flags: &[&Flag]) -> String {
    let options = options(flags).join("\n   ");
    format!(
        "NAME:\n   {name} - {about}\n\n\
         USAGE:\n   {name} [global options] command [command options] [arguments...]\n\n\
         VERSION:\n   {version}\n\n\
         COMMANDS:\n   {commands}\n\n\
         GLOBAL OPTIONS:\n   {options}\n",
        version = version::VERSION,
        commands = columns(commands).join("\n   "),
    )
}

/// The help of a group.
pub fn group(group: &Command) -> String {
    let name = format!("{} {}", ROOT.name, group.name);
    format!(
        "NAME:\n   {name} - {about}\n\n\
         USAGE:\n   {name} command [command options] [arguments...]\n\n\
         COMMANDS:\n   {commands}\n\n\
         OPTIONS:\n   {options}\n   \n",
        about = group.about,
        commands = columns(&children(group.children())).join("\n   "),
        options = options(&[&HELP]).join("\n   "),
    )
}

/// The help of one command, which stands in `group` if that is not empty.
pub fn command(group: &str, command: &Command) -> String {
    let group = if group.is_empty() {
        String::new()
    } else {
        format!("{group} ")
    };
    let name = format!("{} {group}{}", ROOT.name, command.name);
    let flags: Vec<&Flag> = command.flags.iter().collect();
    let options_of = if flags.is_empty() {
        ""
    } else {
        " [command options]"
    };
    let args = match command.args {
        "" => "[arguments...]",
        args => args,
    };
    let mut text = format!(
        "NAME:\n   {name} - {about}\n\nUSAGE:\n   {name}{options_of} {args}",
        about = command.about,
    );
    if !command.long.is_empty() {
        text.push_str(&format!("\n\nDESCRIPTION:\n   {}", command.long));
    }
    if !flags.is_empty() {
        let options = options(&flags).join("\n   ");
        text.push_str(&format!("\n\nOPTIONS:\n   {options}\n   "));
    }
    text.push('\n');
    text
}

/// The help of the word `help`, which has no name there.
pub fn help() -> &'static str {
    "NAME:\n    - Shows a list of commands or help for one command\n\nUSAGE:\n    [command]\n"
}

fn children(commands: &[&'static Command]) -> Vec<(String, &'static str)> {
    let row = |command: &&'static Command| (command.name.to_owned(), command.about);
    commands.iter().map(row).collect()
}

fn options(flags: &[&Flag]) -> Vec<String> {
    let abouts: Vec<String> = flags.iter().map(|flag| about(flag)).collect();
    let rows: Vec<(String, &str)> = flags
        .iter()
        .zip(&abouts)
        .map(|(flag, about)| (left(flag), &about[..]))
        .collect();
    columns(&rows)
}

/// `--output simple, -o simple`
fn left(flag: &Flag) -> String {
    let name = |name: &&str| {
        let dashes = if name.len() == 1 { "-" } else { "--" };
        match flag.kind {
            Kind::Switch => format!("{dashes}{name}"),
            _ => format!("{dashes}{name} {}", flag.value),
        }
    };
    let names: Vec<String> = flag.names.iter().map(name).collect();
    names.join(", ")
}

fn about(flag: &Flag) -> String {
    let default = match flag.kind {
        Kind::Number | Kind::Duration => format!(" (default: {})", flag.default),
        Kind::Text if !flag.default.is_empty() => {
            format!(" (default: {})", go::quote(flag.default.as_bytes()))
        }
        _ => String::new(),
    };
    format!("{}{default}", flag.about)
}

/// Lines of two columns.
fn columns(rows: &[(String, &str)]) -> Vec<String> {
    let widest = rows.iter().map(|(left, _)| left.chars().count()).max();
    let width = widest.unwrap_or(0) + GAP;
    let line = |(left, right): &(String, &str)| format!("{left:width$}{right}");
    rows.iter().map(line).collect()
}
