//! The five output formats (`-w`). A command says once, in [`Show`], what its answer looks like in
//! each; what it does not say is refused in etcdctl's words.

pub mod json;
pub mod messages;
pub mod table;

use super::failure::{Failure, code};
use json::Json;
use std::io::Write;
use table::Table;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Simple,
    Json,
    Table,
    Fields,
    Protobuf,
}

impl Format {
    pub fn parse(name: &str) -> Result<Format, Failure> {
        match name {
            "simple" => Ok(Format::Simple),
            "json" => Ok(Format::Json),
            "table" => Ok(Format::Table),
            "fields" => Ok(Format::Fields),
            "protobuf" => Ok(Format::Protobuf),
            _ => Err(Failure::new(code::BAD_FEATURE, "unsupported output format")),
        }
    }
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    pub format: Format,
    /// Keys, values and ids in hexadecimal, where the format knows of it.
    pub hex: bool,
}

/// An answer, in every format that it has. Lines end with a newline; protobuf has none.
pub trait Show {
    fn simple(&self, style: Style, out: &mut Vec<u8>);
    fn json(&self, style: Style) -> Json;

    /// Whether the answer can be shown field by field.
    fn has_fields(&self) -> bool {
        true
    }

    fn fields(&self, _out: &mut Vec<u8>) {
        assert!(
            !self.has_fields(),
            "an answer that has fields says what they are"
        );
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        None
    }

    fn table(&self) -> Option<Table> {
        None
    }
}

/// Writes `answer` as `style` asks.
pub fn show(out: &mut dyn Write, style: Style, answer: &impl Show) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    match style.format {
        Format::Simple => answer.simple(style, &mut bytes),
        Format::Fields if !answer.has_fields() => return Err(refuse("fields")),
        Format::Fields => answer.fields(&mut bytes),
        Format::Json => {
            bytes = answer.json(style).to_string().into_bytes();
            bytes.push(b'\n');
        }
        Format::Protobuf => bytes = answer.protobuf().ok_or_else(|| refuse("protobuf"))?,
        Format::Table => {
            bytes = answer
                .table()
                .ok_or_else(|| refuse("table"))?
                .to_string()
                .into()
        }
    }
    out.write_all(&bytes)?;
    out.flush()?;
    Ok(())
}

/// One line of text.
macro_rules! line {
    ($out:expr, $($text:tt)*) => {{
        use std::io::Write as _;
        writeln!($out, $($text)*).expect("a Vec takes everything")
    }};
}
pub(crate) use line;

fn refuse(format: &str) -> Failure {
    Failure::new(
        code::BAD_FEATURE,
        format!("{format} not supported as output format"),
    )
}
