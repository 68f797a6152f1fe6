//! What a command works with: its flags and arguments, the environment, the terminal.

use super::command_line::Word;
use super::failure::{Failure, code};
use super::flags::Values;
use super::output::{Format, Show, Style, show};
use std::io::{BufRead, Write};

pub struct Context {
    pub flags: Values,
    pub args: Vec<Word>,
    /// The command line as it was typed: `watch` looks for its `--` there.
    pub typed: Vec<Word>,
    pub environment: Vec<(String, String)>,
    pub terminal: Terminal,
}

/// Where a command reads and writes.
pub struct Terminal {
    pub input: Box<dyn BufRead + Send>,
    pub out: Box<dyn Write + Send>,
    pub err: Box<dyn Write + Send>,
}

impl Context {
    pub fn variable(&self, name: &str) -> Option<&str> {
        let found = self
            .environment
            .iter()
            .find(|(variable, _)| variable == name);
        found.map(|(_, value)| &value[..])
    }

    /// The arguments as text, for what is no key and no value.
    pub fn texts(&self) -> Vec<String> {
        self.args
            .iter()
            .map(|arg| String::from_utf8_lossy(arg).into_owned())
            .collect()
    }

    pub fn style(&self) -> Result<Style, Failure> {
        let format = Format::parse(self.flags.text("write-out"))?;
        Ok(Style {
            format,
            hex: self.flags.switch("hex"),
        })
    }

    pub fn show(&mut self, answer: &impl Show) -> Result<(), Failure> {
        let style = self.style()?;
        show(&mut *self.terminal.out, style, answer)
    }
}

impl Terminal {
    pub fn say(&mut self, line: &str) -> Result<(), Failure> {
        writeln!(self.out, "{line}")?;
        self.out.flush()?;
        Ok(())
    }

    pub fn complain(&mut self, line: &str) -> Result<(), Failure> {
        writeln!(self.err, "{line}")?;
        Ok(())
    }

    /// A line without its newline. The end of the input is an error, as in etcdctl.
    pub fn read_line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        self.input.read_line(&mut line)?;
        match line.strip_suffix('\n') {
            Some(line) => Ok(line.to_owned()),
            None => Err(Failure::new(code::INVALID_INPUT, "EOF")),
        }
    }
    /// Asks for a line that is not to be seen while it is typed.
    pub fn ask_secret(&mut self, prompt: &str) -> Result<String, Failure> {
        write!(self.out, "{prompt}")?;
        self.out.flush()?;
        echo(false);
        let mut line = String::new();
        let read = self.input.read_line(&mut line);
        echo(true);
        writeln!(self.out)?;
        read?;
        Ok(line.trim_end_matches(['\n', '\r']).to_owned())
    }
}

/// Whether the terminal shows what is typed. Without a terminal there is nothing to hide from.
fn echo(on: bool) {
    let mode = if on { "echo" } else { "-echo" };
    let _ = std::process::Command::new("stty")
        .arg(mode)
        .stderr(std::process::Stdio::null())
        .status();
}
