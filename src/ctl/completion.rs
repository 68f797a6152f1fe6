//! `completion`: a script that lets a shell complete commands and flags.

use super::commands::{Action, Command, GLOBAL, ROOT, Verb};
use super::context::Context;
use super::failure::Failure;
use super::flags::{Flag, HELP};
use std::fmt::Write as _;

pub const COMMAND: Command = Command {
    name: "completion",
    usage: "completion <bash|zsh|fish>",
    about: "Prints a script that lets a shell complete commands and flags",
    long: "For bash: source <(detcdctl completion bash)\n\
           For zsh:  source <(detcdctl completion zsh)\n\
           For fish: detcdctl completion fish | source",
    flags: &[],
    action: Action::Run(Verb::Completion),
};

pub fn run(context: &mut Context) -> Result<(), Failure> {
    let script = match context
        .texts()
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()[..]
    {
        ["bash"] => bash(),
        // zsh runs bash's completions after these two lines.
        ["zsh"] => format!(
            "autoload -U +X compinit && compinit\n\
                            autoload -U +X bashcompinit && bashcompinit\n{}",
            bash()
        ),
        ["fish"] => fish(),
        _ => {
            return Err(Failure::args(
                "completion command needs a shell: bash, zsh or fish",
            ));
        }
    };
    context.terminal.say(script.trim_end())
}

/// The words that may follow each path of commands.
fn words() -> Vec<(String, Vec<String>)> {
    let mut all = Vec::new();
    collect(&ROOT, String::new(), &[], &mut all);
    all
}

fn collect(
    command: &Command,
    path: String,
    inherited: &[&Flag],
    all: &mut Vec<(String, Vec<String>)>,
) {
    let mut flags = inherited.to_vec();
    if !path.is_empty() {
        flags.extend(command.flags);
    }
    let children = command.children();
    let names = children.iter().map(|child| child.name.to_owned());
    let flag_names = flags
        .iter()
        .chain(&[&HELP])
        .chain(&GLOBAL.iter().collect::<Vec<_>>())
        .map(|flag| format!("--{}", flag.name))
        .collect::<Vec<_>>();
    all.push((path.clone(), names.chain(flag_names).collect()));
    for child in children {
        let path = format!("{path} {}", child.name).trim_start().to_owned();
        collect(child, path, &flags, all);
    }
}

fn bash() -> String {
    let mut script = String::from(
        "_detcdctl() {\n\
         \x20   local word path=\"\" words=\"\" current=\"${COMP_WORDS[COMP_CWORD]}\"\n\
         \x20   for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n\
         \x20       case \"$word\" in -*) ;; *) path=\"${path:+$path }$word\" ;; esac\n\
         \x20   done\n\
         \x20   case \"$path\" in\n",
    );
    // The deepest paths first: the arguments of a command may follow its name.
    for (path, words) in words().into_iter().rev() {
        let pattern = if path.is_empty() {
            "*".to_owned()
        } else {
            format!("\"{path}\"*")
        };
        writeln!(
            script,
            "        {pattern}) words=\"{}\" ;;",
            words.join(" ")
        )
        .expect("a String takes everything");
    }
    script.push_str(
        "\x20   esac\n\
         \x20   COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n\
         }\n\
         complete -o default -F _detcdctl detcdctl\n",
    );
    script
}

fn fish() -> String {
    let mut script = String::new();
    for (path, words) in words() {
        let condition = match path.is_empty() {
            true => "__fish_use_subcommand".to_owned(),
            false => path
                .split(' ')
                .map(|name| format!("__fish_seen_subcommand_from {name}"))
                .collect::<Vec<_>>()
                .join("; and "),
        };
        let (flags, names): (Vec<_>, Vec<_>) =
            words.iter().partition(|word| word.starts_with("--"));
        if !names.is_empty() {
            let names: Vec<_> = names.iter().map(|name| &name[..]).collect();
            writeln!(
                script,
                "complete -c detcdctl -f -n '{condition}' -a '{}'",
                names.join(" ")
            )
            .expect("a String takes everything");
        }
        for flag in flags {
            let flag = flag.trim_start_matches("--");
            writeln!(script, "complete -c detcdctl -n '{condition}' -l {flag}")
                .expect("a String takes everything");
        }
    }
    script
}
