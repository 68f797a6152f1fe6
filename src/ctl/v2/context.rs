//! What a v2 command works with.

use super::error::bad_args;
use super::flags::Values;
use crate::ctl::command_line::Word;
use crate::ctl::context::Terminal;
use crate::ctl::failure::Failure;
use detcd_rt as rt;
use std::io::Read as _;

pub struct Context {
    /// The flags before the command.
    pub global: Values,
    /// The command's own.
    pub flags: Values,
    pub args: Vec<Word>,
    /// The command's words as they were typed.
    pub typed: Vec<Word>,
    pub environment: Vec<(String, String)>,
    pub terminal: Terminal,
}

impl Context {
    /// A variable, empty if it is not set.
    pub fn variable(&self, name: &str) -> &str {
        let found = self.environment.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    /// A global flag, or the variable that stands for it.
    pub fn flag_or_variable(&self, flag: &str, variable: &str) -> String {
        match self.global.text(flag) {
            text if text.is_empty() => self.variable(variable).to_owned(),
            text => text,
        }
    }

    /// The time by which what begins now has to be done.
    pub fn deadline(&self) -> rt::Instant {
        let now = rt::Instant::now();
        match self.global.duration("total-timeout") {
            (_, true) => now,
            (limit, false) => now + limit,
        }
    }

    pub fn key(&self) -> Result<Word, Failure> {
        let key = self.args.first().cloned();
        key.ok_or_else(|| bad_args("key required"))
    }

    /// The second argument, or all of the input if there is none.
    pub fn value(&mut self) -> Result<Word, Failure> {
        if let Some(value) = self.args.get(1) {
            return Ok(value.clone());
        }
        let mut value = Vec::new();
        match self.terminal.input.read_to_end(&mut value) {
            Ok(length) if length > 0 => Ok(value),
            _ => Err(bad_args("value required")),
        }
    }

    /// The arguments as text, for what is no key and no value.
    pub fn texts(&self) -> Vec<String> {
        let texts = self.args.iter();
        texts
            .map(|arg| String::from_utf8_lossy(arg).into_owned())
            .collect()
    }

    pub fn no_args(&self) -> Result<(), Failure> {
        match self.args.is_empty() {
            true => Ok(()),
            false => Err(Failure::error("No arguments accepted")),
        }
    }
}
