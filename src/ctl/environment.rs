//! Variables of the environment: `ETCDCTL_` and a global flag's name in capitals set that flag.

use super::commands::GLOBAL;
use super::context::Context;
use super::failure::Failure;
use super::flags::{Flag, Kind};

const PREFIX: &str = "ETCDCTL_";
/// Variables that are no flags: the version of the API (there is one), and the keys of `watch`.
const OTHERS: [&str; 3] = [
    "ETCDCTL_API",
    "ETCDCTL_WATCH_KEY",
    "ETCDCTL_WATCH_RANGE_END",
];

/// Sets the global flags that variables name. A flag may be set in one place only: whoever sets
/// both has forgotten one of them.
pub fn apply(context: &mut Context) -> Result<(), Failure> {
    for (name, value) in context.environment.clone() {
        if !name.starts_with(PREFIX) || OTHERS.contains(&&name[..]) || value.is_empty() {
            continue;
        }
        let Some(flag) = GLOBAL.iter().find(|flag| variable(flag) == name) else {
            let line = format!("Warning: unrecognized environment variable {name}={value}");
            context.terminal.complain(&line)?;
            continue;
        };
        if context.flags.is_given(flag.name) {
            return Err(Failure::error(format!(
                "conflicting environment variable {name} is shadowed by corresponding \
                 command-line flag --{} (either unset environment variable or disable flag)",
                flag.name
            )));
        }
        context
            .flags
            .preset(flag, &value)
            .map_err(|why| Failure::args(format!("invalid value \"{value}\" for {name}: {why}")))?;
    }
    Ok(())
}

/// Prints what the global flags came to (`--debug`).
pub fn print(context: &mut Context) -> Result<(), Failure> {
    for flag in GLOBAL {
        let value = context.flags.text(flag.name);
        let line = match flag.kind {
            Kind::List => format!("{}=[{}]", variable(flag), value.replace(',', " ")),
            _ if flag.name == "password" && !value.is_empty() => format!("{}=***", variable(flag)),
            _ => format!("{}={value}", variable(flag)),
        };
        context.terminal.complain(&line)?;
    }
    Ok(())
}

fn variable(flag: &Flag) -> String {
    format!("{PREFIX}{}", flag.name.to_uppercase().replace('-', "_"))
}
