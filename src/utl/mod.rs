//! detcdutl: what is done with files while no server runs. Its commands, flags and outputs are those
//! of etcdutl 3.5, with what later ones have added.

mod commands;
mod defrag;
mod file;
mod hashkv;
mod help;
mod memory;
pub(crate) mod restore;
pub(crate) mod status;

pub use crate::ctl::Terminal;
use crate::ctl::command_line::Word;
use crate::ctl::failure::{Failure, code};
use crate::ctl::flags::{self, Values};
use crate::ctl::output::{Format, Show, Style, show};
use commands::{Action, Verb};

/// A call of detcdutl: what its `main` is given.
pub struct Call {
    /// As it was called: a link may have another name.
    pub program: Word,
    pub args: Vec<Word>,
    pub terminal: Terminal,
}

/// What a command works with.
struct Context {
    program: &'static str,
    flags: Values,
    args: Vec<String>,
    terminal: Terminal,
}

impl Context {
    fn style(&self) -> Result<Style, Failure> {
        let format = Format::parse(self.flags.text("write-out"))?;
        Ok(Style { format, hex: false })
    }

    fn show(&mut self, shown: &impl Show) -> Result<(), Failure> {
        let style = self.style()?;
        show(&mut *self.terminal.out, style, shown)
    }

    /// The one argument of a command that has one.
    fn only_argument(&self, command: &str) -> Result<String, Failure> {
        match &self.args[..] {
            [only] => Ok(only.clone()),
            _ => Err(Failure::args(format!(
                "{command} requires exactly one argument"
            ))),
        }
    }
}

/// Carries out a command and gives the exit code.
pub async fn run(call: Call) -> u8 {
    let called = call.program.rsplit(|byte| *byte == b'/').next();
    let mut context = Context {
        program: match called {
            Some(b"etcdutl") => "etcdutl",
            _ => "detcdutl",
        },
        flags: Values::default(),
        args: Vec::new(),
        terminal: call.terminal,
    };
    match dispatch(&mut context, &call.args).await {
        Ok(()) => 0,
        Err(failure) => {
            if !failure.message.is_empty() {
                // If even this cannot be written, the exit code has to say it.
                let _ = context.terminal.complain(&format!("Error: {failure}"));
            }
            failure.code
        }
    }
}

async fn dispatch(context: &mut Context, args: &[Word]) -> Result<(), Failure> {
    let found = commands::find(args);
    let help = help::help(context.program, &found);
    let misuse = |context: &mut Context, why: String| {
        context
            .terminal
            .complain(&format!("Error: {why}\n{help}\n"))?;
        Err(Failure::new(code::ERROR, why))
    };
    let all = found.command().flags.iter();
    let parsed = flags::parse(&found.rest, all.chain([&flags::HELP, &commands::WRITE_OUT]));
    let (values, args) = match parsed {
        Ok(parsed) => parsed,
        Err(why) => return misuse(context, why),
    };
    let texts = args.iter().map(|arg| String::from_utf8_lossy(arg).into());
    (context.flags, context.args) = (values, texts.collect());
    let verb = match found.command().action {
        _ if context.flags.switch("help") => return context.terminal.say(&help),
        Action::Group(_) => match context.args.first().map(String::as_str) {
            Some("help") | None => return context.terminal.say(&help),
            Some(word) => {
                let program = context.program;
                let why = format!("unknown command \"{word}\" for \"{program}\"");
                let hint = format!("Error: {why}\nRun '{program} --help' for usage.");
                context.terminal.complain(&hint)?;
                return Err(Failure::new(code::ERROR, why));
            }
        },
        Action::Run(verb) => verb,
    };
    if let Some(flag) = found.command().required
        && !context.flags.is_given(flag)
    {
        return misuse(context, format!("required flag(s) \"{flag}\" not set"));
    }
    match verb {
        Verb::SnapshotStatus => status::run(context),
        Verb::SnapshotRestore => restore::run(context).await,
        Verb::HashKv => hashkv::run(context),
        Verb::Defrag => defrag::run(context).await,
        Verb::Version => {
            let (program, version) = (context.program, env!("CARGO_PKG_VERSION"));
            let text = format!("{program} version: {version}\nAPI version: 3.5");
            context.terminal.say(&text)
        }
    }
}
