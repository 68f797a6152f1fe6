//! Which API a command line speaks: ETCDCTL_API says it, and without it the words and flags that
//! only v2 has.

use super::commands::{Action, COMMANDS, Command, GLOBAL, named};
use super::flags::{Flag, known};
use crate::ctl::Call;
use crate::ctl::command_line::Word;
use crate::ctl::commands::{ROOT, find};
use crate::ctl::flags as v3;

/// Whether the call is one of v2. An error for a version that does not exist.
pub fn is_v2(call: &Call) -> Result<bool, String> {
    let version = call
        .environment
        .iter()
        .find(|(name, _)| name == "ETCDCTL_API");
    match version.map_or("", |(_, value)| value) {
        "" => Ok(looks_like_v2(&call.args)),
        "2" => Ok(true),
        "3" => Ok(false),
        other => Err(format!("unsupported API version {other}")),
    }
}

fn looks_like_v2(words: &[Word]) -> bool {
    let v3 = find(words);
    let v3_flags = v3.flags();
    let global: Vec<&Flag> = GLOBAL.iter().collect();
    let mut command: Option<&Command> = None;
    let mut is_value = false;
    for word in words {
        if word == b"--" {
            return false;
        }
        if std::mem::take(&mut is_value) {
            continue;
        }
        if word.len() > 1 && word[0] == b'-' {
            match v3_takes(word, &v3_flags) {
                Some(takes_value) => is_value = takes_value,
                // Only what may stand here in v2: before the command, or behind it.
                None => match command {
                    None => return known(word, &global).is_some(),
                    Some(command) => {
                        let own: Vec<&Flag> = command.flags.iter().collect();
                        return known(word, &own).is_some();
                    }
                },
            }
            continue;
        }
        if command.is_some() {
            continue;
        }
        let is_v3 = ROOT
            .children()
            .iter()
            .any(|child| child.name.as_bytes() == word.as_slice());
        match named(COMMANDS, word) {
            Some(found) if !is_v3 && is_v2_only(found) => return true,
            Some(found) if matches!(found.action, Action::Run(_)) => command = Some(found),
            // A word of v3, a mistake, or a group, whose commands v3 has too.
            _ => return false,
        }
    }
    false
}

/// etcd's v3 has commands for users, roles and authentication of its own.
fn is_v2_only(command: &Command) -> bool {
    !["user", "role", "auth"].contains(&command.name)
}

/// Whether the word is a flag that v3 knows, and whether the next word is its value.
fn v3_takes(word: &[u8], flags: &[&v3::Flag]) -> Option<bool> {
    let text = String::from_utf8_lossy(word);
    let takes_value = |flag: &&v3::Flag| flag.kind != v3::Kind::Switch;
    if let Some(long) = text.strip_prefix("--") {
        let (name, has_value) = match long.split_once('=') {
            Some((name, _)) => (name, true),
            None => (long, false),
        };
        let flag = flags.iter().find(|flag| flag.name == name)?;
        return Some(takes_value(flag) && !has_value);
    }
    let letter = text.chars().nth(1);
    let flag = flags.iter().find(|flag| flag.short == letter)?;
    Some(takes_value(flag) && text.chars().count() == 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_v2(line: &str) -> bool {
        let words: Vec<Word> = line.split_whitespace().map(Word::from).collect();
        looks_like_v2(&words)
    }

    #[test]
    fn words_that_only_v2_has_choose_it() {
        for line in [
            "mk k v",
            "ls",
            "set k v",
            "rm k",
            "mkdir d",
            "rmdir d",
            "setdir d",
            "update k v",
            "updatedir d",
            "exec-watch k -- env",
            "cluster-health",
            "backup",
            "--endpoints http://a:1 ls",
            "--debug set k v",
        ] {
            assert!(is_v2(line), "{line}");
        }
    }

    #[test]
    fn flags_that_only_v2_has_choose_it() {
        for line in [
            "--endpoint http://a:1 member list",
            "-C http://a:1 get k",
            "--no-sync get k",
            "-o json get k",
            "-output=json get k",
            "get k --quorum",
            "get --sort k",
            "-u root:x get k",
            "watch -r k",
            "watch k --after-index 5",
            "--endpoints a:1 --endpoint b member add x http://x:1",
        ] {
            assert!(is_v2(line), "{line}");
        }
    }

    #[test]
    fn everything_else_is_v3() {
        for line in [
            "",
            "get k",
            "put k v",
            "put k -- --quorum",
            "get k --sort-by KEY",
            "get k -w json",
            "--endpoints ls get k",
            "get set",
            "member list",
            "member add x http://x:1",
            "get k -o json",
            "watch k -- ls -r",
            "txn -i",
            "version",
            "help",
            "-h",
            "bogus",
            "--bogus get k",
            "user add x",
        ] {
            assert!(!is_v2(line), "{line}");
        }
    }
}
